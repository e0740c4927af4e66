"""The interface of speech synthesisers, and what they exchange."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, Field


class SpeechError(Exception):
    """A sentence could not be spoken; `caller` tells whether the request is at fault."""

    def __init__(self, message: str, *, caller: bool = False) -> None:
        super().__init__(message)
        self.caller = caller


class Voice(BaseModel):
    """A voice that text can be spoken with."""

    id: str = Field(description="what `voice` takes")
    name: str = Field(description="for people")
    languages: list[str] = Field(description="BCP 47 codes; empty: any")


@dataclass(frozen=True)
class Utterance:
    """A sentence and how to speak it.

    `voice` is an id of `Synthesizer.voices`, `language` a BCP 47 code; None: the synthesiser's default.
    `speed` is a factor, 1 is natural.
    """

    text: str
    voice: str | None = None
    language: str | None = None
    speed: float = 1.0


class Synthesizer(Protocol):
    """Speaks sentences."""

    name: str

    async def voices(self) -> list[Voice]:
        """Return all voices, the default one first."""
        ...

    async def synthesize(self, utterance: Utterance) -> bytes:
        """Return the sentence as a WAV file; raise SpeechError if it cannot be spoken."""
        ...


async def run_process(command: list[str], stdin: bytes, seconds: float) -> tuple[int, bytes, bytes]:
    """Run a program to its end and return its status, output and error output; kill it when the time is over.

    Raises:
        SpeechError: it did not end in time.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        out, error = await asyncio.wait_for(process.communicate(stdin), seconds)
    except asyncio.TimeoutError as timeout:
        raise SpeechError(f"the speech synthesiser did not end within {seconds:g} s") from timeout
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out, error
