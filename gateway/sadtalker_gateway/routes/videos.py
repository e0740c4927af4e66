"""`/v1/videos`: videos of what is said, in the shape of OpenAI's Videos API."""

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel
from sadtalker_client import InvalidInputError

from ..errors import not_found
from ..gateway import Gateway
from ..jobs import Job
from ..options import form_options, with_quality
from ..performance import Performance
from ..speech import split_sentences
from ..video_state import StoredVideo, Video
from .common import CREATION_ERRORS, GatewayDependency, Owner, VideoId, errors, within
from .content import MEDIA_TYPE, first_bytes, live, stored_or_growing

router = APIRouter(prefix="/v1/videos", tags=["videos"])

Quality = Literal["low", "high"]
_MP4: dict[int | str, dict[str, Any]] = {
    200: {"content": {MEDIA_TYPE: {}}, "description": "the MP4"},
}


class VideoList(BaseModel):
    """Several videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class Deletion(BaseModel):
    """A video that is no more."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: Literal[True] = True


@dataclass(frozen=True)
class Saying:
    """The words of one video, and how they are said."""

    options: dict[str, Any]
    quality: str
    speech: bytes | None = None
    text: str | None = None
    voice: str | None = None
    language: str | None = None
    speed: float = 1.0


@router.post(
    "",
    status_code=202,
    response_model=Video | VideoList,
    responses={**errors(*CREATION_ERRORS), 200: {"content": {MEDIA_TYPE: {}}, "description": "stream=true: the MP4"}},
)
async def create_video(
    request: Request,
    gateway: GatewayDependency,
    owner: Owner,
    options: Annotated[dict[str, Any], Depends(form_options)],
    prompt: Annotated[str | None, Form(description="the text to say")] = None,
    portrait_id: Annotated[list[str] | None, Form(description="of one portrait or several")] = None,
    portrait: Annotated[list[UploadFile] | None, File(description="a picture, or several")] = None,
    input_reference: Annotated[list[UploadFile] | None, File(description="the same, as OpenAI names it")] = None,
    speech: Annotated[list[UploadFile] | None, File(description="a recording instead of text, or several")] = None,
    voice: Annotated[str | None, Form(description="of /v1/voices", max_length=64)] = None,
    language: Annotated[str | None, Form(description="of the text, BCP 47", max_length=35)] = None,
    speed: Annotated[float, Form(description="of the voice, 1 is natural", ge=0.25, le=4)] = 1.0,
    quality: Annotated[Quality | None, Form(description="high restores the face in every frame")] = None,
    model: Annotated[str | None, Form(description="accepted for OpenAI's clients; there is one model")] = None,
    seconds: Annotated[str | None, Form(description="refused: a video is as long as what is said")] = None,
    stream: Annotated[bool, Query(description="answer with the MP4 itself as it is made")] = False,
) -> Response | Video | VideoList:
    """Make a video, or one of every portrait with every recording.

    What moves the portrait is `prompt`, `speech`, or the option `driving` or `idle`. Give the portrait's id, or upload
    it. Several portraits or recordings are a batch, answered with a list.
    """
    settings = gateway.settings
    if seconds is not None:
        raise InvalidInputError("seconds: a video is as long as what is said; leave it out, or ask for idle=SECONDS")
    text = within(prompt, settings.text_characters)
    chosen = quality or settings.quality
    recordings: list[bytes | None] = [await file.read() for file in speech or []]
    if not recordings and not (text and text.strip()) and not {"driving", "idle"} & options.keys():
        raise InvalidInputError("expected prompt (text), speech (a recording), driving or idle; got none of them")
    if recordings and text:
        raise InvalidInputError("expected prompt or speech, got both")
    faces = [await _uploaded(file) for file in [*(portrait or []), *(input_reference or [])]]
    for known in portrait_id or []:
        found, image = await gateway.portraits.load(owner, known)
        faces.append((known, image, found.options))
    if not faces:
        raise InvalidInputError("portrait: expected a file or portrait_id, got neither")
    sayings = [
        Saying(with_quality(options, chosen), chosen, recording, text, voice, language, speed)
        for recording in recordings or [None]
    ]
    batch = [(face, saying) for face in faces for saying in sayings]
    if len(batch) > settings.batch_size:
        raise InvalidInputError(f"expected at most {settings.batch_size} videos in one call, got {len(batch)}")
    if stream and len(batch) > 1:
        raise InvalidInputError("stream: expected one portrait and one recording or text, got several")
    gateway.jobs.admit(owner, len(batch))
    jobs = [await begin(gateway, owner, face, saying, patient=not stream) for face, saying in batch]
    if stream:
        return await streamed(jobs[0], request)
    videos = [await gateway.videos.public(owner, job.video) for job in jobs]
    if len(videos) == 1:
        return videos[0]
    return VideoList(data=videos, first_id=videos[0].id, last_id=videos[-1].id)


Face = tuple[str | None, bytes, dict[str, Any]]


async def _uploaded(file: UploadFile) -> Face:
    content = await file.read()
    if not content:
        raise InvalidInputError("portrait: expected the content of a picture, got 0 bytes")
    return None, content, {}


async def begin(
    gateway: Gateway,
    owner: str,
    face: Face,
    saying: Saying,
    *,
    patient: bool,
    sentences: Any = None,
) -> Job:
    """Begin a video; `sentences` is a reply in progress, which is said instead of a text."""
    portrait_id, image, portrait_options = face
    now = int(time.time())
    video = StoredVideo(
        id=f"video_{uuid.uuid4().hex}",
        created_at=now,
        expires_at=now + int(3600 * gateway.settings.retention_hours),
        quality=saying.quality,
        portrait_id=portrait_id,
        prompt=saying.text if sentences is None else None,
    )

    def said(sentence: str) -> None:
        if sentences is not None:
            video.prompt = f"{video.prompt} {sentence}" if video.prompt else sentence

    async def cut() -> AsyncIterator[str]:
        for sentence in split_sentences(saying.text or "", saying.language or "en"):
            yield sentence

    text = sentences or (cut if saying.text and saying.speech is None else None)
    options = {**portrait_options, **saying.options}
    performance = Performance(
        image, options, saying.speech, text, saying.voice, saying.language, saying.speed, on_sentence=said
    )
    return await gateway.jobs.submit(owner, video, performance, patient=patient)


async def streamed(job: Job, request: Request) -> Response:
    """Answer with a video as it is made, or with the error that came before its first bytes."""
    try:
        await first_bytes(job, request)
    except BaseException:
        job.cancel()
        raise
    return live(job)


@router.get("", responses=errors())
async def list_videos(
    gateway: GatewayDependency,
    owner: Owner,
    after: Annotated[str | None, Query(description="the last id of the page before", max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="by time of creation")] = "desc",
) -> VideoList:
    """Return the caller's videos."""
    found = [video for video in await gateway.videos.list(owner) if video.id.startswith("video_")]
    found = found[::-1] if order == "asc" else found
    if after is not None:
        ids = [video.id for video in found]
        found = found[ids.index(after) + 1 :] if after in ids else []
    page = [await gateway.videos.public(owner, video) for video in found[:limit]]
    ends = (page[0].id, page[-1].id) if page else (None, None)
    return VideoList(data=page, first_id=ends[0], last_id=ends[1], has_more=len(found) > limit)


@router.get("/{video_id}", responses=errors(404))
async def get_video(gateway: GatewayDependency, owner: Owner, video_id: VideoId) -> Video:
    """Return the state of a video: status, progress, error, and where its bytes are."""
    job = gateway.jobs.find(owner, video_id)
    video = job.video if job else await gateway.videos.load(owner, video_id)
    if video is None:
        raise not_found("video")
    return await gateway.videos.public(owner, video)


@router.api_route(
    "/{video_id}/content",
    methods=["GET"],
    response_class=Response,
    responses={
        **errors(404, 409),
        **_MP4,
        206: {"description": "a range of it"},
        416: {"description": "no such range"},
    },
)
async def get_content(gateway: GatewayDependency, owner: Owner, video_id: VideoId, request: Request) -> Response:
    """Return the MP4: with ranges when it is complete, as a growing stream while it is being made."""
    return await stored_or_growing(gateway, owner, video_id, request)


@router.head("/{video_id}/content", include_in_schema=False)
async def head_content(gateway: GatewayDependency, owner: Owner, video_id: VideoId, request: Request) -> Response:
    """Return only the headers."""
    return await stored_or_growing(gateway, owner, video_id, request)


@router.delete("/{video_id}", responses=errors(403, 404))
async def delete_video(gateway: GatewayDependency, owner: Owner, video_id: VideoId) -> Deletion:
    """Delete a video; the work for one in progress stops."""
    if not await gateway.jobs.delete(owner, video_id):
        raise not_found("video")
    return Deletion(id=video_id)
