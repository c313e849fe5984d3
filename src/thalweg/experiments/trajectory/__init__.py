"""The path of training: several runs in one picture, beside a random walk."""
