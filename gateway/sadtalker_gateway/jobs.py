"""Videos in progress at this replica: admitted, made, reported to the store, and cancelled.

A job appends its video to a temporary file that readers follow. Once a second its news go to the store: a part with
the new bytes, and the state, which also tells other replicas that the job is alive.
"""

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from obstore.exceptions import BaseError
from sadtalker_client import AnimationCancelledError, ServerUnavailableError

from .errors import RETRY_SECONDS, ApiError, Failure, failure_of
from .growing_file import GrowingFile
from .metrics import Metrics
from .performance import Performance, Performer
from .provenance import VideoSigner
from .settings import Settings
from .video_state import StoredVideo, VideoStore

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
UNAVAILABLE_SECONDS = 60.0  # for which a job waits for a server that is away or full, if nobody waits for its answer
PARTS_LINGER_SECONDS = 60.0  # in which readers at other replicas may finish


class Job:
    """One video at this replica; `video` is its present state, `file` its bytes so far."""

    def __init__(self, owner: str, video: StoredVideo, performance: Performance, patient: bool) -> None:
        self.owner, self.video, self.performance, self.patient = owner, video, performance, patient
        self.file = GrowingFile()
        self.started_at = time.monotonic()
        self.task: asyncio.Task[None] | None = None
        self.interrupted = False  # cancelled because the gateway stops, not by a caller
        self._cancelled = False

    def cancel(self) -> None:
        """Stop the work, on the server, too."""
        if self.task is not None and not self._cancelled:
            self._cancelled = True  # a second time would interrupt the clean-up
            self.task.cancel()


class Jobs:
    """All jobs of this replica, within the limits of the settings."""

    def __init__(
        self, performer: Performer, videos: VideoStore, settings: Settings, metrics: Metrics, signer: VideoSigner | None
    ) -> None:
        self._performer, self._videos, self._settings = performer, videos, settings
        self._metrics, self._signer = metrics, signer
        self._places = asyncio.Semaphore(settings.videos_at_once)
        self._jobs: dict[tuple[str, str], Job] = {}
        self._background: set[asyncio.Task[Any]] = set()

    def admit(self, owner: str, count: int = 1) -> None:
        """Raise ApiError 429 or 503 if so many further videos are too many now."""
        settings = self._settings
        mine = sum(job.owner == owner for job in self._jobs.values())
        if settings.api_keys and mine + count > settings.videos_per_key:
            message = f"expected at most {settings.videos_per_key} videos at once for this key, got {mine + count}"
            raise ApiError(429, "too_many_videos", message, retry_after=RETRY_SECONDS)
        if len(self._jobs) + count > settings.videos_at_once + settings.videos_waiting:
            message = "all places are taken; try again in a moment"
            raise ApiError(503, "server_busy", message, retry_after=RETRY_SECONDS)

    async def submit(self, owner: str, video: StoredVideo, performance: Performance, *, patient: bool) -> Job:
        """Begin a video. A `patient` job waits for a server that is full or away, another one fails at once.

        Raises:
            ApiError: 429 or 503, the limits of `admit`.
        """
        self.admit(owner)
        job = Job(owner, video, performance, patient)
        self._jobs[owner, video.id] = job
        video.heartbeat = time.time()
        try:
            await self._videos.save(owner, video)
        except BaseException:
            del self._jobs[owner, video.id]
            raise
        job.task = asyncio.create_task(self._run(job))
        await asyncio.sleep(0)  # a task that is cancelled before its first step would never clean up
        return job

    def find(self, owner: str, video_id: str) -> Job | None:
        """Return a job that is still under way here."""
        return self._jobs.get((owner, video_id))

    async def delete(self, owner: str, video_id: str) -> bool:
        """Delete a video, stopping the work for it wherever it is; False if there is none."""
        job = self.find(owner, video_id)
        found = await self._videos.delete(owner, video_id)
        if job is not None:
            job.cancel()
            if job.task is not None:
                await asyncio.wait([job.task])
            await self._videos.clear(owner, video_id)
        return found

    async def close(self, drain_seconds: float) -> None:
        """Give running jobs some time, then end them as interrupted."""
        tasks = [job.task for job in self._jobs.values() if job.task]
        if tasks:
            await asyncio.wait(tasks, timeout=drain_seconds)
        for job in list(self._jobs.values()):
            job.interrupted = True
            job.cancel()
        pending = [*tasks, *self._background]
        for task in self._background:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        reporter = asyncio.create_task(self._report(job))
        self._metrics.waiting.inc()
        failure: BaseException | None = None
        try:
            async with self._place():
                job.video.status = "in_progress"
                await self._make(job)
                await self._keep(job)
        except asyncio.CancelledError:
            failure = AnimationCancelledError("the video was cancelled")
            job.video.error = failure_of(failure)
            if job.interrupted:
                job.video.error = Failure(code="interrupted", message="the gateway stopped while it made this video")
        except Exception as error:
            failure = error
            job.video.error = failure_of(error)
        reporter.cancel()
        await asyncio.gather(reporter, return_exceptions=True)
        await self._end(job, failure)

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        waiting = True
        try:
            async with self._places:
                self._metrics.waiting.dec()
                waiting = False
                with self._metrics.in_progress.track_inprogress():
                    yield
        finally:
            if waiting:
                self._metrics.waiting.dec()

    async def _make(self, job: Job) -> None:
        give_up = time.monotonic() + (UNAVAILABLE_SECONDS if job.patient else 0)
        while True:
            try:
                async with contextlib.aclosing(self._performer.perform(job.performance)) as pieces:
                    async for piece in pieces:
                        job.file.append(piece.data)
                        self._note(job, piece.seconds, piece.progress, piece.size)
                return
            except ServerUnavailableError:
                if job.file.size or time.monotonic() > give_up:
                    raise
                job.video.prompt = None
                await asyncio.sleep(REPORT_SECONDS)

    def _note(self, job: Job, seconds: float, progress: float, size: tuple[int, int] | None) -> None:
        video = job.video
        if video.first_fragment_seconds is None:
            video.first_fragment_seconds = round(time.monotonic() - job.started_at, 3)
            self._metrics.first_fragment.observe(video.first_fragment_seconds)
        video.seconds = f"{seconds:.2f}"
        video.progress = max(video.progress, min(99, int(100 * progress)))
        if size:
            video.size = f"{size[0]}x{size[1]}"

    async def _keep(self, job: Job) -> None:
        """Put the finished video into the store, signed if there is a certificate."""
        name = self._videos.content_name(job.owner, job.video.id)
        if self._signer is None:
            await self._videos.storage.put(name, job.file.path)
        else:
            with tempfile.TemporaryDirectory(prefix="sadtalker-") as folder:
                signed = Path(folder) / "signed.mp4"
                await asyncio.to_thread(self._signer.sign, job.file.path, signed, f"{job.video.id}.mp4")
                await self._videos.storage.put(name, signed)
        job.video.status, job.video.progress = "completed", 100
        job.video.completed_at = int(time.time())
        job.video.total_seconds = round(time.monotonic() - job.started_at, 3)

    async def _end(self, job: Job, failure: BaseException | None) -> None:
        video = job.video
        if failure is not None:
            video.status = "failed"
        outcome = "completed" if failure is None else video.error.code if video.error else "server_error"
        self._metrics.videos.labels(outcome).inc()
        if failure is None and video.total_seconds is not None:
            self._metrics.total.observe(video.total_seconds)
        try:
            if video.parts:
                await self._send_part(job)  # for readers at other replicas
            alive = await self._videos.save(job.owner, video)
            if not alive:
                await self._videos.clear(job.owner, video.id)
        except (BaseError, OSError) as error:
            log.error("the state of %s could not be stored: %s", video.id, error)
            failure = failure or error
        job.file.close(failure if isinstance(failure, Exception) else None)
        self._jobs.pop((job.owner, video.id), None)  # only now: until the state is stored, the news is here
        if video.parts:
            self._start(self._remove_parts(job))

    async def _remove_parts(self, job: Job) -> None:
        try:
            await asyncio.sleep(PARTS_LINGER_SECONDS)
        finally:
            names = [self._videos.part_name(job.owner, job.video.id, index) for index in range(job.video.parts)]
            with contextlib.suppress(BaseError, OSError):
                await asyncio.shield(self._videos.storage.delete(*names))

    async def _report(self, job: Job) -> None:
        video = job.video
        last = ""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                await self._send_part(job)
                news = video.model_dump_json(exclude={"heartbeat"})
                if news == last and time.time() < video.heartbeat + self._settings.heartbeat_seconds:
                    continue
                last, video.heartbeat = news, time.time()
                if not await self._videos.save(job.owner, video):
                    job.cancel()
            except (BaseError, OSError) as error:
                log.warning("the state of %s could not be stored, trying again: %s", video.id, error)

    async def _send_part(self, job: Job) -> None:
        video = job.video
        if job.file.size > video.bytes:
            part = job.file.read_from(video.bytes)
            await self._videos.storage.put(self._videos.part_name(job.owner, video.id, video.parts), part)
            video.parts, video.bytes = video.parts + 1, video.bytes + len(part)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
