"""One video from beginning to end: decodes the speech, encodes the portrait, renders chunk after chunk, muxes."""

import asyncio
import io
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Protocol

import numpy as np

from sadtalker_runtime.animation.admission import Admission, Schedule
from sadtalker_runtime.animation.calls import Call
from sadtalker_runtime.animation.coefficient_stream import CoefficientStream
from sadtalker_runtime.animation.enlargement import enlarged
from sadtalker_runtime.animation.head_angles import NO_ANGLE, angle_curves
from sadtalker_runtime.animation.performances import Performance, prepare
from sadtalker_runtime.animation.photos import joined, shares
from sadtalker_runtime.animation.portraits import Portrait, PortraitCache, pixel_aspect
from sadtalker_runtime.animation.preview import drawn
from sadtalker_runtime.animation.windows import (
    CHUNK,
    RADIUS,
    chunk_angles,
    chunk_count,
    chunk_windows,
    needed,
    placed,
    ranges,
    source_coefficients,
    source_windows,
    styled,
)
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.blending.scene import Scene
from sadtalker_runtime.enhancers import BACKGROUNDS, ENHANCERS
from sadtalker_runtime.errors import REFUSED, CallError, InputError
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.media.mp4 import FragmentedMp4
from sadtalker_runtime.media.poster import png
from sadtalker_runtime.options import Options
from sadtalker_runtime.portrait.face import MAIN
from sadtalker_runtime.timing import FRAME_RATE


class Observer(Protocol):
    """A receiver of events, for metrics."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Surround one run of a stage: portrait, decoding, coefficients, render or encode."""

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


@dataclass(frozen=True)
class Fragment:
    """The next bytes of a video."""

    video: bytes
    frames_done: int
    """Frames of the video that are complete with these bytes."""
    frames_total: int

    @property
    def last(self) -> bool:
        return self.frames_done == self.frames_total


class Animator:
    """The maker of videos, any number of them at a time, with a cache of encoded portraits.

    Args:
        call: runs the other models.
        installed: whether the server has a model.
        observer: for metrics.
        decoders: decode what callers sent.
        size: width and height of the frames that the renderer gives, pixels.
        max_audio_seconds: longer recordings, videos and loops are refused.
        chunks_in_flight: how many chunks of a video may be rendered, or wait for their turn, at a time.
        chunks_at_once: how many chunks of all videos may be rendered at a time.
        cached_portraits: how many encoded portraits are kept, 8 MiB each, and up to 17 MiB for a whole Full HD picture,
            or 44 MiB for one at twice its size.
    """

    def __init__(
        self,
        call: Call,
        installed: Callable[[str], bool],
        observer: Observer,
        decoders: Decoders,
        size: int,
        max_audio_seconds: float,
        chunks_in_flight: int,
        cached_portraits: int,
        chunks_at_once: int = 8,
        speech_models: Sequence[str] = ("audio2coeff",),
    ) -> None:
        self._call = call
        self._installed = installed
        self._observer = observer
        self._decoders = decoders
        self._size = size
        self._max_audio_seconds = max_audio_seconds
        self._chunks_in_flight = chunks_in_flight
        self._admission = Admission(chunks_at_once)
        self._speech_models = speech_models
        self._portraits = PortraitCache(self._encode_portrait, cached_portraits, observer.portrait_lookup)

    async def animate(self, image: bytes, audio: bytes | None, options: Options) -> AsyncGenerator[Fragment, None]:
        """Yield the video in fragments of 5 frames, the last one perhaps shorter. Close it to stop the work.

        Raises:
            InputError: the recording or a video cannot be used, or the server lacks what the options ask for.
            Exception: what `call` raises, for instance when the portrait cannot be used.
        """
        if options.size not in (None, self._size):
            raise InputError(f"size: expected {self._size}, which this server renders, got {options.size}")
        self._check_installed(options)
        if options.speech_model not in self._speech_models:
            raise InputError(f"speech_model: expected {' or '.join(self._speech_models)}, got {options.speech_model!r}")
        encoding = asyncio.create_task(self._encode(image, options))
        performance = None
        try:
            try:
                with self._observer.stage("decoding"):
                    performance = await asyncio.to_thread(
                        prepare, self._call, self._decoders, audio, options, self._max_audio_seconds
                    )
                if not performance.loops:  # key frames beyond the end of a loop are ignored
                    options.check_length(performance.frames / FRAME_RATE)
                portrait, *others = await encoding
                if options.preview:
                    portrait, others = replace(portrait, scene=None, pixel_aspect=Fraction(1)), []
            finally:
                encoding.cancel()
                del encoding  # an error kept by the task would keep this frame, and the frame the task and the picture
            if options.coefficients_only:
                parts = [
                    await performance.coefficients(portrait.coefficients, start, stop)
                    for start, stop in ranges(performance.frames)
                ]
                file = io.BytesIO()
                np.save(file, np.concatenate(parts).astype(np.float32))
                yield Fragment(file.getvalue(), performance.frames, performance.frames)
                return
            async with aclosing(self._render([portrait, *others], performance, options)) as chunks:
                if options.poster:
                    finished = await asyncio.to_thread(finisher, portrait)
                    picture = await asyncio.to_thread(next, iter(finished((await anext(chunks))[:1])))
                    yield Fragment(await asyncio.to_thread(png, picture, portrait.pixel_aspect), 1, 1)
                    return
                side = self._size * options.scale
                size = portrait.scene.size if portrait.scene else (side, side)
                async with aclosing(self._mux(chunks, performance, portrait, size)) as fragments:
                    async for fragment in fragments:
                        yield fragment
        finally:
            if performance is not None:
                await performance.close()

    def _check_installed(self, options: Options) -> None:
        """Raise InputError where the server lacks a network that the options name."""
        background = BACKGROUNDS.get(options.background)
        if background and not self._installed(background.model):
            raise InputError(
                f"background: {background.name} is not installed on this server, expected none "
                f"(`sadtalker-export onnx` installs it where {background.weights} is among the weights)"
            )
        if options.enhance != "none" and not self._installed(options.renderer):
            known = ["none", *(name for name, e in ENHANCERS.items() if self._installed(e.renderer(options.full)))]
            raise InputError(
                f"enhance: {options.enhance} is not installed on this server, expected {' or '.join(known)} "
                f"(`sadtalker-export onnx` installs it where {ENHANCERS[options.enhance].weights} is among the weights)"
            )

    async def portrait(self, image: bytes, options: Options) -> Portrait:
        """Encode a portrait as the options ask, or take it from the cache.

        Raises:
            InputError: the server lacks what the options ask for.
            Exception: what `call` raises, for instance when it shows no face.
        """
        self._check_installed(options)
        return await self._portraits.get(image, options.crop, options.face_index, options.full, options.background)

    async def _mux(
        self,
        chunks: AsyncGenerator[Array, None],
        performance: Performance,
        portrait: Portrait,
        size: tuple[int, int],
    ) -> AsyncGenerator[Fragment, None]:
        sound, frames, done = performance.sound, performance.frames, 0
        track = await asyncio.to_thread(self._decoders.track, sound)
        try:
            finished = await asyncio.to_thread(finisher, portrait)
            moving = portrait.scene.rectangle if portrait.scene else None
            writer = await asyncio.to_thread(
                FragmentedMp4, frames, *size, sound.channels, track.read, portrait.pixel_aspect, moving
            )
            try:
                async for pictures in chunks:
                    with self._observer.stage("encode"):
                        video = await asyncio.to_thread(writer.write, finished(pictures))
                    done += len(pictures)
                    yield Fragment(video, done, frames)
            finally:
                writer.close()
        finally:
            track.close()

    async def _encode(self, image: bytes, options: Options) -> list[Portrait]:
        """Return the portrait and the further photos of the person, encoded or from the cache.

        Raises:
            InputError: a photo cannot be used; the message says which, the portrait being 1.
            Exception: what `call` raises for the portrait itself.
        """
        encoded = [await self.portrait(image, options)]
        for number, photo in enumerate(options.photos or (), 2):
            try:
                encoded.append(await self._portraits.get(photo, options.crop, MAIN, options.full, "none"))
            except CallError as error:
                if error.refused:
                    raise InputError(f"photo {number}: {str(error).removeprefix(REFUSED)}") from error
                raise
        return encoded

    async def _encode_portrait(self, image: bytes, crop: str, face_index: int, full: bool, background: str) -> Portrait:
        with self._observer.stage("portrait"):
            asked = {
                "image": np.array([[image]], np.object_),
                "crop": np.array([[crop.encode()]], np.object_),
                "face_index": np.array([[face_index]], np.int32),
            }
            found = ["appearance", "canonical_keypoints", "coefficients", "geometry", "alignment", "landmarks"]
            found += ["picture"] if full else []
            results = await self._call("encode_portrait", asked, *found)
            appearance, canonical_keypoints, reconstruction, geometry, alignment, landmarks, *picture = results
            coefficients = source_coefficients(reconstruction[0])
            placement = alignment[0, 2:] if full else alignment[0, :0]
            scene = await self._scene(picture[0][0], geometry[0, :4].tolist(), background) if full else None
            [keypoints] = await self._call(
                motion_model(full),
                {
                    "canonical_keypoints": canonical_keypoints,
                    "coefficient_windows": source_windows(np.concatenate([coefficients, placement]))[None],
                    "head_angles": np.full((1, CHUNK, 3), NO_ANGLE, np.float32),
                },
                "keypoints",
            )
        renderer_inputs = {
            "appearance": appearance,
            "canonical_keypoints": canonical_keypoints,
            "source_keypoints": keypoints[:, 0],
        }
        aspect = Fraction(1) if full else pixel_aspect(geometry[0])
        return Portrait(renderer_inputs, {"landmarks": landmarks}, coefficients, aspect, placement, scene)

    async def _scene(self, picture: Array, rectangle: Sequence[int], background: str) -> Scene:
        """Return the picture that frames are blended into, enlarged where a background is asked for."""
        if background != "none":
            network = BACKGROUNDS[background]
            picture = await enlarged(picture, self._call, network)
            rectangle = [network.scale * side for side in rectangle]
        left, top, right, bottom = rectangle
        return await asyncio.to_thread(Scene, picture, (left, top, right, bottom))

    async def _render(
        self, photos: Sequence[Portrait], performance: Performance, options: Options
    ) -> AsyncGenerator[Array, None]:
        """Yield the frames of one chunk after the other: uint8 [up to 5, side, side, 3]."""
        portrait = photos[0]
        frames, loops = performance.frames, performance.loops
        fetch = partial(self._fetch_coefficients, portrait, performance, options)
        coefficients = CoefficientStream(frames, fetch, loops)
        angles = angle_curves((options.yaw, options.pitch, options.roll), frames, loops)
        schedule = Schedule(asyncio.get_running_loop().time())
        rendering: deque[asyncio.Task[Array]] = deque()
        try:
            for chunk in range(chunk_count(frames)):
                known = await coefficients.first(needed(chunk, frames))
                motion = {
                    "canonical_keypoints": portrait.renderer_inputs["canonical_keypoints"],
                    "coefficient_windows": placed(chunk_windows(known, chunk, frames, loops), portrait.placement)[None],
                    "head_angles": chunk_angles(angles, chunk)[None],
                }
                left = frames - chunk * CHUNK
                rendering.append(
                    asyncio.create_task(self._render_chunk(photos, motion, options, schedule, chunk, left))
                )
                # The first chunk travels alone: in one batch with the next ones it would take as long as all of them.
                if chunk == 0 or len(rendering) == self._chunks_in_flight:
                    yield await rendering.popleft()
            while rendering:
                yield await rendering.popleft()
        finally:
            for task in rendering:
                task.cancel()
            await asyncio.gather(*rendering, return_exceptions=True)
            await coefficients.close()

    async def _fetch_coefficients(
        self, portrait: Portrait, performance: Performance, options: Options, start: int, stop: int
    ) -> Array:
        with self._observer.stage("coefficients"):
            values = await performance.coefficients(portrait.coefficients, start, stop)
        head_motion_scale = 0.0 if options.still else options.head_motion_scale
        return styled(values, portrait.coefficients, options.expression_scale, head_motion_scale)

    async def _render_chunk(
        self,
        photos: Sequence[Portrait],
        motion: dict[str, Array],
        options: Options,
        schedule: Schedule,
        chunk: int,
        left: int,
    ) -> Array:
        """Render one chunk from every photo that it needs, and join them; at most `left` frames are still missing.

        Returns:
            uint8 [up to 5, side, side, 3].
        """
        if options.preview:
            [keypoints] = await self._call(motion_model(options.full), motion, "keypoints")
            expressions = motion["coefficient_windows"][0, :left, :64, RADIUS]
            source = photos[0].renderer_inputs["source_keypoints"][0]
            return await asyncio.to_thread(drawn, source, keypoints[0, :left], expressions, self._size)
        used = [0]
        if len(photos) > 1:
            [keypoints] = await self._call(motion_model(options.full), motion, "keypoints")
            parts = shares(np.concatenate([p.renderer_inputs["source_keypoints"] for p in photos]), keypoints[0])
            used = parts.needed
        renderings = []
        for photo in (photos[i] for i in used):
            inputs = {**photo.renderer_inputs, **motion}
            if options.enhance != "none":
                inputs |= photo.enhancer_inputs
            async with self._admission.place(schedule.urgency(chunk)):
                with self._observer.stage("render"):
                    [frames] = await self._call(options.renderer, inputs, "frames")
            renderings.append(frames[0])
        if len(renderings) > 1:
            renderings = [await asyncio.to_thread(joined, renderings, parts.only(used))]
        schedule.rendered(asyncio.get_running_loop().time())
        pictures: Array = renderings[0][:left]
        self._observer.frames_rendered(len(pictures))
        return pictures


def finisher(portrait: Portrait) -> Callable[[Array], Iterable[Array]]:
    """Return the function that turns rendered frames into those shown: unchanged, or blended into the picture."""
    if portrait.scene is None:
        return lambda frames: frames
    return partial(portrait.scene.with_frames, canvas=portrait.scene.canvas())


def motion_model(full: bool) -> str:
    return "motion_full" if full else "motion"
