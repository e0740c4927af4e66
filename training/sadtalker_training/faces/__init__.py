"""Procedural people: their shape and skin, their pictures, and the exact motion between any two pictures."""
