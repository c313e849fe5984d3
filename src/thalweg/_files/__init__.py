"""Files on the ground floor: written whole or not at all, read with care, tensors without pickles."""
