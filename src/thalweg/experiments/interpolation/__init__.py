"""Two solutions and the straight line through them: flatness, part 1."""
