"""The model `sadtalker`: admits requests, turns tensors into a video and its fragments into responses.

Videos run as coroutines of one event loop in a thread of its own. `execute` takes every request at once; those that
find no free place wait in a line of the model's own, so that each has its own time-out and its own end.
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
from sadtalker_runtime.errors import REFUSED, UNAVAILABLE, CallError, InputError, excerpt
from sadtalker_runtime.listener import Listener, StalledError
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.options import Options
from sadtalker_runtime.places import CANCELLED, STOPPING, NoPlaceError, Places
from sadtalker_runtime.timing import FRAME_RATE
from sadtalker_runtime.triton import video_record
from sadtalker_runtime.triton.acknowledge import Acknowledgements
from sadtalker_runtime.triton.calls import call
from sadtalker_runtime.triton.inputs import FileLimits, read_inputs
from sadtalker_runtime.triton.metrics import Metrics
from sadtalker_runtime.triton.responses import failure
from sadtalker_runtime.triton.tracing import tracing
from sadtalker_runtime.triton.video_record import VideoRecord
from sadtalker_runtime.version import check_version

CODES = {"refused": "INVALID_ARG", "cancelled": "CANCELLED", "stalled": "CANCELLED", "failed": "INTERNAL"}
STALLED = "ABORTED: "
"""Prefix of the message of a video that was given up because its listener did not read."""
OPTIONS = tuple(field.name for field in fields(Options))
ORDERS = {  # of the launcher, to refuse new videos; with the message to their callers
    "draining": "UNAVAILABLE: the server is stopping, try another",
    "stopping": "UNAVAILABLE: the server is stopping, try another",
    "broken": "UNAVAILABLE: a process of the server died, try another",
}
DEAD = "is not healthy"  # in Triton's answer for a model whose process died; the launcher has noticed it, too
ENDING = ("stopping", "broken")  # those that also end the videos being made
ORDER_POLL_SECONDS = 0.5


class TritonPythonModel:
    """The talking head. Every request gets fragments, the last with the final flag, or one error with that flag."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the limits from the configuration's parameters and start the event loop of the videos."""
        parameters = json.loads(args["model_config"])["parameters"]
        check_version(parameters.get("version", {}).get("string_value", "none"))

        def parameter(name: str) -> float:
            return float(parameters[name]["string_value"])

        videos, chunks = int(parameter("videos_at_once")), int(parameter("chunks_in_flight"))
        self._places = Places(videos, int(parameter("videos_waiting")))
        self._limits = FileLimits(parameters)
        self._decoders = Decoders(spare=2)
        self._unread_limit = int(parameter("unacknowledged_megabytes") * 1e6)
        self._patience = parameter("stalled_seconds")
        self._listeners: dict[str, Listener] = {}  # by the request ids of their videos
        self._log_format = video_record.log_format()
        self._metrics, self._tracing = Metrics(), tracing()
        self._animator = Animator(
            call,
            pb_utils.is_model_ready,
            self._metrics,
            self._decoders,
            int(parameter("size")),
            parameter("max_audio_seconds"),
            chunks,
            int(parameter("portrait_cache_entries")),
            int(parameter("chunks_at_once")),
            parameters["speech_models"]["string_value"].split(),
        )
        self._videos: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._acknowledgements = Acknowledgements(self._acknowledged)
        self._loop.add_reader(self._acknowledgements, self._acknowledgements.receive)
        # A call of another model keeps a thread until it is answered: chunks and coefficients, besides encoding.
        self._loop.set_default_executor(ThreadPoolExecutor(videos * (chunks + 2), "video"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="videos", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._obey(), self._loop)

    def execute(self, requests: list[Any]) -> None:
        """Take the requests over: their inputs become videos that run or wait; bad ones are refused at once."""
        for request in requests:
            sender = request.get_response_sender()
            record = VideoRecord(request.request_id())
            try:
                inputs = read_inputs(request, self._limits)
            except InputError as error:
                self._loop.call_soon_threadsafe(self._refuse, sender, record, f"{REFUSED}{error}")
                continue
            record.input_bytes = {name: len(value) for name, value in inputs.items() if isinstance(value, bytes)}
            record.input_bytes |= {"photos": sum(map(len, inputs["photos"]))} if "photos" in inputs else {}
            context, timeout = request.trace().get_context(), request.timeout() / 1e6
            asyncio.run_coroutine_threadsafe(self._admit(sender, inputs, record, context, timeout), self._loop)

    def _refuse(self, sender: Any, record: VideoRecord, message: str) -> None:
        """Answer a request whose inputs cannot be used."""
        self._metrics.video_waits()
        self._metrics.video_admitted()
        self._metrics.video_ended("refused")
        self._fail(sender, "INVALID_ARG", message)
        self._write(record, "refused", message)

    async def _admit(
        self, sender: Any, inputs: dict[str, Any], record: VideoRecord, context: str | None, timeout: float
    ) -> None:
        """Make a video once a place is free, within `timeout` seconds (0: no limit), or answer with the refusal."""
        self._metrics.video_waits()
        try:
            await self._places.enter(timeout, sender.is_cancelled)
            if order := launcher_order():
                self._places.leave()
                raise NoPlaceError(STOPPING, ORDERS[order].removeprefix(UNAVAILABLE))
        except NoPlaceError as error:
            record.admitted()
            self._metrics.video_turned_away(error.reason)
            left = error.reason == CANCELLED
            message = str(error) if left else f"{UNAVAILABLE}{error}"
            self._fail(sender, "CANCELLED" if left else "UNAVAILABLE", message)
            self._write(record, "cancelled" if left else "refused", message)
            return
        record.admitted()
        self._metrics.waited(record.waited)
        await self._answer(sender, inputs, record, context)

    def finalize(self) -> None:
        """Stop the event loop and the decoders."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._decoders.close()
        self._acknowledgements.close()
        self._tracing.close()

    def _acknowledged(self, video: str, frames_done: int) -> None:
        if listener := self._listeners.get(video):
            listener.acknowledge(frames_done)

    async def _obey(self) -> None:
        """Obey the launcher: turn away waiting videos, and end those being made, as their networks may be dead."""
        while True:
            await asyncio.sleep(ORDER_POLL_SECONDS)
            order = launcher_order()
            if order:
                self._places.turn_away(ORDERS[order].removeprefix(UNAVAILABLE))
            if order in ENDING:
                for video in self._videos:
                    video.cancel()

    @staticmethod
    def _fail(sender: Any, code: str, message: str) -> None:
        sender.send(failure(message, code), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _write(self, record: VideoRecord, outcome: str, message: str | None) -> None:
        """Write the video's log line."""
        video_record.write(record.fields(outcome, message), self._log_format)

    async def _answer(self, sender: Any, inputs: dict[str, Any], record: VideoRecord, context: str | None) -> None:
        """Send a video's fragments; on failure, the one error."""
        outcome, message = "finished", None
        code = None
        video = asyncio.current_task()
        assert video is not None
        self._videos.add(video)
        listener = Listener(self._unread_limit, self._patience)
        if record.request_id:
            self._listeners[record.request_id] = listener
        try:
            self._metrics.video_admitted()
            with self._tracing.video(context), video_record.recording(record):
                if not await self._send_video(sender, inputs, listener, record):
                    outcome, message = "cancelled", "cancelled by the caller"
        except StalledError as error:
            outcome, message = "stalled", f"{STALLED}{error}"
        except InputError as error:
            outcome, message = "refused", f"{REFUSED}{error}"
        except CallError as error:
            outcome, message = "refused" if error.refused else "failed", str(error)
            code = "UNAVAILABLE" if error.unavailable else None
            if DEAD in message:
                message, code = ORDERS["broken"], "UNAVAILABLE"
        except asyncio.CancelledError:
            outcome, message, code = "failed", ORDERS[launcher_order() or "stopping"], "UNAVAILABLE"
        except Exception as error:
            pb_utils.Logger.log_error(f"sadtalker: {error!r}")
            outcome, message = "failed", f"sadtalker failed: {excerpt(repr(error))}"
        finally:
            self._videos.discard(video)
            self._places.leave()
            if self._listeners.get(record.request_id) is listener:
                del self._listeners[record.request_id]
        if message is not None:
            self._fail(sender, code or CODES[outcome], message)
        self._metrics.video_ended(outcome)
        self._write(record, outcome, message)

    async def _send_video(self, sender: Any, inputs: dict[str, Any], listener: Listener, record: VideoRecord) -> bool:
        """Send the fragments; return False when the caller went away before the end."""
        start, frames = time.perf_counter(), 0
        options = Options(**{name: inputs[name] for name in OPTIONS if name in inputs})
        async with aclosing(self._animator.animate(inputs["image"], inputs.get("audio"), options)) as fragments:
            async for fragment in fragments:
                if sender.is_cancelled() or not await self._caught_up(listener, sender, record):
                    return False
                if frames == 0:
                    record.first_fragment = time.perf_counter() - start
                    self._metrics.first_fragment(record.first_fragment)
                frames = fragment.frames_done
                listener.sent(frames, len(fragment.video))
                record.frames, record.video_bytes = frames, record.video_bytes + len(fragment.video)
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

    async def _caught_up(self, listener: Listener, sender: Any, record: VideoRecord) -> bool:
        """Wait for a listener that is behind; nothing is rendered meanwhile. Return False when it has left."""
        if not listener.behind:
            return True
        start = time.perf_counter()
        try:
            with self._metrics.paused():
                return await listener.catches_up(sender.is_cancelled)
        finally:
            record.paused += time.perf_counter() - start


def launcher_order() -> str | None:
    """Return the launcher's order, one of ORDERS; None where there is none."""
    file = os.environ.get("SADTALKER_DRAIN_FILE")
    try:
        order = Path(file).read_text() if file else ""
    except FileNotFoundError:
        return None
    return order if order in ORDERS else None
