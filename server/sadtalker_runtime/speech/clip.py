"""One clip of speech: the inputs of the two speech networks for its frames, and the use of their outputs."""

from dataclasses import dataclass

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.speech.mel import frame_count, mel_windows
from sadtalker_runtime.speech.pose import STYLES, PoseChunk, pose_latent, smooth, smoothing_range
from sadtalker_runtime.timing import SAMPLES_PER_FRAME

EXPRESSION_SIZE, POSE_SIZE = 64, 6


@dataclass(frozen=True)
class Clip:
    """A recording and how it is to be spoken.

    Raises:
        InputError: a value is out of range, not finite, or the recording is shorter than one video frame.
    """

    waveform: Array
    """float32 [samples], 16 kHz, in [-1, 1]."""
    source_coefficients: Array
    """float32 [70] of the portrait: 64 expression, 3 angles, 3 translation."""
    pose_style: int
    seed: int

    def __post_init__(self) -> None:
        if len(self.waveform) < SAMPLES_PER_FRAME:
            raise InputError(f"waveform: expected at least {SAMPLES_PER_FRAME} samples, got {len(self.waveform)}")
        if not np.isfinite(self.waveform).all():
            raise InputError("waveform: expected finite samples, got NaN or infinity")
        if not np.isfinite(self.source_coefficients).all():
            raise InputError("source_coefficients: expected finite values, got NaN or infinity")
        if not 0 <= self.pose_style < STYLES:
            raise InputError(f"pose_style: expected 0 to {STYLES - 1}, got {self.pose_style}")
        if self.seed < 0:
            raise InputError(f"seed: expected a number from 0 on, got {self.seed}")

    @property
    def frames(self) -> int:
        return frame_count(len(self.waveform))

    def check_range(self, start: int, stop: int) -> None:
        """Raise InputError unless frames [start, stop) lie in this clip."""
        if not 0 <= start < stop <= self.frames:
            raise InputError(f"frames: expected a range within 0 to {self.frames}, got {start} to {stop}")

    def expression_inputs(self, start: int, stop: int, guides: dict[str, Array]) -> dict[str, Array]:
        """Return inputs of `audio2exp` for frames [start, stop), by tensor name; `guides` are for the same frames."""
        return {"mel": mel_windows(self.waveform, start, stop), **guides}

    def guides(self, frames: int, blink: Array, reference: Array | None = None) -> dict[str, Array]:
        """Return the inputs of `audio2exp` for some frames besides their speech, by tensor name.

        Args:
            blink: float32 [frames], how far the eyes are closed in each of them.
            reference: float32 [frames, 64], expressions that take the place of the portrait's.

        Raises:
            InputError: either has another length, or a value that is not finite.
        """
        if reference is None:
            reference = np.tile(self.source_coefficients[:EXPRESSION_SIZE], (frames, 1))
        guides = {"reference_expression": reference, "blink": blink[:, None]}
        for name, values in guides.items():
            if len(values) != frames:
                raise InputError(f"{name}: expected values for {frames} frames, got {len(values)}")
            if not np.isfinite(values).all():
                raise InputError(f"{name}: expected finite values, got NaN or infinity")
        return guides

    def pose_inputs(self, chunks: list[PoseChunk]) -> dict[str, Array]:
        """Return the inputs of `audio2pose` for some chunks, by tensor name."""
        first = min(chunk.heard[0] for chunk in chunks)
        mels = mel_windows(self.waveform, first, chunks[-1].stop)
        return {
            "mel": np.stack([mels[chunk.heard - first] for chunk in chunks]),
            "latent": np.stack([pose_latent(self.seed, chunk.index) for chunk in chunks]),
            "pose_style": np.full((len(chunks), 1), self.pose_style, np.int64),
            "reference_pose": np.tile(self.source_coefficients[-POSE_SIZE:], (len(chunks), 1)),
        }

    def pose(self, start: int, stop: int, chunks: list[PoseChunk], motion: Array) -> Array:
        """Return the smoothed pose of frames [start, stop).

        Args:
            chunks: those that give the frames of `smoothing_range(start, stop, ...)`.
            motion: float32 [chunks, 32, 6], the network's answers.

        Returns:
            float32 [stop - start, 6].
        """
        low, high = smoothing_range(start, stop, self.frames)
        known = max([high, *(chunk.stop for chunk in chunks)])
        pose = np.tile(self.source_coefficients[-POSE_SIZE:], (known, 1))
        for chunk, rows in zip(chunks, motion, strict=True):
            pose[chunk.start : chunk.stop] += rows[chunk.start - chunk.stop :]
        return smooth(pose[low:high])[start - low : stop - low]
