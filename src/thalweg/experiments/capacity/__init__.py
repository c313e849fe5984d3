"""Capacity: does a network with more parameters generalise worse?"""
