"""Bytes of videos: finished ones with ranges, growing ones as they come, from this replica or another one."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from sadtalker_client import SadTalkerError

from ..errors import ApiError, from_failure, not_found
from ..gateway import Gateway
from ..jobs import Job
from ..video_state import StoredVideo

MEDIA_TYPE = "video/mp4"
_POLL_SECONDS = 0.5
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def stored_or_growing(gateway: Gateway, owner: str, video_id: str, request: Request) -> Response:
    """Answer with a video's bytes: a finished one, or as much as there is and then the rest as it is made."""
    job = gateway.jobs.find(owner, video_id)
    video = job.video if job else await gateway.videos.load(owner, video_id)
    if video is None:
        raise not_found("video")
    if video.status == "failed":
        detail = video.error
        raise _failed(detail.code if detail else "server_error", detail.message if detail else "for an unknown reason")
    if video.status == "completed":  # the store has it, and signed; the job may still be tidying up
        return await _finished(gateway, owner, video, request)
    if job is not None:
        try:
            await first_bytes(job, request)
        except ApiError as error:
            raise _failed(error.code, error.message) from error
        return StreamingResponse(_followed(job), media_type=MEDIA_TYPE, headers=_headers(job.video))
    return StreamingResponse(_parts(gateway, owner, video_id), media_type=MEDIA_TYPE, headers=_headers(video))


def _failed(code: str, message: str) -> ApiError:
    return ApiError(409, code, f"the video failed: {message}")


async def first_bytes(job: Job, request: Request) -> None:
    """Return when a job has its first bytes; raise ApiError with what came instead, or when the caller has left."""
    ready = asyncio.create_task(job.file.wait_for_bytes())
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({ready, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise ApiError(409, "cancelled", "the caller has left")
        await ready
    except (SadTalkerError, OSError) as error:
        raise from_failure(error) from error
    finally:
        for task in (ready, gone):
            task.cancel()
        await asyncio.gather(ready, gone, return_exceptions=True)


def live(job: Job) -> Response:
    """Answer with a job's video as it is made; a caller who leaves ends the work."""

    async def pieces() -> AsyncIterator[bytes]:
        try:
            async for piece in _followed(job):
                yield piece
        finally:
            if not job.file.closed:
                job.cancel()

    headers = {**_headers(job.video), "Location": f"/v1/videos/{job.video.id}", "X-Video-Id": job.video.id}
    return StreamingResponse(pieces(), media_type=MEDIA_TYPE, headers=headers)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _followed(job: Job) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(job.file.follow()) as pieces:
        async for piece in pieces:
            yield piece


async def _parts(gateway: Gateway, owner: str, video_id: str) -> AsyncIterator[bytes]:
    """Yield what another replica puts into the store while it makes the video."""
    index = 0
    while True:
        video = await gateway.videos.load(owner, video_id)
        if video is None or video.status == "failed":
            raise ApiError(409, "cancelled", "the video was deleted or failed while it was read")
        while index < video.parts:
            part = await gateway.storage.get(gateway.videos.part_name(owner, video_id, index))
            if part is None:
                raise ApiError(409, "cancelled", "the video was deleted while it was read")
            index += 1
            yield part
        if video.status == "completed":
            break
        await asyncio.sleep(_POLL_SECONDS)
    if index == 0:  # it was complete before there were any parts
        name = gateway.videos.content_name(owner, video_id)
        if entry := await gateway.storage.head(name):
            async for piece in gateway.storage.stream(name, 0, entry.size):
                yield piece


async def _finished(gateway: Gateway, owner: str, video: StoredVideo, request: Request) -> Response:
    name = gateway.videos.content_name(owner, video.id)
    entry = await gateway.storage.head(name)
    if entry is None:
        raise not_found("video")
    etag = f'"{video.id}-{entry.size}"'
    headers = {**_headers(video), "Accept-Ranges": "bytes", "ETag": etag}
    headers["Cache-Control"] = "private, max-age=3600"
    start, end, status = 0, entry.size, 200
    wanted = request.headers.get("range")
    if wanted and request.headers.get("if-range", etag) == etag and (match := _RANGE.fullmatch(wanted.strip())):
        first, last = match.groups()
        if first:
            start, end = int(first), min(int(last) + 1, entry.size) if last else entry.size
        elif last:
            start = max(entry.size - int(last), 0)
        else:
            match = None
        if match is not None:
            if start >= entry.size or start >= end:
                unsatisfiable = {"Content-Range": f"bytes */{entry.size}"}
                return Response(status_code=416, headers=unsatisfiable)
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=MEDIA_TYPE)
    pieces = gateway.storage.stream(name, start, end)
    return StreamingResponse(pieces, status, headers, MEDIA_TYPE)


def _headers(video: StoredVideo) -> dict[str, str]:
    return {
        "Cache-Control": "no-store",
        "Content-Disposition": f'inline; filename="{video.id}.mp4"',
        "X-AI-Generated": "true",
    }
