"""The official checkpoint files: their layout, and how their keys map onto our networks."""
