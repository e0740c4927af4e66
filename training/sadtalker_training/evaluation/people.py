"""Figures of held-out people: reconstruction, driven mouths, motion that follows its coefficients."""

from collections.abc import Callable, Mapping

import numpy as np
from torch import nn

from ..coefficients import BLINK, JAW, YAW, Floats, Pose, frame_coefficients, random_blendshapes
from ..faces.person import Person
from .clips import ClipRenderer
from .measures import Frame, MotionMeter, correlation, psnr

FIRST_SEED = 3 * 10**9
OPENINGS = np.linspace(0, 1, 5)
TURNS = np.linspace(-0.3, 0.3, 5)  # radians


def evaluate_people(networks: Mapping[str, nn.Module], people: int, advance: Callable[[], None]) -> dict[str, float]:
    """Return the figures of so many held-out people, means unless said otherwise; `advance` is called after each.

    Returns:
        self_psnr: dB, of the portrait driven by its own coefficients.
        mouth_psnr_gain: dB around the mouth, driven by others, above that of the portrait itself.
        jaw_correlation, yaw_correlation: of coefficients and of what is measured in the frames, the worst person's.
        jaw_reach, blink_change: measured against the true frames', 1 is right.
    """
    figures: dict[str, list[float]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + people):
        for name, value in _person(networks, Person(seed), np.random.default_rng(seed)).items():
            figures.setdefault(name, []).append(value)
        advance()
    worst = ("jaw_correlation", "yaw_correlation")
    return {name: float(min(values) if name in worst else np.mean(values)) for name, values in figures.items()}


def _person(networks: Mapping[str, nn.Module], person: Person, rng: np.random.Generator) -> dict[str, float]:
    own = random_blendshapes(rng, resting=True)
    own[[JAW, BLINK]] = 0
    portrait = person.view(own, Pose()).picture
    renderer = ClipRenderer(networks, portrait, frame_coefficients(own, Pose()))
    meter = MotionMeter(portrait, renderer.keypoints)

    driven = [random_blendshapes(rng) for _ in range(4)]
    truth = [person.view(blendshapes, Pose()).picture for blendshapes in driven]
    frames = renderer.poses(np.stack([frame_coefficients(blendshapes, Pose()) for blendshapes in driven]))
    box = _mouth(person)
    gains = [psnr(f[box], t[box]) - psnr(portrait[box], t[box]) for f, t in zip(frames, truth, strict=True)]

    def sweep(coefficient: int, values: Floats) -> Floats:
        coefficients = np.tile(frame_coefficients(own, Pose()), (len(values), 1))
        coefficients[:, coefficient] = values
        return coefficients

    opened = renderer.poses(sweep(JAW, OPENINGS))
    turned = renderer.poses(sweep(YAW, TURNS))
    openings = np.array([meter.opening(frame) for frame in opened])
    wide = own.copy()
    wide[JAW] = OPENINGS[-1]
    shut = own.copy()
    shut[BLINK] = 1
    blinked = renderer.poses(sweep(BLINK, np.array([1.0])))[0]
    true_opening = MotionMeter(portrait, renderer.keypoints).opening(person.view(wide, Pose()).picture)
    eyes = _eyes(person)
    return {
        "self_psnr": psnr(renderer.poses(frame_coefficients(own, Pose())[None])[0], portrait),
        "mouth_psnr_gain": float(np.mean(gains)),
        "jaw_correlation": correlation(openings, OPENINGS),
        "yaw_correlation": correlation(np.array([meter.turn(frame) for frame in turned]), TURNS),
        "jaw_reach": openings[-1] / true_opening,
        "blink_change": _change(blinked, portrait, eyes) / _change(person.view(shut, Pose()).picture, portrait, eyes),
    }


def _mouth(person: Person) -> tuple[slice, slice]:
    """Return the rows and columns around the mouth of a frontal face, from upper lip to chin."""
    shape = person.shape
    y = shape.centre_y + shape.mouth_y
    return _box(shape.centre_x, y + 0.05 * shape.scale, 1.5 * shape.mouth_half_width, 0.15 * shape.scale)


def _eyes(person: Person) -> tuple[slice, slice]:
    shape = person.shape
    return _box(
        shape.centre_x, shape.centre_y + shape.eye_y, shape.eye_x + shape.eye_half_width, shape.eye_height * 1.5
    )


def _box(x: float, y: float, wide: float, high: float) -> tuple[slice, slice]:
    def pixels(centre: float, half: float) -> slice:
        first, last = ((np.clip([centre - half, centre + half], -1, 1) + 1) * 128).astype(int)
        return slice(int(first), int(last))

    return pixels(y, high), pixels(x, wide)


def _change(frame: Frame, portrait: Frame, box: tuple[slice, slice]) -> float:
    return float(np.abs(frame[box].astype(float) - portrait[box]).mean())
