"""Any OpenAI-compatible `/v1/audio/speech` endpoint as a synthesiser."""

from openai import AsyncOpenAI

from ..endpoint_errors import endpoint_errors
from .synthesis import SpeechError, Utterance, Voice


class OpenAISynthesizer:
    """Speaks with the endpoint at `url`.

    Args:
        key: its key; local servers need none.
        model: its model.
        voices: its voices, the default one first, as the protocol has no way to list them.
        seconds: longest time for one sentence.
    """

    name = "openai-compatible"

    def __init__(self, url: str, key: str | None, model: str, voices: list[str], seconds: float = 60.0) -> None:
        self._client = AsyncOpenAI(base_url=url, api_key=key or "none", timeout=seconds, max_retries=1)
        self._model = model
        self._voices = [Voice(id=voice, name=voice, languages=[]) for voice in voices]

    async def voices(self) -> list[Voice]:
        """Return the voices of the settings."""
        return self._voices

    async def synthesize(self, utterance: Utterance) -> bytes:
        """Return what the endpoint answers when asked for WAV; the language is the model's to recognise."""
        voice = utterance.voice or self._voices[0].id
        if voice not in [known.id for known in self._voices]:
            raise SpeechError(f"voice: expected an id of /v1/voices, got {voice!r}", caller=True)
        with endpoint_errors("the speech endpoint", SpeechError):
            answer = await self._client.audio.speech.create(
                model=self._model,
                voice=voice,
                input=utterance.text,
                response_format="wav",
                speed=min(max(utterance.speed, 0.25), 4.0),
            )
        return answer.content
