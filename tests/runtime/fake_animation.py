"""Stands in for the server's other models where tests make one video; notes what they are asked."""

import asyncio
from collections import Counter
from contextlib import contextmanager
from functools import partial

import numpy as np
from decoding import decoders
from recordings import recording, tone
from sadtalker_runtime import options
from sadtalker_runtime.animation import animator as animation
from sadtalker_runtime.animation import windows

RANDOM = np.random.default_rng(0)
RECONSTRUCTION = RANDOM.standard_normal(257).astype(np.float32)
PICTURE = RANDOM.integers(0, 256, (300, 320, 3), np.uint8)
LANDMARKS = RANDOM.uniform(64, 192, (5, 2)).astype(np.float32)
SOURCE = np.concatenate([RECONSTRUCTION[80:144], RECONSTRUCTION[224:227], RECONSTRUCTION[254:257]])


def spoken(start: int, stop: int) -> np.ndarray:
    """Return coefficients of frames [start, stop) that tell which frame they belong to."""
    return np.arange(start, stop, dtype=np.float32)[:, None] + np.linspace(0, 0.5, 70, dtype=np.float32)


class Models:
    """Stands in for the server's other models; remembers what they were asked."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.calls: list[tuple[str, dict[str, np.ndarray]]] = []
        self.running = Counter()
        self.most_running = Counter()
        self.failing: str | None = None

    async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        self.calls.append((model, inputs))
        self.running[model] += 1
        self.most_running[model] = max(self.most_running[model], self.running[model])
        try:
            await asyncio.sleep(self.delay)
            if model == self.failing:
                raise RuntimeError(f"{model} broke")
            made = getattr(self, model)(**inputs)
            return [made[name] for name in outputs]
        finally:
            self.running[model] -= 1

    def asked(self, model: str) -> list[dict[str, np.ndarray]]:
        return [inputs for name, inputs in self.calls if name == model]

    def encode_portrait(self, image: np.ndarray, crop: np.ndarray, face_index: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "picture": PICTURE[None],
            "alignment": np.array([[256, 256, 1.5, 120, 130]], np.float32),
            "appearance": np.zeros((1, 32, 16, 64, 64), np.float32),
            "canonical_keypoints": np.ones((1, 15, 3), np.float32),
            "coefficients": RECONSTRUCTION[None],
            "geometry": np.array([[10, 20, 210, 220, 300, 300]], np.int32),
            "landmarks": LANDMARKS[None],
        }

    def motion(
        self, canonical_keypoints: np.ndarray, coefficient_windows: np.ndarray, head_angles: np.ndarray
    ) -> dict[str, np.ndarray]:
        assert (head_angles > 180).all()  # the portrait keeps its own
        return {"keypoints": np.tile(canonical_keypoints[:, None] * 2, (1, 5, 1, 1))}

    motion_full = motion

    def audio2coeff(self, frames: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"coefficients": spoken(*frames)}

    def render_frames(self, coefficient_windows: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        grey = coefficient_windows[:, :, -1, windows.RADIUS] * 4  # of the frame itself, by the last coefficient
        return {"frames": np.broadcast_to(grey[..., None, None, None], (1, 5, 256, 256, 3)).astype(np.uint8)}

    render_frames_full = render_frames

    def background_enhancer(self, tiles: np.ndarray) -> dict[str, np.ndarray]:
        return {"enlarged_tiles": (255 - tiles).repeat(2, axis=1).repeat(2, axis=2)}

    def render_frames_enhanced(self, landmarks: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        np.testing.assert_array_equal(landmarks[0], LANDMARKS)
        return {"frames": self.render_frames(**inputs)["frames"].repeat(2, axis=2).repeat(2, axis=3)}

    render_frames_restoreformer = render_frames_enhanced


class Observer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.stages: Counter[str] = Counter()
        self.lookups: list[bool] = []
        self.frames = 0

    @contextmanager
    def stage(self, name: str):
        yield
        self.stages[name] += 1

    def portrait_lookup(self, hit: bool) -> None:
        self.lookups.append(hit)

    def frames_rendered(self, frames: int) -> None:
        self.frames += frames


def new_animator(models: Models, observer: Observer | None = None, chunks_in_flight: int = 3):
    """Return an animator over these models."""
    installed = partial(hasattr, models)
    return animation.Animator(models.call, installed, observer or Observer(), decoders(), 256, 600, chunks_in_flight, 4)


async def make_video(animator, seconds: float = 1.4, image: bytes = b"portrait", **asked: object) -> list:
    """Return the parts of a video of a tone."""
    speech = recording(tone(16_000, seconds), 16_000)
    return [part async for part in animator.animate(image, speech, options.Options(**asked))]
