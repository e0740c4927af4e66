"""When the eyes close: a seeded curve of blinks at random gaps."""

import numpy as np

BLINK = np.array([0.5, 0.9, 1.0, 0.9, 0.5], np.float32)  # closing and opening over 0.2 s
SHORTEST_GAP, LONGEST_GAP = 10, 70  # frames
SHORTEST_CLIP = 22  # frames; half a shorter clip leaves no gap to choose from


def blink_curve(frames: int, seed: int) -> np.ndarray:
    """How far the eyes are closed in every frame of a clip: float32 [frames], in [0, 1].

    Gaps are drawn from 10 frames to half of the clip, at most 70; clips too short for that have no blinks.
    """
    curve = np.zeros(frames, np.float32)
    if frames < SHORTEST_CLIP:
        return curve
    rng = np.random.default_rng(seed)
    end = 0
    while True:
        start = end + int(rng.integers(SHORTEST_GAP, min(frames // 2, LONGEST_GAP)))
        end = start + len(BLINK)
        if end >= frames:
            return curve
        curve[start:end] = BLINK
