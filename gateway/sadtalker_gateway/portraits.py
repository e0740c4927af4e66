"""Portraits: stored under the hash of what they are, each with a poster, an idle loop and the loop as a picture."""

import asyncio
import hashlib
import io
import json
import re
import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import av
from pydantic import BaseModel, Field
from sadtalker_client import AsyncSadTalkerClient

from .errors import not_found
from .jobs import Jobs
from .performance import Performance
from .settings import Settings
from .storage import Storage
from .video_state import StoredVideo, VideoStore

IDLE_SEED = 1
PICTURE_RATE = 12.5  # pictures per second of the animated picture: every second frame
_ID = re.compile("portrait_[0-9a-f]{32}")
OPTIONS = ("crop", "face_index", "size")  # of a portrait; its videos take them over


class Portrait(BaseModel):
    """A portrait whose face was found."""

    id: str
    object: Literal["portrait"] = "portrait"
    created_at: int = Field(description="Unix time, seconds")
    expires_at: int = Field(description="when it will be deleted")
    poster_url: str = Field(description="PNG: the first frame of the idle loop")
    idle_url: str = Field(description="MP4: a seamless loop to show while nobody speaks")
    picture_url: str = Field(description="animated WebP of the same")
    options: dict[str, Any] = Field(description="crop, face_index and size, for all videos of this portrait")


class Portraits:
    """The portraits of all owners.

    The objects of one, under `OWNER/portraits/ID/`: `image`, `poster.png`, `portrait.json`, `idle.webp`; its idle loop
    is the video `idle_ID`.
    """

    def __init__(
        self, client: AsyncSadTalkerClient, storage: Storage, videos: VideoStore, jobs: Jobs, settings: Settings
    ) -> None:
        self._client, self._storage, self._videos = client, storage, videos
        self._jobs, self._settings = jobs, settings

    async def create(self, owner: str, image: bytes, options: Mapping[str, Any]) -> Portrait:
        """Return the portrait of an image; the same image and options give the same id.

        Raises:
            InvalidInputError: the server's reason, such as that there is no face.
            SadTalkerError: any other trouble of the server.
        """
        kept = {name: options[name] for name in OPTIONS if options.get(name) is not None}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode() + b"\0" + image).hexdigest()[:32]
        portrait_id = f"portrait_{digest}"
        poster = await self._client.poster(image, idle=self._settings.idle_seconds, seed=IDLE_SEED, **kept)
        now = int(time.time())
        expires = now + int(3600 * self._settings.retention_hours)
        base = f"/v1/portraits/{portrait_id}"
        portrait = Portrait(
            id=portrait_id,
            created_at=now,
            expires_at=expires,
            poster_url=f"{base}/poster",
            idle_url=f"{base}/idle",
            picture_url=f"{base}/picture",
            options=kept,
        )
        folder = self._folder(owner, portrait_id)
        await self._storage.put(f"{folder}/image", image)
        await self._storage.put(f"{folder}/poster.png", poster)
        await self._storage.put(f"{folder}/portrait.json", portrait.model_dump_json().encode())
        return portrait

    async def load(self, owner: str, portrait_id: str) -> tuple[Portrait, bytes]:
        """Return a portrait and its image; raise ApiError 404 if there is none."""
        portrait = await self.describe(owner, portrait_id)
        image = await self._storage.get(f"{self._folder(owner, portrait_id)}/image")
        if image is None:
            raise not_found("portrait")
        return portrait, image

    async def describe(self, owner: str, portrait_id: str) -> Portrait:
        """Return a portrait; raise ApiError 404 if there is none."""
        if not _ID.fullmatch(portrait_id):  # ids are parts of names in the store
            raise not_found("portrait")
        content = await self._storage.get(f"{self._folder(owner, portrait_id)}/portrait.json")
        if content is None:
            raise not_found("portrait")
        return Portrait.model_validate_json(content)

    async def poster(self, owner: str, portrait_id: str) -> bytes:
        """Return its PNG; raise ApiError 404 if there is none."""
        poster = await self._storage.get(f"{self._folder(owner, portrait_id)}/poster.png")
        if poster is None:
            raise not_found("portrait")
        return poster

    async def idle(self, owner: str, portrait_id: str) -> StoredVideo:
        """Return the state of the idle loop, which is begun now unless it is there or being made.

        Raises:
            ApiError: 404, no such portrait; 429 or 503, the limits.
        """
        video_id = f"idle_{portrait_id}"
        if job := self._jobs.find(owner, video_id):
            return job.video
        video = await self._videos.load(owner, video_id)
        if video is not None and video.status != "failed":
            return video
        portrait, image = await self.load(owner, portrait_id)
        await self._storage.delete(f"{self._videos.folder(owner, video_id)}/deleted")
        options = {**portrait.options, "idle": self._settings.idle_seconds, "seed": IDLE_SEED}
        video = StoredVideo(
            id=video_id, created_at=int(time.time()), expires_at=portrait.expires_at, portrait_id=portrait_id
        )
        await self._jobs.submit(owner, video, Performance(image, options), patient=True)
        return video

    async def picture(self, owner: str, portrait_id: str) -> bytes | None:
        """Return the idle loop as an animated WebP, None while the loop is being made."""
        name = f"{self._folder(owner, portrait_id)}/idle.webp"
        if content := await self._storage.get(name):
            return content
        if (await self.idle(owner, portrait_id)).status != "completed":
            return None
        video = await self._storage.get(self._videos.content_name(owner, f"idle_{portrait_id}"))
        if video is None:
            return None
        content = await asyncio.to_thread(animated_picture, video)
        await self._storage.put(name, content)
        return content

    async def delete(self, owner: str, portrait_id: str) -> None:
        """Delete a portrait and its idle loop; raise ApiError 404 if there is none."""
        await self.describe(owner, portrait_id)
        await self._jobs.delete(owner, f"idle_{portrait_id}")
        names = [entry.name async for entry in self._storage.list(self._folder(owner, portrait_id))]
        await self._storage.delete(*names)

    @staticmethod
    def _folder(owner: str, portrait_id: str) -> str:
        return f"{owner}/portraits/{portrait_id}"


def animated_picture(mp4: bytes) -> bytes:
    """Return every second frame of a video as an animated WebP that repeats for ever."""
    file = io.BytesIO()
    with av.open(io.BytesIO(mp4)) as video, av.open(file, "w", format="webp", options={"loop": "0"}) as picture:
        source = video.streams.video[0]
        stream: Any = picture.add_stream("libwebp_anim", rate=Fraction(PICTURE_RATE))
        stream.width, stream.height, stream.pix_fmt = source.width, source.height, "yuv420p"
        shown = 0
        for index, frame in enumerate(video.decode(source)):
            if index % 2 == 0:
                frame.pts, frame.time_base = shown, 1 / Fraction(PICTURE_RATE)
                picture.mux(stream.encode(frame))
                shown += 1
        picture.mux(stream.encode(None))
    return file.getvalue()
