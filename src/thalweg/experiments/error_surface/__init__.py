"""The error surface: what the loss looks like around the way of training."""
