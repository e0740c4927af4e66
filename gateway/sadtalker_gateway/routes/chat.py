"""`/v1/chat`: a conversation in, the reply as a video out."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sadtalker_client import InvalidInputError

from ..errors import ApiError
from ..options import OptionsBody, with_quality
from ..video_state import Video
from .common import CREATION_ERRORS, GatewayDependency, Owner, errors, within
from .content import MEDIA_TYPE
from .videos import Quality, Saying, begin, streamed

router = APIRouter(prefix="/v1/chat", tags=["chat"])
_MOST_MESSAGES = 200


class ChatMessage(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1)


class ChatBody(BaseModel):
    """A conversation and how its reply is to be seen."""

    model_config = ConfigDict(extra="forbid")

    portrait_id: str = Field(max_length=64)
    messages: list[ChatMessage] = Field(min_length=1, max_length=_MOST_MESSAGES, description="the last one the user's")
    voice: str | None = Field(default=None, max_length=64)
    language: str | None = Field(default=None, max_length=35)
    speed: float = Field(default=1.0, ge=0.25, le=4)
    quality: Quality | None = None
    options: OptionsBody = Field(default_factory=OptionsBody)


@router.post(
    "",
    status_code=202,
    response_model=Video,
    responses={**errors(*CREATION_ERRORS), 200: {"content": {MEDIA_TYPE: {}}, "description": "stream=true: the MP4"}},
)
async def create_chat(
    request: Request,
    gateway: GatewayDependency,
    owner: Owner,
    body: ChatBody,
    stream: Annotated[bool, Query(description="answer with the MP4 itself as it is made")] = False,
) -> Response | Video:
    """Answer the last message with a video of the portrait speaking; without a chat model it repeats the message.

    The video's `prompt` is the reply, as far as it has been said.
    """
    settings = gateway.settings
    last = body.messages[-1]
    if last.role != "user":
        raise InvalidInputError("messages: expected the user's at the end, got the assistant's")
    if sum(len(message.content) for message in body.messages) > 20 * settings.text_characters:
        raise ApiError(400, "invalid_input", f"messages: expected at most {20 * settings.text_characters} characters")
    within(last.content, settings.text_characters, "messages")
    portrait, image = await gateway.portraits.load(owner, body.portrait_id)
    chosen = body.quality or settings.quality
    options: dict[str, Any] = body.options.model_dump(exclude_none=True)
    sentences = None
    if gateway.chat is not None:
        chat, messages = gateway.chat, [message.model_dump() for message in body.messages]

        def sentences() -> Any:
            return chat.sentences(messages, body.language or "en")

    saying = Saying(with_quality(options, chosen), chosen, None, last.content, body.voice, body.language, body.speed)
    face = (portrait.id, image, portrait.options)
    job = await begin(gateway, owner, face, saying, patient=not stream, sentences=sentences)
    return await streamed(job, request) if stream else await gateway.videos.public(owner, job.video)
