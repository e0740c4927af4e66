"""A small talking head, trained on procedural portraits and synthetic speech: `sadtalker-export train`."""
