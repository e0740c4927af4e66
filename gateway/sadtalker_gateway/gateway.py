"""The parts of one gateway, put together."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from sadtalker_client import TLS, AsyncSadTalkerClient, SadTalkerError
from sadtalker_client._served import restores_faces, served_options

from .jobs import Jobs
from .metrics import Metrics
from .performance import Performer
from .portraits import Portraits
from .provenance import VideoSigner
from .retention import sweep_for_ever
from .settings import Settings
from .speech import Synthesizer, Utterance, Voice
from .speech.espeak import EspeakSynthesizer
from .storage import Storage
from .video_state import VideoStore

if TYPE_CHECKING:
    from .chat import ChatEndpoint


class Gateway:
    """The parts that answer requests, open within `open`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        tls = TLS(settings.triton_root_certificates, settings.triton_private_key, settings.triton_certificate)
        self.client = AsyncSadTalkerClient(
            settings.triton_url,
            timeout=settings.triton_seconds,
            tls=tls if settings.triton_tls or tls != TLS() else None,
        )
        self.storage = Storage(settings.store, settings.store_options, settings.signed_url_seconds)
        self.videos = VideoStore(self.storage, settings.interrupted_after_seconds)
        self.synthesizer = _Measured(_synthesizer(settings), self.metrics)
        self.chat = _chat(settings)
        self.performer = Performer(self.client, self.synthesizer, self.served_options, settings.speech_parallel)
        self.jobs = Jobs(self.performer, self.videos, settings, self.metrics, _signer(settings))
        self.portraits = Portraits(self.client, self.storage, self.videos, self.jobs, settings)
        self._served: frozenset[str] | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve; at the end, running videos are ended and the connection is closed."""
        sweeper = asyncio.create_task(sweep_for_ever(self.storage, 3600 * self.settings.retention_hours))
        try:
            yield
        finally:
            sweeper.cancel()
            await self.jobs.close(self.settings.stop_seconds)
            await self.client.close()

    async def served_options(self) -> frozenset[str]:
        """Return the options that the server's model takes, which is asked once."""
        if self._served is None:
            self._served = await served_options(self.client)
        return self._served

    async def restores_faces(self) -> bool:
        """Return whether the server can make videos in high quality now."""
        try:
            return await restores_faces(self.client)
        except SadTalkerError:
            return False


class _Measured:
    """A synthesiser whose time is measured."""

    def __init__(self, synthesizer: Synthesizer, metrics: Metrics) -> None:
        self.name = synthesizer.name
        self._synthesizer, self._metrics = synthesizer, metrics

    async def voices(self) -> list[Voice]:
        """Return all voices, the default one first."""
        return await self._synthesizer.voices()

    async def synthesize(self, utterance: Utterance) -> bytes:
        """Return the sentence as a WAV file."""
        start = time.perf_counter()
        recording = await self._synthesizer.synthesize(utterance)
        self._metrics.speech.observe(time.perf_counter() - start)
        return recording


def _synthesizer(settings: Settings) -> Synthesizer:
    if settings.speech_url is None:
        return EspeakSynthesizer(settings.speech_seconds)
    from .speech.openai_endpoint import OpenAISynthesizer  # its client takes seconds to import: only where it is used

    key = _secret(settings.speech_key)
    return OpenAISynthesizer(
        settings.speech_url, key, settings.speech_model, settings.speech_voices, settings.speech_seconds
    )


def _chat(settings: Settings) -> "ChatEndpoint | None":
    if settings.chat_url is None:
        return None
    from .chat import ChatEndpoint

    key, prompt = _secret(settings.chat_key), settings.chat_system_prompt
    return ChatEndpoint(settings.chat_url, key, settings.chat_model, prompt, settings.chat_seconds)


def _signer(settings: Settings) -> VideoSigner | None:
    if settings.c2pa_certificate is None or settings.c2pa_private_key is None:
        return None
    return VideoSigner(
        settings.c2pa_certificate, settings.c2pa_private_key, settings.c2pa_algorithm, settings.c2pa_timestamp_url
    )


def _secret(value: Any) -> str | None:
    return None if value is None else value.get_secret_value()
