"""Sensitivity: how much do networks that were trained differently react to their inputs?"""
