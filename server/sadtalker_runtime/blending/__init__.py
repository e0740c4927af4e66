"""Blending: put rendered faces back into a whole picture without a seam."""
