"""Random labels: can a network fit what has no pattern?"""
