"""Reduced precision: written into the networks, run as engines would, and judged by the frames that come out."""
