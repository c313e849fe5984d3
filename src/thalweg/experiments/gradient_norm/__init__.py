"""Gradient norm and loss at every iteration, in one figure."""
