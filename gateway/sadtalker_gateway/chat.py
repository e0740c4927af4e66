"""The reply of an OpenAI-compatible chat endpoint, in sentences while it is being written."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from openai import AsyncOpenAI

from .endpoint_errors import endpoint_errors
from .errors import ChatError
from .speech import SentenceCutter


class ChatEndpoint:
    """The endpoint at `url`.

    Args:
        key: its key; local servers need none.
        model: its model.
        system_prompt: what it is told before every conversation.
        seconds: longest time for a whole reply.
    """

    def __init__(self, url: str, key: str | None, model: str, system_prompt: str, seconds: float = 120.0) -> None:
        self._client = AsyncOpenAI(base_url=url, api_key=key or "none", timeout=seconds, max_retries=1)
        self._model = model
        self._system_prompt = system_prompt

    async def sentences(self, messages: Sequence[dict[str, str]], language: str = "en") -> AsyncIterator[str]:
        """Yield the reply to a conversation of {"role": ..., "content": ...}, each sentence when it is complete.

        Raises:
            ChatError: the endpoint cannot be reached or answers with an error.
        """
        cutter = SentenceCutter(language)
        whole: Any = [{"role": "system", "content": self._system_prompt}, *messages]
        with endpoint_errors("the chat endpoint", ChatError):
            stream = await self._client.chat.completions.create(model=self._model, messages=whole, stream=True)
            async with stream:
                async for chunk in stream:
                    for sentence in cutter.feed((chunk.choices[0].delta.content or "") if chunk.choices else ""):
                        yield sentence
        for sentence in cutter.end():
            yield sentence
