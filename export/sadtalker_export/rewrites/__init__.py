"""Exact rewrites of the renderer: the same function of the same weights with fewer operations.

Each file holds one identity; `renderer.py` puts them together. Tests prove every one equal to the plain form.
"""
