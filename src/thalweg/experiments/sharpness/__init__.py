"""Sharpness: which measure of a minimum goes with generalisation, and can any of them be trusted?"""
