"""The model `sadtalker`: admits requests, turns tensors into a video and its fragments into responses.

Videos run as coroutines of one event loop in a thread of its own. `execute` only returns when there is room for its
request; until then it and all behind it wait in Triton's queue, where the limits, timeouts and counters are. (An
`async def execute` of a decoupled model returns at once: Triton's queue would always be empty and never full.)
"""

import asyncio
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.errors import REFUSED, CallError, InputError
from sadtalker_runtime.options import Options
from sadtalker_runtime.timing import FRAME_RATE
from sadtalker_runtime.triton.calls import call
from sadtalker_runtime.triton.metrics import Metrics
from sadtalker_runtime.triton.responses import failure
from sadtalker_runtime.version import check_version

CODES = {"refused": "INVALID_ARG", "cancelled": "CANCELLED", "failed": "INTERNAL"}
OPTIONS = tuple(field.name for field in fields(Options))
TEXTS = tuple(field.name for field in fields(Options) if field.type is str)  # all other bytes are files


class TritonPythonModel:
    """The talking head. Every request gets fragments and a final flag with the last, or one error with it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the limits from the configuration's parameters and start the event loop of the videos."""
        parameters = json.loads(args["model_config"])["parameters"]
        check_version(parameters.get("version", {}).get("string_value", "none"))

        def parameter(name: str) -> float:
            return float(parameters[name]["string_value"])

        videos, chunks = int(parameter("videos_at_once")), int(parameter("chunks_in_flight"))
        self._room = threading.Semaphore(videos)
        self._metrics = Metrics()
        self._animator = Animator(
            call,
            pb_utils.is_model_ready,
            self._metrics,
            int(parameter("size")),
            parameter("max_audio_seconds"),
            chunks,
            int(parameter("portrait_cache_entries")),
        )
        self._loop = asyncio.new_event_loop()
        # A call of another model keeps a thread until it is answered: chunks and coefficients, besides encoding.
        self._loop.set_default_executor(ThreadPoolExecutor(videos * (chunks + 2), "video"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="videos", daemon=True)
        self._thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Start the videos, each as soon as there is room for it."""
        for request in requests:
            # Copies: a request's tensors must not be touched once `execute` has returned.
            inputs = {tensor.name(): _value(tensor) for tensor in request.inputs()}
            sender = request.get_response_sender()
            self._room.acquire()
            if self._draining():
                self._room.release()
                self._fail(sender, "UNAVAILABLE", "UNAVAILABLE: the server is stopping, try another")
                continue
            asyncio.run_coroutine_threadsafe(self._answer(sender, inputs), self._loop)

    def finalize(self) -> None:
        """Stop the event loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @staticmethod
    def _draining() -> bool:
        """Whether the launcher has been told to stop: it waits for the videos being made, no new ones may begin."""
        drain_file = os.environ.get("SADTALKER_DRAIN_FILE")
        return drain_file is not None and Path(drain_file).exists()

    @staticmethod
    def _fail(sender: Any, code: str, message: str) -> None:
        sender.send(failure(message, code), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    async def _answer(self, sender: Any, inputs: dict[str, Any]) -> None:
        """Sends a video's fragments; on failure, the one error."""
        outcome, message = "finished", None
        try:
            self._metrics.video_started()
            if not await self._send_video(sender, inputs):
                outcome, message = "cancelled", "cancelled by the caller"
        except InputError as error:
            outcome, message = "refused", f"{REFUSED}{error}"
        except CallError as error:
            outcome, message = "refused" if error.refused else "failed", str(error)
        except Exception as error:
            pb_utils.Logger.log_error(f"sadtalker: {error!r}")
            outcome, message = "failed", f"sadtalker failed: {error!r}"
        finally:
            self._room.release()
        if message is not None:
            self._fail(sender, CODES[outcome], message)
        self._metrics.video_ended(outcome)

    async def _send_video(self, sender: Any, inputs: dict[str, Any]) -> bool:
        """Send the fragments; return False when the caller went away before the end."""
        start, frames = time.perf_counter(), 0
        options = Options(**{name: inputs[name] for name in OPTIONS if name in inputs})
        async with aclosing(self._animator.animate(inputs["image"], inputs.get("audio"), options)) as fragments:
            async for fragment in fragments:
                if sender.is_cancelled():
                    return False
                if frames == 0:
                    self._metrics.first_fragment(time.perf_counter() - start)
                frames = fragment.frames_done
                response = pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor("video", np.array([[fragment.video]], np.object_)),
                        pb_utils.Tensor("frames_done", np.array([[fragment.frames_done]], np.int32)),
                        pb_utils.Tensor("frames_total", np.array([[fragment.frames_total]], np.int32)),
                    ]
                )
                flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if fragment.last else 0
                await asyncio.to_thread(sender.send, response, flags=flags)
        if not options.poster:
            self._metrics.real_time_factor((time.perf_counter() - start) * FRAME_RATE / frames)
        return True


def _value(tensor: Any) -> Any:
    """A file, text, number or truth value of a tensor [1, 1]; of others, [1, ...], a copy without the first axis."""
    array = tensor.as_numpy()
    if array.shape != (1, 1):
        return array[0].copy()
    value = array.item()
    return value.decode(errors="replace") if isinstance(value, bytes) and tensor.name() in TEXTS else value
