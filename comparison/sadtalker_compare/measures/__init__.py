"""Measurements of one video: of its face, and of its pictures."""
