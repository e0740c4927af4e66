"""Figures of a talking head, measured in its frames."""
