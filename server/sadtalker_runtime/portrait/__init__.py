"""Portraits: decode a picture, find the face, cut it out and align it for the networks."""
