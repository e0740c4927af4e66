"""Training and evaluation of the demo's networks, on procedural faces and synthetic speech."""
