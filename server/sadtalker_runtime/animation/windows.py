"""Windows of coefficients for each chunk of frames, and the order in which a stream fetches them."""

from collections.abc import Iterator

import numpy as np

from sadtalker_runtime.arrays import Array

CHUNK = 5  # video frames that are rendered in one go
RADIUS = 13  # frames that the renderer sees before and after its own
WINDOW = 2 * RADIUS + 1
EXPRESSION_SIZE, SIZE = 64, 70  # coefficients of a frame: expression, then 3 angles and 3 translations

# Ranges end where the frames of whole 32-frame pose chunks, smoothed with 6 frames of look-ahead, end.
FIRST_RANGE, POSE_CHUNK, LONGEST_RANGE = 27, 32, 128


def chunk_count(frames: int) -> int:
    """Return the chunks of a video, the last one perhaps partly filled."""
    return -(-frames // CHUNK)


def needed(chunk: int, frames: int) -> int:
    """Return how many of a video's frames must have coefficients before a chunk can be rendered."""
    return min((chunk + 1) * CHUNK + RADIUS, frames)


def chunk_windows(coefficients: Array, chunk: int, frames: int, loops: bool = False) -> Array:
    """Return what the renderer sees of one chunk: float32 [5, 70, 27].

    Args:
        coefficients: float32 [at least `needed(chunk, frames)`, 70]; of a loop also the last RADIUS of `frames`.
        chunk: its index; past the video's end its last frame is repeated.
        frames: of the whole video; windows are clamped to its ends, or go on at the other one if it `loops`.
    """
    centres = np.minimum(np.arange(chunk * CHUNK, (chunk + 1) * CHUNK), frames - 1)
    indices = centres[:, None] + np.arange(-RADIUS, RADIUS + 1)
    indices = indices % frames if loops else np.clip(indices, 0, frames - 1)
    return np.ascontiguousarray(coefficients[indices].transpose(0, 2, 1))


def chunk_angles(angles: Array, chunk: int) -> Array:
    """Return the head angles [frames, 3] of one chunk, past the video's end those of its last frame: float32 [5, 3]."""
    chosen: Array = angles[np.minimum(np.arange(chunk * CHUNK, (chunk + 1) * CHUNK), len(angles) - 1)]
    return chosen


def placed(windows: Array, placement: Array) -> Array:
    """Return the windows [5, 70, 27] with coefficients [n] that do not change below them: [5, 70 + n, 27]."""
    constant = np.broadcast_to(placement[:, None], (CHUNK, len(placement), WINDOW))
    return np.concatenate([windows, constant.astype(np.float32)], axis=1)


def source_windows(source: Array) -> Array:
    """Return the windows of a chunk in which the portrait's own coefficients [n] stand still: float32 [5, n, 27]."""
    return np.tile(source[None, :, None], (CHUNK, 1, WINDOW))


def ranges(frames: int) -> Iterator[tuple[int, int]]:
    """Yield consecutive ranges of frames to fetch: a short one first, for an early start, then growing ones."""
    start, stop, length = 0, FIRST_RANGE, POSE_CHUNK
    while start < frames:
        yield start, min(stop, frames)
        start, stop, length = stop, stop + length, min(2 * length, LONGEST_RANGE)


def source_coefficients(reconstruction: Array) -> Array:
    """Return the 70 that drive the renderer among the 257 of a 3-D reconstruction.

    Those are 80 identity, 64 expression, 80 texture, 3 angles, 27 lighting, 3 translation.
    """
    return np.concatenate([reconstruction[80:144], reconstruction[224:227], reconstruction[254:257]])


def styled(coefficients: Array, source: Array, expression_scale: float, head_motion_scale: float) -> Array:
    """Return coefficients [n, 70] with the expression and the head's motion away from the portrait's [70] scaled."""
    coefficients = coefficients.copy()
    coefficients[:, :EXPRESSION_SIZE] *= np.float32(expression_scale)
    if head_motion_scale != 1:
        rest, pose = source[EXPRESSION_SIZE:], coefficients[:, EXPRESSION_SIZE:]
        coefficients[:, EXPRESSION_SIZE:] = rest + np.float32(head_motion_scale) * (pose - rest)
    return coefficients
