"""The spectrum of the Hessian: its density with error bands, its outliers, and the signs that are certain."""
