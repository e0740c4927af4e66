"""Measurements of pictures: detail, change that no motion explains, straight edges in the change."""

import cv2
import numpy as np
import numpy.typing as npt

from sadtalker_compare.measures.face import FACE, FaceTrack, region, scaled_face
from sadtalker_compare.measures.video import Frame

SIDE = 256  # shorter side of the pictures that flicker and seams are measured in, pixels
SAMPLES = 100  # pairs of frames, at most
NEIGHBOURS = 6  # rows or columns on either side that a seam is compared with
LEAST_STEP = 0.1  # grey levels; below that nobody sees one


def sharpness(track: FaceTrack, portrait: Frame) -> float:
    """Return the detail of the face against that of the portrait's at the same size, variance of the Laplacian."""
    truth, _ = scaled_face(portrait)
    detail = [_detail(frame) for frame in track.stabilised[:: max(1, len(track.stabilised) // 50)]]
    return min(float(np.median(detail)) / max(_detail(truth), 1e-6), 1.0)


def _detail(frame: Frame) -> float:
    grey = cv2.cvtColor(np.ascontiguousarray(frame[region(FACE)]), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def flicker(frames: list[Frame]) -> float:
    """Return the mean change between neighbouring frames after motion is taken out, grey levels of 0 to 255."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    changes = []
    for before, after in _pairs(frames):
        motion = flow.calc(after, before, None)
        y, x = np.mgrid[: after.shape[0], : after.shape[1]].astype(np.float32)
        moved = cv2.remap(before, x + motion[..., 0], y + motion[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
        changes.append(float(cv2.absdiff(moved, after).mean()))
    return float(np.mean(changes))


def seams(frames: list[Frame]) -> float:
    """Return how much a row or column of edges in the change between frames exceeds those beside it, the worst's.

    A face that is pasted back into a still picture changes inside a rectangle and not outside it: the mean change over
    time has a step along straight lines. 1 means that no line stands out.
    """
    change = np.mean([cv2.absdiff(before, after).astype(np.float64) for before, after in _pairs(frames)], axis=0)
    worst = 1.0
    for axis in (0, 1):
        step = np.abs(np.diff(change, axis=axis))
        lines = np.sort(step, axis=1 - axis)
        long = lines[:, lines.shape[1] // 2 :] if axis == 0 else lines[lines.shape[0] // 2 :].T  # a side may be short
        strength: npt.NDArray[np.float64] = long.mean(1)
        beside = np.pad(strength, NEIGHBOURS, mode="reflect")
        usual = np.median(np.lib.stride_tricks.sliding_window_view(beside, 2 * NEIGHBOURS + 1), axis=1)
        worst = max(worst, float((strength / np.maximum(usual, LEAST_STEP)).max()))
    return worst


def _pairs(frames: list[Frame]) -> list[tuple[Frame, Frame]]:
    """Return neighbouring frames, grey and scaled, spread over the video."""
    starts = np.unique(np.linspace(0, len(frames) - 2, min(SAMPLES, len(frames) - 1)).astype(int))
    return [(_grey(frames[start]), _grey(frames[start + 1])) for start in starts]


def _grey(frame: Frame) -> Frame:
    scale = SIDE / min(frame.shape[:2])
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    scaled: Frame = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return scaled
