"""Deep against shallow on images: which network learns a real task best at equal size?"""
