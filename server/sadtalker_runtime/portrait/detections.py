"""Selection of faces among a detector's candidates: confidence, then greedy non-maximum suppression."""

import numpy as np

from sadtalker_runtime.arrays import Floats

CONFIDENCE = 0.97  # SadTalker's threshold for RetinaFace
OVERLAP = 0.4  # intersection over union of two boxes on the same face


def distinct(boxes: Floats, scores: Floats, confidence: float = CONFIDENCE, overlap: float = OVERLAP) -> list[int]:
    """Return which candidates are faces, the most confident first.

    Args:
        boxes: left, top, right, bottom [P, 4].
        scores: probabilities [P]; only candidates above `confidence` count.
        overlap: a box that covers more than this of what it and a more confident one cover together is left out.
    """
    left, top, right, bottom = boxes.T
    areas = (right - left) * (bottom - top)
    remaining = np.argsort(-scores, kind="stable")
    remaining = remaining[scores[remaining] > confidence]
    faces = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        faces.append(int(best))
        width = np.minimum(right[remaining], right[best]) - np.maximum(left[remaining], left[best])
        height = np.minimum(bottom[remaining], bottom[best]) - np.maximum(top[remaining], top[best])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        remaining = remaining[shared <= overlap * (areas[remaining] + areas[best] - shared)]
    return faces
