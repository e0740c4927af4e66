"""Triton's side of audio2coeff: tensors in, calls to the two speech networks, tensors out."""

import asyncio

import numpy as np
import triton_python_backend_utils as pb_utils

from .bls import CallError, call
from .clip import POSE_SIZE, Clip
from .errors import REFUSED, InputError
from .pose import CHUNK, pose_chunks, smoothing_range

STEP = 128  # frames that are worked out at once: what audio2exp takes in one batch


class TritonPythonModel:
    """Every request of an execution succeeds or fails on its own."""

    async def execute(self, requests: list) -> list:
        return list(await asyncio.gather(*(_answer(request) for request in requests)))


async def _answer(request):
    try:
        clip = Clip(
            waveform=_input(request, "waveform"),
            source_coefficients=_input(request, "source_coefficients"),
            pose_style=int(_input(request, "pose_style")[0]),
            seed=int(_input(request, "seed")[0]),
        )
        frames = _input(request, "frames")
        start, stop = (0, clip.frames) if frames is None else map(int, frames)
        clip.check_range(start, stop)
        guides = clip.guides(stop - start, _input(request, "blink"), _input(request, "reference_expression"))
        steps = [
            await _coefficients(clip, at, min(at + STEP, stop), {k: v[at - start :][:STEP] for k, v in guides.items()})
            for at in range(start, stop, STEP)
        ]
    except InputError as error:
        return _failure(f"{REFUSED}{error}", pb_utils.TritonError.INVALID_ARG)
    except CallError as error:
        return _failure(str(error), pb_utils.TritonError.INTERNAL)
    return pb_utils.InferenceResponse([pb_utils.Tensor("coefficients", np.concatenate(steps))])


async def _coefficients(clip: Clip, start: int, stop: int, guides: dict[str, np.ndarray]) -> np.ndarray:
    """Coefficients of frames [start, stop): float32 [stop - start, 70]."""
    chunks = pose_chunks(*smoothing_range(start, stop, clip.frames), clip.frames)
    [expression], [motion] = await asyncio.gather(
        call("audio2exp", clip.expression_inputs(start, stop, guides), "expression"),
        call("audio2pose", clip.pose_inputs(chunks), "pose_motion") if chunks else _no_motion(),
    )
    return np.concatenate([expression, clip.pose(start, stop, chunks, motion)], axis=1)


async def _no_motion() -> list[np.ndarray]:
    return [np.empty((0, CHUNK, POSE_SIZE), np.float32)]  # a clip of one frame


def _input(request, name: str) -> np.ndarray | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def _failure(message: str, code: int):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
