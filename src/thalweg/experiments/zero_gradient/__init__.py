"""What happens when the gradient is almost zero: the course's method, and certified points beside it."""
