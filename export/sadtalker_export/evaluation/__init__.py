"""Whether a talking head talks, measured in its frames: `sadtalker-export evaluate`."""
