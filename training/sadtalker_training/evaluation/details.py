"""Figures of what a viewer looks at first: lids, teeth, a smile that closes, the outline of a turned head.

Everything is compared with the true frame of a held-out procedural person.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..coefficients import BLINK, CORNERS, JAW, ROUND, UPPER_LIP, WIDTH, Floats, Pose, frame_coefficients
from ..faces.person import Person, View
from .clips import ClipRenderer
from .measures import Frame, Values, best_lag, correlation

FIRST_SEED = 3 * 10**9 + 10**6
CLOSING = np.array([0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0], np.float32)  # the blink coefficient, frame by frame
SHUT = 3  # the frame of it in which the eyes are shut
SMILE = {JAW: 0.2, WIDTH: 0.6, CORNERS: 0.7, UPPER_LIP: 0.7}
VOWELS = ({JAW: 1.0}, {JAW: 0.75, ROUND: 0.6})  # a, o
TURNS = (15, 25)  # degrees
OUTLINE = 6  # pixels to either side of it
NODDING = np.linspace(0, 0.08, 5)  # radians of yaw, frame by frame
SMALLEST = 60  # pixels of a mouth's inside that can be judged
HISTOGRAM = [8, 8, 8]  # bins of L, a and b
Flags = npt.NDArray[np.bool_]


def evaluate_details(networks: Mapping[str, nn.Module], people: int, advance: Callable[[], None]) -> dict[str, float]:
    """Return means over so many held-out people; `advance` is called after each.

    Returns:
        blink: share of the true change around the eye that changes less, eyes shut; 1 is right.
        blink_correlation: of both eyes' change with the blink coefficient over a blink, the worst person's.
        blink_lag: by how many frames the lids are late, the worst person's.
        interior_psnr: dB, inside the mouth at a and o, the portrait's lips closed.
        teeth_contrast: slope of the brightness there against the true one; 1 is right, 0 an even patch.
        smile_gap: pixels per column of a smile's inside that are still seen with the lips closed on m, b, p.
        outline_error_15, outline_error_25: mean error beside the outline of a head turned by so many degrees, of 255.
        identity_landmarks: distance in pixels of keypoints detected in a turned head from those in the true frame.
        identity_colours: shared part of the colour histograms of those two faces, 0 to 1.
        flicker: change of the change from frame to frame in a slow turn, against the true frames'.
    """
    figures: dict[str, list[float]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        person = Person(seed)
        person.photo = replace(person.photo, grain=0.0)  # nobody can predict it
        for name, value in _person(networks, person).items():
            figures.setdefault(name, []).append(value)
        advance()
    means = {name: float(np.mean(values)) for name, values in figures.items()}
    means["blink_correlation"] = min(figures["blink_correlation"])
    means["blink_lag"] = max(figures["blink_lag"], key=abs)
    return means


def _person(networks: Mapping[str, nn.Module], person: Person) -> dict[str, float]:
    rest = _blendshapes({})
    portrait = person.view(rest, Pose())
    renderer = ClipRenderer(networks, portrait.picture, frame_coefficients(rest, Pose()))
    return (
        _blink(person, portrait, renderer)
        | _vowels(person, renderer)
        | _smile(person, networks)
        | _turns(person, renderer, networks["keypoint_detector"])
        | _flicker(person, renderer)
    )


def _blink(person: Person, portrait: View, renderer: ClipRenderer) -> dict[str, float]:
    coefficients = np.tile(frame_coefficients(portrait.blendshapes, Pose()), (len(CLOSING), 1))
    coefficients[:, BLINK] = CLOSING
    truth = person.view(_blendshapes({BLINK: 1}), Pose()).picture
    frames = renderer.frames(coefficients)
    curves = []
    for box in eye_boxes(person):
        curves.append([share_of_change(frame[box], portrait.picture[box], truth[box]) for frame in frames])
    both = np.array(curves)
    curve = both.mean(0)
    return {
        "blink": float(both[:, SHUT].min()),
        "blink_correlation": correlation(curve, CLOSING),
        "blink_lag": float(best_lag(curve, CLOSING, reach=1)),
    }


def _vowels(person: Person, renderer: ClipRenderer) -> dict[str, float]:
    blendshapes = [_blendshapes(vowel) for vowel in VOWELS]
    views = [person.view(shape, Pose()) for shape in blendshapes]
    frames = renderer.poses(np.stack([frame_coefficients(shape, Pose()) for shape in blendshapes]))
    judged = [(f, v) for f, v in zip(frames, views, strict=True) if v.interior.sum() >= SMALLEST]
    if not judged:
        return {}
    return {
        "interior_psnr": float(np.mean([masked_psnr(f, v.picture, v.interior) for f, v in judged])),
        "teeth_contrast": float(np.mean([brightness_slope(f, v.picture, v.interior) for f, v in judged])),
    }


def _smile(person: Person, networks: Mapping[str, nn.Module]) -> dict[str, float]:
    smiling, closed = _blendshapes(SMILE), _blendshapes({CORNERS: SMILE[CORNERS], WIDTH: SMILE[WIDTH]})
    portrait, truth = person.view(smiling, Pose()), person.view(closed, Pose())
    if portrait.interior.sum() < SMALLEST:
        return {}
    renderer = ClipRenderer(networks, portrait.picture, frame_coefficients(smiling, Pose()))
    frame = renderer.poses(frame_coefficients(closed, Pose())[None])[0]
    return {"smile_gap": remaining_gap(frame, portrait.picture, truth.picture, portrait.interior)}


def _turns(person: Person, renderer: ClipRenderer, detector: nn.Module) -> dict[str, float]:
    rest = _blendshapes({})
    errors: dict[int, list[float]] = {degrees: [] for degrees in TURNS}
    distances, shared = [], []
    for degrees in TURNS:
        for sign in (-1, 1):
            pose = Pose(yaw=float(np.deg2rad(sign * degrees)))
            view = person.view(rest, pose)
            frame = renderer.poses(frame_coefficients(rest, pose)[None])[0]
            beside = outline(view.coverage)
            errors[degrees].append(float(np.abs(frame[beside].astype(float) - view.picture[beside]).mean()))
            distances.append(landmark_distance(detector, frame, view.picture))
            shared.append(shared_colours(frame, view.picture, view.coverage > 0.5))
    return {f"outline_error_{degrees}": float(np.mean(values)) for degrees, values in errors.items()} | {
        "identity_landmarks": float(np.mean(distances)),
        "identity_colours": float(np.mean(shared)),
    }


def _flicker(person: Person, renderer: ClipRenderer) -> dict[str, float]:
    rest = _blendshapes({})
    poses = [Pose(yaw=float(yaw)) for yaw in NODDING]
    truth = np.stack([person.view(rest, pose).picture for pose in poses])
    frames = renderer.poses(np.stack([frame_coefficients(rest, pose) for pose in poses]))
    return {"flicker": unsteadiness(frames) / max(unsteadiness(truth), 1e-6)}


def _blendshapes(values: Mapping[int, float]) -> Floats:
    blendshapes = np.zeros(7, np.float32)
    for index, value in values.items():
        blendshapes[index] = value
    return blendshapes


def eye_boxes(person: Person) -> tuple[tuple[slice, slice], ...]:
    """Return rows and columns of the left and the right eye of a frontal face."""
    shape = person.shape
    y = shape.centre_y + shape.eye_y
    xs = (shape.centre_x - shape.eye_x, shape.centre_x + shape.eye_x)
    return tuple((_pixels(y, 1.5 * shape.eye_height), _pixels(x, 1.1 * shape.eye_half_width)) for x in xs)


def _pixels(centre: float, half: float) -> slice:
    first, last = ((np.clip([centre - half, centre + half], -1, 1) + 1) * 128).astype(int)
    return slice(int(first), int(last))


def share_of_change(frame: Frame, before: Frame, after: Frame) -> float:
    """Return how far a frame has gone from `before` to `after`: 1 is all the way; errors to the side do not count."""
    way = after.astype(float) - before
    return float(((frame.astype(float) - before) * way).sum() / max(np.square(way).sum(), 1e-6))


def masked_psnr(frame: Frame, truth: Frame, where: Flags) -> float:
    """Return the PSNR in dB of the pixels in a mask."""
    error = np.square(frame[where].astype(float) - truth[where]).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-5)))


def brightness_slope(frame: Frame, truth: Frame, where: Flags) -> float:
    """Return the slope of the brightness of a mask's pixels against the true one."""
    x, y = truth[where].astype(float).mean(1), frame[where].astype(float).mean(1)
    return float(((x - x.mean()) * (y - y.mean())).sum() / max(np.square(x - x.mean()).sum(), 1e-6))


def remaining_gap(frame: Frame, opened: Frame, closed: Frame, interior: Flags) -> float:
    """Return the mean height in pixels of what still looks open in the middle half of the mouth's columns.

    Pixels of the open mouth's inside count that are nearer in colour to the open mouth than to the closed one.
    """
    to_open = np.abs(frame.astype(float) - opened).sum(2)
    to_closed = np.abs(frame.astype(float) - closed).sum(2)
    columns = np.flatnonzero(interior.any(0))
    quarter = len(columns) // 4
    middle = columns[quarter : len(columns) - quarter]
    return float(((to_open < to_closed) & interior)[:, middle].sum(0).mean())


def outline(coverage: Floats) -> Flags:
    """Return the pixels within `OUTLINE` of a person's edge."""
    inside = (coverage > 0.5).astype(np.uint8)
    kernel = np.ones((2 * OUTLINE + 1, 2 * OUTLINE + 1), np.uint8)
    beside: Flags = cv2.dilate(inside, kernel) != cv2.erode(inside, kernel)
    return beside


def landmark_distance(detector: nn.Module, frame: Frame, truth: Frame) -> float:
    """Return the mean distance in pixels of the keypoints detected in two pictures."""
    pictures = torch.from_numpy(np.stack([frame, truth])).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        found = detector(pictures)[..., :2]
    return float((found[0] - found[1]).norm(dim=-1).mean() * 128)


def shared_colours(frame: Frame, truth: Frame, where: Flags) -> float:
    """Return the intersection of the colour histograms (CIE L*a*b*) of a mask's pixels, 0 to 1."""
    counts = []
    for picture in (frame, truth):
        lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
        histogram = cv2.calcHist([lab], [0, 1, 2], where.astype(np.uint8), HISTOGRAM, [0, 256] * 3)
        counts.append(histogram / histogram.sum())
    return float(np.minimum(*counts).sum())


def unsteadiness(frames: npt.NDArray[np.uint8]) -> float:
    """Return the mean absolute second difference in time of a clip [T, H, W, 3]."""
    second: Values = np.diff(frames.astype(float), n=2, axis=0)
    return float(np.abs(second).mean())
