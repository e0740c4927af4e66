"""`/v1/speech` and `/v1/voices`: text as it will be heard."""

from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from sadtalker_client import InvalidInputError

from ..speech import Utterance, Voice, split_sentences
from ..speech.wav import joined
from .common import CREATION_ERRORS, GatewayDependency, Owner, errors, within

router = APIRouter(prefix="/v1", tags=["speech"])
_WAV: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/wav": {}}, "description": "WAV"}}


class SpeechBody(BaseModel):
    """A text to synthesise."""

    model_config = ConfigDict(extra="forbid")

    input: str = Field(description="the text", min_length=1)
    voice: str | None = Field(default=None, description="of /v1/voices", max_length=64)
    language: str | None = Field(default=None, description="BCP 47", max_length=35)
    speed: float = Field(default=1.0, ge=0.25, le=4, description="1 is natural")


class VoiceList(BaseModel):
    """Voices, the default one first."""

    object: Literal["list"] = "list"
    synthesizer: str
    data: list[Voice]


class Features(BaseModel):
    """The features that this gateway offers."""

    qualities: list[str] = Field(description="that the server can render now")
    chat: bool = Field(description="whether a chat model answers; otherwise text is repeated")
    synthesizer: str
    text_characters: int
    upload_bytes: int


@router.post("/speech", response_class=Response, responses={**errors(*CREATION_ERRORS), **_WAV})
async def create_speech(gateway: GatewayDependency, owner: Owner, body: SpeechBody) -> Response:
    """Return a text as it is spoken in a video: sentence after sentence, with the same pauses."""
    within(body.input, gateway.settings.text_characters, "input")
    sentences = split_sentences(body.input, body.language or "en")
    if not sentences:
        raise InvalidInputError("input: expected something to say, got nothing that can be spoken")
    recordings = [
        await gateway.synthesizer.synthesize(Utterance(sentence, body.voice, body.language, body.speed))
        for sentence in sentences
    ]
    return Response(joined(recordings), media_type="audio/wav")


@router.get("/voices", responses=errors(502))
async def list_voices(gateway: GatewayDependency, owner: Owner) -> VoiceList:
    """Return the voices that text can be spoken with."""
    return VoiceList(synthesizer=gateway.synthesizer.name, data=await gateway.synthesizer.voices())


@router.get("/features", responses=errors())
async def get_features(gateway: GatewayDependency, owner: Owner) -> Features:
    """Return what this gateway and the server behind it offer."""
    settings = gateway.settings
    return Features(
        qualities=["low", "high"] if await gateway.restores_faces() else ["low"],
        chat=gateway.chat is not None,
        synthesizer=gateway.synthesizer.name,
        text_characters=settings.text_characters,
        upload_bytes=settings.upload_bytes,
    )
