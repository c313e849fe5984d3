"""The edge of stability: the sharpness of full-batch gradient descent against 2/η."""
