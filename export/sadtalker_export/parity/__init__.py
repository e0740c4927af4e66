"""Recomputes reference figures, by one registered function per group of arrays, and compares them."""
