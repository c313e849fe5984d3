"""Deep against shallow: do deep networks fit a function better than shallow ones of equal size?"""
