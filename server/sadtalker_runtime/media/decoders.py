"""Decoding of callers' files in separate processes, where a crash costs one request and not the service.

FFmpeg and Pillow read hostile files in C. So each input is decoded by a process with limits on memory, processor time
and the clock, forked from a server of the standard library's `multiprocessing` that has the decoders loaded already.
Decoders answer piece by piece, as sound and pictures are needed, and wait in between; pools that give one result per
task cannot do that. A process that was given a bad input, or was abandoned while it worked, is not used again.
"""

import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from typing import Any

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.audio import Recording, Sound, Track
from sadtalker_runtime.media.decoder_process import DROP, NEXT, Answer, Limits, Values, serve

TASKS_PER_PROCESS = 100  # then the process is replaced, which returns whatever it has leaked
MAX_HEADER = 1 << 16  # bytes
MAX_ARRAY = 1 << 28  # bytes; the largest picture has 192 MB
DTYPES = ("<f4", "|u1")
CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS, signal.SIGXCPU}


DEFAULTS = Limits()


class DecoderError(RuntimeError):
    """A failure of a decoder that its input did not cause."""


class Decoders:
    """Decoders in processes of their own. Thread-safe. Must be closed.

    Args:
        spare: how many processes wait for work, so that the first requests need not wait for theirs.
        limits: of each process.

    All methods raise InputError when the input is refused, or crashes its process, or takes it beyond its limits, and
    DecoderError when the process fails otherwise.
    """

    def __init__(self, spare: int = 1, limits: Limits = DEFAULTS) -> None:
        self._spare, self._limits = spare, limits
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([serve.__module__])
        self._lock = threading.Lock()
        self._closed = False
        self._idle = [_Process(self._context, self._limits) for _ in range(spare)]
        for _ in self._open("decoders", "nothing", b""):  # wait until one is there
            pass

    def speech(self, data: bytes, max_seconds: float) -> Recording:
        """Decode a recording for the networks, see `audio.decode`."""
        [(values, waveform)] = self._open("audio", "speech", data, max_seconds)
        assert waveform is not None
        return Recording(waveform, Sound(data, values["channels"]))

    def track(self, sound: Sound) -> Track:
        """Decode a sound at the rate of a video's, as it is read."""
        answers = sound.data and self._open("audio", "track", sound.data, sound.channels)
        return Track(sound, _arrays(answers) if answers else None)

    def video(self, name: str, data: bytes, max_seconds: float) -> "DecodedVideo":
        """Find the length of a video, see `video.inspect`; its pictures are decoded as they are needed."""
        answers = self._open(name, "video", data, name, max_seconds)
        values, _ = next(answers)
        sound = None if values["sound"] is None else Sound(data, *values["sound"])
        return DecodedVideo(name, values["frames"], sound, answers)

    def picture(self, data: bytes) -> Array:
        """Decode a picture, see `picture.decode`."""
        [(_, pixels)] = self._open("image", "picture", data)
        assert pixels is not None
        return pixels

    def close(self) -> None:
        """End the idle processes; a busy one ends with its task."""
        with self._lock:
            self._closed, idle, self._idle = True, self._idle, []
        for process in idle:
            process.end()

    def _open(self, name: str, task: str, data: bytes, *arguments: Any) -> "Answers":
        with self._lock:
            process = self._idle.pop() if self._idle else _Process(self._context, self._limits)
        return Answers(process, self._give_back, name, [json.dumps([task, *arguments]).encode(), data])

    def _give_back(self, process: "_Process", usable: bool) -> None:
        usable = usable and process.tasks < TASKS_PER_PROCESS
        with self._lock:
            wanted = not self._closed and len(self._idle) < self._spare
            if wanted:
                self._idle.insert(0, process if usable else _Process(self._context, self._limits))
        if not (wanted and usable):
            process.end()


class DecodedVideo:
    """A video whose length is known and whose pictures are decoded as they are needed. Must be closed."""

    def __init__(self, name: str, frames: int, sound: Sound | None, answers: "Answers") -> None:
        self.name = name
        """The name of the input that brought it, for messages."""
        self.frames = frames
        """Pictures at 25 per second, at least 1."""
        self.sound = sound
        self._answers = answers

    def pictures(self) -> Iterator[Array]:
        """Yield what `video.Video.pictures` yields, once."""
        return _arrays(self._answers)

    def close(self) -> None:
        """Give the decoder back."""
        self._answers.close()


def _arrays(answers: "Answers") -> Generator[Array, None, None]:
    with answers:
        for _, array in answers:
            assert array is not None
            yield array


class Answers:
    """A decoder's answers to one task, each decoded when it is asked for; at the end, or by `close`, it is given back.

    Args:
        process: the decoder, this task's alone until it is given back.
        give_back: takes it, and whether it can be used again.
        name: of the input, for messages.
        request: messages that ask for the first answer.
    """

    def __init__(
        self, process: "_Process", give_back: Callable[["_Process", bool], None], name: str, request: list[bytes]
    ) -> None:
        self._process: _Process | None = process
        self._give_back, self._name, self._request = give_back, name, request
        self._working = threading.Lock()

    def __enter__(self) -> "Answers":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> "Answers":
        return self

    def __next__(self) -> Answer:
        """Return the next answer, or raise what `Decoders` says."""
        with self._working:
            if self._process is None:
                raise StopIteration
            request, self._request = self._request, [NEXT]
            try:
                header, array = self._process.ask(request)
            except OSError as error:
                process, self._process = self._process, None
                self._give_back(process, False)
                raise process.failure(self._name, error) from error
            if "values" in header:
                return header["values"], array
            limits = self._process.limits
            self._release("end" in header)
        if "refused" in header:
            raise InputError(header["refused"])
        if "exceeded" in header:
            raise exceeded(self._name, f"{limits.data_bytes >> 20} MiB of memory")
        if "failed" in header:
            raise DecoderError(header["failed"])
        raise StopIteration

    def close(self) -> None:
        """Give the decoder back; a busy one is killed, and whoever waits for it gets an error."""
        if self._working.acquire(blocking=False):
            try:
                if self._process is not None:
                    self._release(self._process.drop())
            finally:
                self._working.release()
        elif (process := self._process) is not None:
            process.kill()

    def __del__(self) -> None:
        self.close()  # a video cancelled at its beginning drops the answers just opened for it

    def _release(self, usable: bool) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._give_back(process, usable)


class _Process:
    """A process that serves tasks, and this end of its pipe."""

    _starting = threading.Lock()  # multiprocessing keeps the children of all threads in one set

    def __init__(self, context: ForkServerContext, limits: Limits) -> None:
        self.limits = limits
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, limits), name="decoder", daemon=True)
        with self._starting:
            self._process.start()
        theirs.close()
        self.tasks = 0

    def ask(self, request: list[bytes]) -> tuple[Values, Array | None]:
        """Send a request and return the header of its answer and the array.

        Raises:
            OSError: the process ended, or its answer is none; TimeoutError: there is none in time.
        """
        self.tasks += request != [NEXT]
        try:
            for part in request:
                self._connection.send_bytes(part)
            if not self._connection.poll(self.limits.clock_seconds):
                raise TimeoutError
            header = json.loads(self._connection.recv_bytes(MAX_HEADER))
            return header, self._array(header["shape"], header["dtype"]) if "shape" in header else None
        except (EOFError, ValueError, TypeError, KeyError, multiprocessing.ProcessError) as error:
            raise ConnectionError("no answer") from error

    def drop(self) -> bool:
        """Have the process drop its task; return whether it is alive."""
        with suppress(OSError):
            self._connection.send_bytes(DROP)
            return True
        return False

    def end(self) -> None:
        """Let the process end as soon as it is idle."""
        self._connection.close()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def failure(self, name: str, error: OSError) -> Exception:
        """Return what to raise after `ask` raised `error`, for the input `name`."""
        if isinstance(error, TimeoutError):
            self.kill()
            return exceeded(name, f"{self.limits.clock_seconds:g} s")
        with self._starting:
            self._process.join(1)
        code = self._process.exitcode
        if code is None:
            self.kill()
        if code == -signal.SIGXCPU:
            return exceeded(name, f"{self.limits.cpu_seconds} s of processor time")
        if code is not None and -code in CRASHES:
            return InputError(
                f"{name}: expected a file that decodes, got one that crashes its decoder ({signal.Signals(-code).name})"
            )
        return DecoderError(f"the decoder of {name} ended (exit code {code})")

    def _array(self, shape: list[int], dtype: str) -> Array:
        if dtype not in DTYPES or min(shape) < 1 or math.prod(shape) * np.dtype(dtype).itemsize > MAX_ARRAY:
            raise ValueError("no array that a decoder gives")
        array: Array = np.empty(shape, dtype)
        rest = array.data.cast("B")
        while rest:
            if not (received := os.readv(self._connection.fileno(), [rest])):
                raise EOFError
            rest = rest[received:]
        return array


def exceeded(name: str, limit: str) -> InputError:
    """Return the error for an input whose decoding exceeds `limit`."""
    return InputError(f"{name}: expected a file that decodes, got one that takes more than {limit}")
