"""What several experiments use: setting up a training, sizes of networks and data, words of their reports."""
