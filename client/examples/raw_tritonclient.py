"""Animate with NVIDIA's `tritonclient` alone: the raw protocol of docs/protocol.md, blocking or in asyncio.

    python client/examples/raw_tritonclient.py portrait.png speech.wav out.mp4 [--asyncio]

`sadtalker_client` does this and more (typed errors, checks, atomic files, progress); take this as the pattern for
programs that speak to several Triton models already.
"""

import argparse
import asyncio
import queue
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio


def tensor(name: str, value: bytes | int | float | bool, datatype: str) -> triton.InferInput:
    """Return the input tensor [1, 1] of one value; `datatype` is Triton's, such as BYTES or INT32."""
    dtype = {"BYTES": np.object_, "INT32": np.int32, "INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_}[datatype]
    given = triton.InferInput(name, [1, 1], datatype)
    given.set_data_from_numpy(np.array([[value]], dtype))
    return given


def arguments(portrait: bytes, speech: bytes) -> dict[str, Any]:
    """Return what either client's streaming call is given."""
    return {
        "model_name": "sadtalker",
        "inputs": [
            tensor("image", portrait, "BYTES"),
            tensor("audio", speech, "BYTES"),
            tensor("pose_style", 3, "INT32"),
            tensor("seed", 7, "INT64"),
        ],
        "request_id": "raw-example-1",
    }


def is_last(result: triton.InferResult, file: BinaryIO) -> bool:
    """Write the fragment in `result`, if there is one, to `file`; return whether no more responses follow."""
    fragment = result.as_numpy("video")
    if fragment is not None:  # the last response has a fragment, too, or no tensors at all
        file.write(fragment.item())
        print(f"{result.as_numpy('frames_done').item()} of {result.as_numpy('frames_total').item()} frames")  # noqa: T201
    return bool(result.get_response().parameters["triton_final_response"].bool_param)


def animate(url: str, portrait: bytes, speech: bytes, out: Path) -> None:
    """Write the video to `out`, with the blocking client."""
    answers: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()
    with triton.InferenceServerClient(url) as client, out.open("wb") as file:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(**arguments(portrait, speech), enable_empty_final_response=True)
        while True:
            result, error = answers.get()
            if error is not None:  # for instance "INVALID_ARGUMENT: pose_style: expected 0 to 45, got 99"
                raise error
            if is_last(result, file):
                break


async def animate_in_asyncio(url: str, portrait: bytes, speech: bytes, out: Path) -> None:
    """Write the video to `out`, with the client for asyncio.

    It has no `enable_empty_final_response`, and needs none as long as the model marks its last fragment.
    """

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield arguments(portrait, speech)

    async with triton_aio.InferenceServerClient(url) as client:
        with out.open("wb") as file:
            async for result, error in client.stream_infer(requests()):
                if error is not None:
                    raise error
                if is_last(result, file):
                    break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Animate with tritonclient alone.")
    parser.add_argument("portrait", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--url", default="127.0.0.1:8001", help="the server (default: %(default)s)")
    parser.add_argument("--asyncio", action="store_true", help="use the client for asyncio")
    given = parser.parse_args()
    files = given.portrait.read_bytes(), given.speech.read_bytes()
    if given.asyncio:
        asyncio.run(animate_in_asyncio(given.url, *files, given.out))
    else:
        animate(given.url, *files, given.out)
