"""Tests mirror src/thalweg one to one."""
