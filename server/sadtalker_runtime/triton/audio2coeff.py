"""The model `audio2coeff`: speech and a portrait's coefficients in, the coefficients of video frames out."""

import asyncio
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from sadtalker_runtime.arrays import Array, Floats
from sadtalker_runtime.speech.clip import POSE_SIZE, Clip
from sadtalker_runtime.speech.pose import CHUNK, pose_chunks, smoothing_range
from sadtalker_runtime.triton.calls import call
from sadtalker_runtime.triton.responses import error_response
from sadtalker_runtime.triton.tracing import tracing

STEP = 128  # frames that are computed at once: the batch size of audio2exp


class TritonPythonModel:
    """Speech to coefficients. Every request of an execution succeeds or fails on its own."""

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request, in order, with its coefficients or with its own error."""
        return list(await asyncio.gather(*(_answer(request) for request in requests)))

    def finalize(self) -> None:
        """Send the last spans."""
        tracing().close()


async def _answer(request: Any) -> Any:
    try:
        with tracing().execution("audio2coeff", request):
            coefficients = await _clip_coefficients(request)
    except Exception as error:  # a request must not fail the others in its batch
        return error_response("audio2coeff", error)
    return pb_utils.InferenceResponse([pb_utils.Tensor("coefficients", coefficients)])


async def _clip_coefficients(request: Any) -> Floats:
    inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    clip = Clip(
        waveform=inputs["waveform"],
        source_coefficients=inputs["source_coefficients"],
        pose_style=int(inputs["pose_style"][0]),
        seed=int(inputs["seed"][0]),
    )
    start, stop = map(int, inputs.get("frames", (0, clip.frames)))
    clip.check_range(start, stop)
    guides = clip.guides(stop - start, inputs["blink"], inputs.get("reference_expression"))
    steps = [
        await _coefficients(clip, at, min(at + STEP, stop), {k: v[at - start :][:STEP] for k, v in guides.items()})
        for at in range(start, stop, STEP)
    ]
    return np.concatenate(steps)


async def _coefficients(clip: Clip, start: int, stop: int, guides: dict[str, Array]) -> Floats:
    """Compute the coefficients of frames [start, stop): float32 [stop - start, 70]."""
    chunks = pose_chunks(*smoothing_range(start, stop, clip.frames), clip.frames)
    [expression], [motion] = await asyncio.gather(
        call("audio2exp", clip.expression_inputs(start, stop, guides), "expression"),
        call("audio2pose", clip.pose_inputs(chunks), "pose_motion") if chunks else _no_motion(),
    )
    return np.concatenate([expression, clip.pose(start, stop, chunks, motion)], axis=1)


async def _no_motion() -> list[Array]:
    return [np.empty((0, CHUNK, POSE_SIZE), np.float32)]  # a clip of one frame
