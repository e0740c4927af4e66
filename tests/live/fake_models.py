"""Stands in for the server's other models: coefficients follow the speech, pictures follow the coefficients."""

import asyncio
from collections import Counter

import numpy as np
from sadtalker_runtime.animation import windows
from sadtalker_runtime.speech import pose
from sadtalker_runtime.speech.clip import Clip

SIDE = 4
WEIGHTS = np.random.default_rng(1).standard_normal((70 * 27, SIDE * SIDE * 3)).astype(np.float32)
RECONSTRUCTION = np.random.default_rng(0).standard_normal(257).astype(np.float32)


class Models:
    """`call` is what a Face or an Animator is given; `delay` is how long a chunk takes, seconds."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.asked: Counter[str] = Counter()
        self.running = self.most_running = 0
        self.failing: str | None = None
        self.seen: list[np.ndarray] = []  # the coefficients in the middle of every rendered window

    async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        self.asked[model] += 1
        await asyncio.sleep(0)
        if model == self.failing:
            raise RuntimeError(f"{model} broke")
        made = getattr(self, model)(**inputs)
        if model == "render_frames":
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            try:
                await asyncio.sleep(self.delay)
            finally:
                self.running -= 1
        return [made[name] for name in outputs]

    def encode_portrait(self, image: np.ndarray, crop: np.ndarray, face_index: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "picture": np.zeros((1, 300, 320, 3), np.uint8),
            "alignment": np.array([[256, 256, 1.5, 120, 130]], np.float32),
            "appearance": np.zeros((1, 1), np.float32),
            "canonical_keypoints": np.ones((1, 15, 3), np.float32),
            "coefficients": RECONSTRUCTION[None],
            "geometry": np.array([[10, 20, 210, 220, 300, 300]], np.int32),
            "landmarks": np.zeros((1, 5, 2), np.float32),
        }

    def motion(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"keypoints": np.zeros((1, 5, 15, 3), np.float32)}

    def audio2coeff(
        self,
        waveform: np.ndarray,
        source_coefficients: np.ndarray,
        pose_style: np.ndarray,
        seed: np.ndarray,
        blink: np.ndarray,
        frames: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Do what the model does, with linear functions in place of its two networks."""
        clip = Clip(waveform, source_coefficients, int(pose_style[0]), int(seed[0]))
        start, stop = map(int, frames)
        clip.check_range(start, stop)
        mel = clip.expression_inputs(start, stop, clip.guides(stop - start, blink))
        expression = mel["reference_expression"] + mel["mel"].mean((1, 2))[:, None] / 8 + mel["blink"]
        chunks = pose.pose_chunks(*pose.smoothing_range(start, stop, clip.frames), clip.frames)
        motion = np.zeros((0, 32, 6), np.float32)
        if chunks:
            heard = clip.pose_inputs(chunks)
            motion = (heard["latent"][:, None, :6] + heard["mel"].mean((2, 3))[:, :, None]).astype(np.float32) / 20
        values = [expression, clip.pose(start, stop, chunks, motion)]
        return {"coefficients": np.concatenate(values, axis=1).astype(np.float32)}

    def render_frames(self, coefficient_windows: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Return pictures that tell of every value in their window."""
        seen = coefficient_windows[0]
        self.seen.extend(seen[:, :, windows.RADIUS])
        grey = (seen.reshape(5, -1) @ WEIGHTS).reshape(1, 5, SIDE, SIDE, 3)
        return {"frames": (np.clip(grey * 20, -10_000, 10_000).astype(np.int32) % 256).astype(np.uint8)}
