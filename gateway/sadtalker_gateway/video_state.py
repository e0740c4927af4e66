"""The state of a video, in the API's answers and in the store.

Objects of one video, under `OWNER/videos/ID/`: `state.json`; `content.mp4` once it is complete; `parts/000000` and so
on while it is being made, so that every replica can pass on what there is; `deleted` once somebody has deleted it.
"""

import time
from typing import Literal

from pydantic import BaseModel, Field

from .errors import Failure
from .storage import Storage

Status = Literal["queued", "in_progress", "completed", "failed"]


class Video(BaseModel):
    """A video, in the shape of OpenAI's Videos API with some fields more."""

    id: str
    object: Literal["video"] = "video"
    model: str = "sadtalker"
    status: Status = "queued"
    progress: int = Field(
        default=0, ge=0, le=100, description="per cent; an estimate while a reply is still being written"
    )
    created_at: int = Field(description="Unix time, seconds")
    completed_at: int | None = None
    expires_at: int | None = Field(default=None, description="when it will be deleted")
    error: Failure | None = None
    prompt: str | None = Field(default=None, description="what is said, as far as it is known")
    seconds: str = Field(default="0", description="length of the video so far")
    size: str = Field(default="", description="width x height in pixels, once known")
    quality: str = "low"
    portrait_id: str | None = None
    ai_generated: Literal[True] = True
    first_fragment_seconds: float | None = Field(default=None, description="from the request to the first bytes")
    total_seconds: float | None = Field(default=None, description="from the request to the end")
    url: str | None = Field(default=None, description="of the MP4: signed where the store can, else a path of this API")


class StoredVideo(Video):
    """The state with the fields that replicas exchange."""

    heartbeat: float = Field(default=0, description="Unix time when its replica last said that it works on it")
    parts: int = 0
    bytes: int = 0


class VideoStore:
    """The videos of all owners in one store; after `interrupted_after` seconds of silence a video counts as dead."""

    def __init__(self, storage: Storage, interrupted_after: float) -> None:
        self.storage = storage
        self._interrupted_after = interrupted_after

    @staticmethod
    def folder(owner: str, video_id: str) -> str:
        """Return where everything of a video lies."""
        return f"{owner}/videos/{video_id}"

    def content_name(self, owner: str, video_id: str) -> str:
        """Return the name of the finished MP4."""
        return f"{self.folder(owner, video_id)}/content.mp4"

    def part_name(self, owner: str, video_id: str, index: int) -> str:
        """Return the name of one part of a growing video."""
        return f"{self.folder(owner, video_id)}/parts/{index:06d}"

    async def save(self, owner: str, video: StoredVideo) -> bool:
        """Write the state; False if the video has been deleted in the meantime, and then nothing stays behind."""
        name = f"{self.folder(owner, video.id)}/state.json"
        await self.storage.put(name, video.model_dump_json().encode())
        # A deletion writes its mark first and removes the state second; looking for the mark after writing the state
        # therefore finds every deletion that could have missed it.
        if await self.storage.head(f"{self.folder(owner, video.id)}/deleted"):
            await self.storage.delete(name)
            return False
        return True

    async def load(self, owner: str, video_id: str) -> StoredVideo | None:
        """Return the state, None if there is no such video. One whose replica has died comes back as failed."""
        content = await self.storage.get(f"{self.folder(owner, video_id)}/state.json")
        if content is None:
            return None
        video = StoredVideo.model_validate_json(content)
        silent = time.time() - video.heartbeat
        if video.status in ("queued", "in_progress") and silent > self._interrupted_after:
            video.status = "failed"
            video.error = Failure(code="interrupted", message="the gateway stopped while it made this video")
            await self.save(owner, video)
        return video

    async def list(self, owner: str) -> list[StoredVideo]:
        """Return all videos of an owner, the newest first."""
        found = []
        async for entry in self.storage.list(f"{owner}/videos"):
            if entry.name.endswith("/state.json"):
                video = await self.load(owner, entry.name.split("/")[-2])
                if video is not None:
                    found.append(video)
        return sorted(found, key=lambda video: (video.created_at, video.id), reverse=True)

    async def delete(self, owner: str, video_id: str) -> bool:
        """Delete a video wherever it is being made; False if there is none."""
        folder = self.folder(owner, video_id)
        if await self.storage.head(f"{folder}/state.json") is None:
            return False
        await self.storage.put(f"{folder}/deleted", b"deleted")
        await self.clear(owner, video_id)
        return True

    async def clear(self, owner: str, video_id: str) -> None:
        """Remove a video's objects, the mark of a deletion excepted."""
        names = [entry.name async for entry in self.storage.list(self.folder(owner, video_id))]
        await self.storage.delete(*(name for name in names if not name.endswith("/deleted")))

    async def is_deleted(self, owner: str, video_id: str) -> bool:
        """Return whether somebody has deleted the video."""
        return await self.storage.head(f"{self.folder(owner, video_id)}/deleted") is not None

    async def public(self, owner: str, video: StoredVideo) -> Video:
        """Return the fields that callers see."""
        url = None
        if video.status == "completed":
            url = await self.storage.signed_url(self.content_name(owner, video.id))
        if video.status != "failed":
            url = url or f"/v1/videos/{video.id}/content"
        hidden = set(StoredVideo.model_fields) - set(Video.model_fields)
        return Video(**video.model_dump(exclude=hidden | {"url"}), url=url)
