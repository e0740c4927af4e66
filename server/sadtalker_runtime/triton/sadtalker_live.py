"""The model `sadtalker_live`: requests of a sequence are speech and controls of a session, responses its frames.

A session's responses all answer its first request, which stays open; Triton's sequence batcher gives the next ones to
the model meanwhile. Sessions run as coroutines of one event loop in a thread of its own.
"""

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from sadtalker_runtime.animation.animator import Animator, finisher
from sadtalker_runtime.errors import REFUSED, UNAVAILABLE, CallError, InputError
from sadtalker_runtime.live.encoding import encoder
from sadtalker_runtime.live.face import Face, NoDecoders
from sadtalker_runtime.live.frames import CallerGoneError, Frame, Limits, SessionIdleError
from sadtalker_runtime.live.idle import RestCache
from sadtalker_runtime.live.options import LiveOptions
from sadtalker_runtime.live.session import LiveSession
from sadtalker_runtime.option_table import FACE_OPTIONS, LIVE_OPTIONS
from sadtalker_runtime.options import Options
from sadtalker_runtime.timing import FRAME_RATE
from sadtalker_runtime.triton.calls import call
from sadtalker_runtime.triton.inputs import SPEECH, FileLimits, read_tensors
from sadtalker_runtime.triton.live_metrics import LiveMetrics
from sadtalker_runtime.triton.metrics import Metrics
from sadtalker_runtime.triton.responses import failure
from sadtalker_runtime.triton.sadtalker import DEAD, ENDING, ORDER_POLL_SECONDS, ORDERS, launcher_order

SEQUENCE_START, SEQUENCE_END = 1, 2  # flags of a request
CONTROLS = "flush", "interrupt", "end"
CODES = {"refused": "INVALID_ARG", "cancelled": "CANCELLED", "failed": "INTERNAL", "idle": "CANCELLED"}


@dataclass
class _Open:
    """A running session."""

    session: LiveSession
    sender: Any


class TritonPythonModel:
    """Conversations. Every request gets one final answer: a session's first one when it ends, all others at once."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the limits from the configuration's parameters and start the event loop of the sessions."""
        configured = json.loads(args["model_config"])["parameters"]
        parameters = {key: value["string_value"] for key, value in configured.items()}
        self._file_limits = FileLimits(configured)
        chunks, self._most = int(parameters["chunks_in_flight"]), int(parameters["sessions"])
        self._limits = Limits(
            float(parameters["utterance_seconds"]),
            float(parameters["pending_seconds"]),
            float(parameters["idle_seconds"]),
            int(parameters["unacknowledged_frames"]),
            chunks,
        )
        self._size = int(parameters["size"])
        self._speech_models = parameters["speech_models"].split()
        self._metrics = LiveMetrics()
        self._animator = Animator(
            call,
            pb_utils.is_model_ready,
            Metrics(),
            NoDecoders(),
            self._size,
            self._limits.utterance_seconds,
            chunks,
            int(parameters["portrait_cache_entries"]),
        )
        self._rests = RestCache(int(parameters["idle_loop_frames"]), int(parameters["idle_cache_entries"]))
        self._sessions: dict[int | str, _Open] = {}
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(self._most * 2 + 4, "session"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="sessions", daemon=True)
        self._thread.start()

    def execute(self, requests: list[Any]) -> None:
        """Pass each request's speech and controls to its session, in order."""
        for request in requests:
            sender, number, flags = request.get_response_sender(), request.correlation_id(), request.flags()
            try:
                inputs = read_tensors(request, self._file_limits)
            except InputError as error:  # the session itself goes on
                self._loop.call_soon_threadsafe(self._reply, sender, failure(f"{REFUSED}{error}", "INVALID_ARG"))
                continue
            self._loop.call_soon_threadsafe(self._take, sender, number, flags, inputs)

    def finalize(self) -> None:
        """Stop the event loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _take(self, sender: Any, number: int | str, flags: int, inputs: dict[str, Any]) -> None:
        """Answer one request; that of a start goes on until the session ends."""
        refusal = None
        begins = bool(flags & SEQUENCE_START)
        try:
            if begins:
                self._begin(sender, number, inputs)
            self._say(number, inputs, bool(flags & SEQUENCE_END))
        except InputError as error:
            refusal = failure(f"{REFUSED}{error}", "INVALID_ARG")
        except _UnavailableError as error:
            refusal = failure(f"{UNAVAILABLE}{error}", "UNAVAILABLE")
        if refusal is not None and begins and (begun := self._sessions.get(number)) and begun.sender is sender:
            del self._sessions[number]
        elif begins and refusal is None:
            self._loop.create_task(self._answer(self._sessions[number], number, inputs))
            return
        self._reply(sender, refusal)

    def _reply(self, sender: Any, refusal: Any) -> None:
        """Give a request its final answer: the refusal, or None for an empty one."""
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        self._loop.run_in_executor(
            None, lambda: sender.send(refusal, flags=final) if refusal else sender.send(flags=final)
        )

    def _begin(self, sender: Any, number: int | str, inputs: dict[str, Any]) -> None:
        if number in self._sessions:
            raise InputError(f"sequence {number}: expected a new one, got the start of one that goes on")
        if "image" not in inputs:
            raise InputError("image: expected a portrait in a session's first request, got none")
        if order := launcher_order():
            raise _UnavailableError(ORDERS[order].removeprefix(UNAVAILABLE))
        if len(self._sessions) >= self._most:
            raise _UnavailableError(f"{self._most} sessions go on, which is as many as this server allows; try another")
        live = LiveOptions(**{name: inputs[name] for name in LIVE_OPTIONS if name in inputs})
        self._sessions[number] = _Open(LiveSession(live, self._limits), sender)
        self._options(inputs)

    def _options(self, inputs: dict[str, Any]) -> Options:
        asked = {"speech_model": self._speech_models[0]} | {
            name: inputs[name] for name in FACE_OPTIONS if name in inputs
        }
        options = Options(**asked)
        if options.size not in (None, self._size):
            raise InputError(f"size: expected {self._size}, which this server renders, got {options.size}")
        if options.speech_model not in self._speech_models:
            raise InputError(f"speech_model: expected {' or '.join(self._speech_models)}, got {options.speech_model!r}")
        return options

    def _say(self, number: int | str, inputs: dict[str, Any], ends: bool) -> None:
        begun = self._sessions.get(number)
        if begun is None:
            if not inputs.keys() & SPEECH and (ends or "control" not in inputs):
                return  # it has ended already; what was `received` may be on its way meanwhile
            raise InputError(f"sequence {number}: expected one that goes on, got one that has ended")
        session = begun.session
        speech = [name for name in SPEECH if name in inputs]
        control = inputs.get("control")
        if len(speech) > 1:
            raise InputError("speech: expected pcm or samples, got both")
        if control not in (None, *CONTROLS):
            raise InputError(f"control: expected {', '.join(CONTROLS)}, got {control!r}")
        if "received" in inputs:
            session.received(inputs["received"])
        if speech:
            if "rate" not in inputs:
                raise InputError("rate: expected samples per second with speech, got none")
            session.speak(inputs[speech[0]], inputs["rate"])
        if control == "interrupt":
            session.interrupt()
            self._metrics.interrupted()
        elif control == "flush":
            session.flush()
        if control == "end" or ends:
            session.end()

    async def _answer(self, begun: _Open, number: int | str, inputs: dict[str, Any]) -> None:
        """Send a session's frames; on failure, the one error."""
        outcome, message, code = "ended", "", None
        self._metrics.session_started()
        try:
            await self._send_frames(begun, inputs)
        except InputError as error:
            outcome, message = "refused", f"{REFUSED}{error}"
        except CallerGoneError as error:
            outcome, message = "cancelled", f"CANCELLED: {error}"
            if (order := launcher_order()) in ENDING:
                outcome, message, code = "failed", ORDERS[order], "UNAVAILABLE"
        except SessionIdleError as error:
            outcome, message = "idle", f"ABORTED: {error}"
        except CallError as error:
            outcome, message = "refused" if error.refused else "failed", str(error)
            if DEAD in message:
                message, code = ORDERS["broken"], "UNAVAILABLE"
        except Exception as error:
            pb_utils.Logger.log_error(f"sadtalker_live: {error!r}")
            outcome, message = "failed", f"sadtalker_live failed: {error!r}"
        finally:
            del self._sessions[number]
            self._metrics.session_ended(outcome)
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        if message:
            await asyncio.to_thread(begun.sender.send, failure(message, code or CODES[outcome]), flags=final)
        else:
            await asyncio.to_thread(begun.sender.send, flags=final)

    async def _send_frames(self, begun: _Open, inputs: dict[str, Any]) -> None:
        live = begun.session.options
        options = self._options(inputs)
        portrait = await self._animator.portrait(inputs["image"], options)
        face = Face(call, portrait, options)
        asked = tuple(sorted((name, str(inputs[name])) for name in FACE_OPTIONS if name in inputs))
        rest = await self._rests.get(
            face, live.pace == "realtime" and live.idle, sha256(inputs["image"]).digest(), asked
        )
        finished = await asyncio.to_thread(finisher, portrait)
        side = self._size * options.scale
        size = portrait.scene.size if portrait.scene else (side, side)
        looked = time.monotonic()

        def gone() -> bool:
            """Return whether the caller has left or the launcher ends the sessions (checked twice a second)."""
            nonlocal looked
            if time.monotonic() - looked > ORDER_POLL_SECONDS:
                looked = time.monotonic()
                if launcher_order() in ENDING:
                    return True
            return bool(begun.sender.is_cancelled())

        encoding = await asyncio.to_thread(encoder, live.format, *size, portrait.pixel_aspect)
        try:
            async with aclosing(begun.session.frames(face, rest, gone)) as frames:
                async for frame in frames:
                    self._metrics.frame(frame.late)
                    encoded = time.monotonic()
                    shown = next(iter(finished(frame.picture[None])))
                    video = await asyncio.to_thread(encoding.encode, shown, frame.sound)
                    response = _response(frame, video, encoding.carries_sound, size, time.monotonic() - encoded)
                    if frame.split:
                        self._metrics.speech_to_frame(sum(vars(frame.split).values()) + time.monotonic() - encoded)
                    await asyncio.to_thread(begun.sender.send, response)
        finally:
            encoding.close()


class _UnavailableError(RuntimeError):
    """The server runs as many sessions as it may."""


def _response(frame: Frame, video: bytes, muxed: bool, size: tuple[int, int], encoding: float) -> Any:
    split = frame.split
    latency = [split.look_ahead, split.queue, split.compute, encoding] if split else [np.nan] * 4
    tensors = {
        "video": np.array([[video]], np.object_),
        "sound": frame.sound[None, :0] if muxed else frame.sound[None],
        "frame": np.array([[frame.index]], np.int32),
        "time": np.array([[frame.index / FRAME_RATE]], np.float64),
        "size": np.array([size], np.int32),
        "utterance": np.array([[frame.utterance]], np.int32),
        "ends": np.array([[frame.ends]], np.bool_),
        "late": np.array([[frame.late]], np.bool_),
        "latency": np.array([latency], np.float32),
    }
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, np.ascontiguousarray(values)) for name, values in tensors.items()]
    )
