"""The process in which a decoder runs: its limits, and the answers that it gives one by one.

Messages go through a pipe. A task is a JSON list of its name and arguments, followed by the encoded file; a further
answer is asked for by NEXT, and DROP ends the task. An answer is a JSON object, followed by the raw bytes of the array
that it announces, if any: `Connection` would copy them twice. Nothing is pickled: a decoder that a hostile
file has taken over can send wrong numbers, but no code.
"""

import json
import os
import resource
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError, excerpt
from sadtalker_runtime.media import audio, video
from sadtalker_runtime.portrait import picture

NEXT = b"next"
DROP = b"drop"


@dataclass(frozen=True)
class Limits:
    """Limits of a process that decodes."""

    data_bytes: int = 3 << 30
    """Bytes of heap and stacks. A picture of 64 megapixels takes up to half of it, the largest upload a sixth."""
    cpu_seconds: int = 60
    """Processor time for one answer. All speech of ten minutes takes about one."""
    clock_seconds: float = 120.0
    """Wall-clock time for one answer; longer, because other videos use the processors, too."""


Values: TypeAlias = dict[str, Any]
"""Numbers and texts of an answer, by name."""
Answer: TypeAlias = tuple[Values, Array | None]
Answers: TypeAlias = Generator[Answer, None, None]


def _speech(data: bytes, max_seconds: float) -> Answers:
    recording = audio.decode(data, max_seconds)
    yield {"channels": recording.sound.channels}, recording.waveform


def _track(data: bytes, channels: int) -> Answers:
    with closing(audio.track_blocks(data, channels)) as blocks:
        for block in blocks:
            yield {}, block


def _video(data: bytes, name: str, max_seconds: float) -> Answers:
    found = video.inspect(name, data, max_seconds)
    sound = None if found.sound is None else [found.sound.channels, found.sound.delay]
    yield {"frames": found.frames, "sound": sound}, None
    for shown in found.pictures():
        yield {}, shown


def _picture(data: bytes) -> Answers:
    yield {}, picture.decode(data)


def _nothing(data: bytes) -> Answers:
    yield {}, None


TASKS: dict[str, Callable[..., Answers]] = {
    "speech": _speech,
    "track": _track,
    "video": _video,
    "picture": _picture,
    "nothing": _nothing,
}
"""Answers by task; the first argument is the encoded file."""


def serve(connection: Connection, limits: Limits) -> None:
    """Carry out one task after the other until the other end of `connection` is closed."""
    _end_with_parent()
    for limit, most in (
        (resource.RLIMIT_DATA, limits.data_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    answers: Answers | None = None
    while (request := _received(connection)) is not None:
        if request != NEXT:
            answers = None  # closed with what it holds
        if request == DROP:
            continue
        if request != NEXT:
            task, *arguments = json.loads(request)
            answers = TASKS[task](connection.recv_bytes(), *arguments)
        _allow_cpu_time(limits.cpu_seconds)
        _send(connection, *_next(answers))


def _next(answers: Answers | None) -> tuple[Values, Array | None]:
    """Return the header and the array of the next answer."""
    try:
        answer = None if answers is None else next(answers, None)
    except InputError as error:
        return {"refused": str(error)}, None
    except MemoryError:
        return {"exceeded": True}, None
    except Exception as error:
        return {"failed": excerpt(repr(error))}, None
    return ({"end": True}, None) if answer is None else ({"values": answer[0]}, answer[1])


def _received(connection: Connection) -> bytes | None:
    try:
        return connection.recv_bytes()
    except EOFError:
        return None


def _send(connection: Connection, header: Values, array: Array | None = None) -> None:
    if array is not None:
        array = np.ascontiguousarray(array)
        header |= {"shape": array.shape, "dtype": array.dtype.str}
    connection.send_bytes(json.dumps(header).encode())
    if array is not None:
        rest = array.data.cast("B")
        while rest:
            rest = rest[os.write(connection.fileno(), rest) :]


def _allow_cpu_time(seconds: int) -> None:
    """Extend this process's limit of processor time."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))


def _end_with_parent() -> None:
    """End this process when its parent ends, even in the middle of decoding."""
    if (parent := parent_process()) is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, name="parent", daemon=True).start()
