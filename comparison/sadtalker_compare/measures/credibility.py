"""Measurements of a face: whether it speaks, blinks and moves, and whose it is."""

import cv2
import numpy as np

from sadtalker_compare.measures.face import EYES, FACE, STIFF, FaceTrack, region, scaled_face
from sadtalker_compare.measures.video import Curve, Frame

REACH = 0.32  # seconds in which the best lag is searched
NATURAL_BLINKS = (10.0, 25.0)  # per minute, at rest and in conversation (Bentivoglio et al. 1997)
BLINK_DEPTH = 0.2  # of the eyes' correlation with the open ones
LONGEST_BLINK = 0.6  # seconds
MOST_MOTION = 5.0  # % of the face's width; beyond that more is not better


def lip_sync(opening: Curve, loudness: Curve, rate: float) -> tuple[float, float]:
    """Return the correlation of mouth and speech at their best lag, and by how many ms the mouth is late there."""
    reach = min(round(REACH * rate), (len(opening) - 3) // 2)
    if reach < 0:
        return 0.0, 0.0
    best = (-2.0, 0)
    for lag in sorted(range(-reach, reach + 1), key=abs):
        mouth = opening[reach + lag : len(opening) - reach + lag]
        best = max(best, (_correlation(mouth, loudness[reach : len(loudness) - reach]), lag), key=lambda x: x[0])
    return best[0], 1000 * best[1] / rate


def _correlation(a: Curve, b: Curve) -> float:
    if min(np.std(a), np.std(b)) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def eye_likeness(track: FaceTrack) -> Curve:
    """Return how much both eyes look as in the first frame, normalised correlation the more alike of the two, [frames].

    Both must change for a blink: a wink or a shadow is none.
    """
    curves = []
    for box in EYES:
        rows, columns = region(box)
        eye = cv2.cvtColor(track.reference, cv2.COLOR_RGB2GRAY)[rows, columns]
        reach = 4  # pixels that the search may move
        wide = slice(rows.start - reach, rows.stop + reach), slice(columns.start - reach, columns.stop + reach)
        curves.append(
            [
                cv2.matchTemplate(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY)[wide], eye, cv2.TM_CCOEFF_NORMED).max()
                for f in track.stabilised
            ]
        )
    likeness: Curve = np.max(np.array(curves, dtype=np.float64), axis=0)
    return likeness


def blinks(likeness: Curve, rate: float) -> int:
    """Count short dips in the likeness of the eyes to open ones."""
    window = max(3, round(2 * LONGEST_BLINK * rate)) | 1
    padded = np.pad(likeness, window // 2, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
    closed = np.concatenate([[False], likeness < usual - BLINK_DEPTH, [False]])
    edges = np.flatnonzero(closed[1:] != closed[:-1])
    return sum(1 for begin, end in edges.reshape(-1, 2) if end - begin <= LONGEST_BLINK * rate)


def blink_deviation(count: int, seconds: float) -> float:
    """Return by how many blinks a minute a count is off what people do."""
    rate = 60 * count / seconds
    return max(NATURAL_BLINKS[0] - rate, rate - NATURAL_BLINKS[1], 0.0)


def head_motion(track: FaceTrack) -> float:
    """Return how far the head is from its mean position, root mean square, in % of the face's width."""
    spread = np.square(track.position - track.position.mean(0)).sum(1).mean()
    return float(min(100 * np.sqrt(spread), MOST_MOTION))


def identity(track: FaceTrack, portrait: Frame) -> float:
    """Return the similarity of the face to the portrait's, 0 to 1.

    The mean of two rough measures, as no recognition network is used: the overlap of colour histograms of
    the whole face, and the correlation of the blurred upper face. Mouths differ, so they are left out of the second.
    """
    truth, _ = scaled_face(portrait)
    histogram, upper = _colours(truth), _upper_face(truth)
    overlap, correlation = [], []
    for frame in track.stabilised[:: max(1, len(track.stabilised) // 50)]:
        overlap.append(float(np.minimum(histogram, _colours(frame)).sum()))
        correlation.append(max(0.0, _correlation(upper, _upper_face(frame))))
    return (float(np.mean(overlap)) + float(np.mean(correlation))) / 2


def _colours(frame: Frame) -> Curve:
    face = cv2.cvtColor(np.ascontiguousarray(frame[region(FACE)]), cv2.COLOR_RGB2Lab)
    counts = cv2.calcHist([face], [0, 1, 2], None, [6, 12, 12], [0, 256, 64, 192, 64, 192])
    blurred = cv2.GaussianBlur(counts.reshape(6, -1), (3, 3), 0).ravel().astype(np.float64)
    share: Curve = blurred / blurred.sum()
    return share


def _upper_face(frame: Frame) -> Curve:
    grey = cv2.cvtColor(np.ascontiguousarray(frame[region(STIFF)]), cv2.COLOR_RGB2GRAY)
    small: Curve = cv2.resize(grey, (24, 20), interpolation=cv2.INTER_AREA).ravel().astype(np.float64)
    return small
