"""How one video is made: what is asked of the other models, in what order, and how it ends."""

import asyncio
import gc
import io
import sys
from collections import Counter
from contextlib import aclosing, contextmanager
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from decoding import decoders
from recordings import recording, tone
from sadtalker_runtime import options
from sadtalker_runtime.animation import animator as animation
from sadtalker_runtime.animation import coefficient_stream as coefficients
from sadtalker_runtime.animation import portraits, windows
from sadtalker_runtime.errors import REFUSED, CallError, InputError

RANDOM = np.random.default_rng(0)
RECONSTRUCTION = RANDOM.standard_normal(257).astype(np.float32)
PICTURE = RANDOM.integers(0, 256, (300, 320, 3), np.uint8)
LANDMARKS = RANDOM.uniform(64, 192, (5, 2)).astype(np.float32)
SOURCE = np.concatenate([RECONSTRUCTION[80:144], RECONSTRUCTION[224:227], RECONSTRUCTION[254:257]])


def _spoken(start: int, stop: int) -> np.ndarray:
    """Return coefficients of frames [start, stop) that tell which frame they belong to."""
    return np.arange(start, stop, dtype=np.float32)[:, None] + np.linspace(0, 0.5, 70, dtype=np.float32)


class Models:
    """Stands in for the server's other models; remembers what they were asked."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.calls: list[tuple[str, dict[str, np.ndarray]]] = []
        self.running = Counter()
        self.most_running = Counter()
        self.failing: str | None = None

    async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        self.calls.append((model, inputs))
        self.running[model] += 1
        self.most_running[model] = max(self.most_running[model], self.running[model])
        try:
            await asyncio.sleep(self.delay)
            if model == self.failing:
                raise RuntimeError(f"{model} broke")
            made = getattr(self, model)(**inputs)
            return [made[name] for name in outputs]
        finally:
            self.running[model] -= 1

    def asked(self, model: str) -> list[dict[str, np.ndarray]]:
        return [inputs for name, inputs in self.calls if name == model]

    def encode_portrait(self, image: np.ndarray, crop: np.ndarray, face_index: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "picture": PICTURE[None],
            "alignment": np.array([[256, 256, 1.5, 120, 130]], np.float32),
            "appearance": np.zeros((1, 32, 16, 64, 64), np.float32),
            "canonical_keypoints": np.ones((1, 15, 3), np.float32),
            "coefficients": RECONSTRUCTION[None],
            "geometry": np.array([[10, 20, 210, 220, 300, 300]], np.int32),
            "landmarks": LANDMARKS[None],
        }

    def motion(
        self, canonical_keypoints: np.ndarray, coefficient_windows: np.ndarray, head_angles: np.ndarray
    ) -> dict[str, np.ndarray]:
        assert (head_angles > 180).all()  # the portrait keeps its own
        return {"keypoints": np.tile(canonical_keypoints[:, None] * 2, (1, 5, 1, 1))}

    motion_full = motion

    def audio2coeff(self, frames: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"coefficients": _spoken(*frames)}

    def render_frames(self, coefficient_windows: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        grey = coefficient_windows[:, :, -1, windows.RADIUS] * 4  # of the frame itself, by the last coefficient
        return {"frames": np.broadcast_to(grey[..., None, None, None], (1, 5, 256, 256, 3)).astype(np.uint8)}

    render_frames_full = render_frames

    def render_frames_enhanced(self, landmarks: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        np.testing.assert_array_equal(landmarks[0], LANDMARKS)
        return {"frames": self.render_frames(**inputs)["frames"].repeat(2, axis=2).repeat(2, axis=3)}


class Observer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.stages: Counter[str] = Counter()
        self.lookups: list[bool] = []
        self.frames = 0

    @contextmanager
    def stage(self, name: str):
        yield
        self.stages[name] += 1

    def portrait_lookup(self, hit: bool) -> None:
        self.lookups.append(hit)

    def frames_rendered(self, frames: int) -> None:
        self.frames += frames


def _animator(models: Models, observer: Observer | None = None, chunks_in_flight: int = 3):
    installed = partial(hasattr, models)
    return animation.Animator(models.call, installed, observer or Observer(), decoders(), 256, 600, chunks_in_flight, 4)


async def _video(animator, seconds: float = 1.4, image: bytes = b"portrait", **asked: object) -> list:
    speech = recording(tone(16_000, seconds), 16_000)
    return [part async for part in animator.animate(image, speech, options.Options(**asked))]


@pytest.mark.parametrize("frames", [1, 5, 6, 13, 35, 61])
def test_a_video_has_all_frames_in_order(frames: int) -> None:
    observer = Observer()
    parts = asyncio.run(_video(_animator(Models(), observer), frames / 25))
    assert [part.frames_done for part in parts] == [*range(5, frames, 5), frames]
    assert {part.frames_total for part in parts} == {frames}
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    with av.open(io.BytesIO(b"".join(part.video for part in parts))) as file:
        greys = [picture.to_ndarray(format="gray").mean() for picture in file.decode(video=0)]
    assert len(greys) == frames
    assert (np.diff(greys) > 1).all()  # every frame is lighter than the one before
    assert observer.frames == frames
    assert observer.lookups == [False]
    assert observer.stages["render"] == observer.stages["encode"] == len(parts)


def test_the_renderer_sees_the_portrait_and_windows_of_the_speech() -> None:
    models = Models()
    asyncio.run(_video(_animator(models), 7 / 25, expression_scale=2.0, seed=3, pose_style=4, blink=False))
    [motion] = models.asked("motion")
    np.testing.assert_array_equal(motion["coefficient_windows"], np.tile(SOURCE[:, None], (1, 5, 1, 27)))
    first, last = models.asked("render_frames")
    assert (first["source_keypoints"] == 2).all()
    assert first["source_keypoints"].shape == (1, 15, 3)
    spoken = _spoken(0, 7)
    spoken[:, :64] *= 2
    for frame, window in enumerate([*first["coefficient_windows"][0], *last["coefficient_windows"][0]]):
        frame = min(frame, 6)  # the last chunk is filled up with the last frame
        np.testing.assert_array_equal(window, spoken[np.clip(np.arange(frame - 13, frame + 14), 0, 6)].T)
    [speech] = models.asked("audio2coeff")
    assert {name: speech[name].tolist() for name in ("frames", "seed", "pose_style", "blink")} == {
        "frames": [0, 7],
        "seed": [3],
        "pose_style": [4],
        "blink": [0] * 7,
    }
    np.testing.assert_array_equal(speech["source_coefficients"], SOURCE)


def test_still_holds_the_head_as_in_the_portrait() -> None:
    models = Models()
    asyncio.run(_video(_animator(models), 0.2, still=True))
    [chunk] = models.asked("render_frames")
    seen = chunk["coefficient_windows"][0]
    np.testing.assert_array_equal(seen[:, 64:], np.tile(SOURCE[64:, None], (5, 1, 27)))
    assert np.ptp(seen[:, :64]) > 1


def test_head_motion_is_scaled_from_the_portrait_s_pose() -> None:
    models = Models()
    asyncio.run(_video(_animator(models), 0.2, head_motion_scale=0.5))
    [chunk] = models.asked("render_frames")
    expected = SOURCE[64:] + 0.5 * (_spoken(0, 5)[:, 64:] - SOURCE[64:])
    np.testing.assert_allclose(chunk["coefficient_windows"][0, :, 64:, windows.RADIUS], expected, atol=1e-5)
    np.testing.assert_array_equal(chunk["coefficient_windows"][0, :, :64, windows.RADIUS], _spoken(0, 5)[:, :64])


def test_given_angles_reach_the_renderer_frame_by_frame() -> None:
    models = Models()
    asyncio.run(_video(_animator(models), 7 / 25, yaw=np.float32([(0, 0), (0.2, 20)]), roll=np.float32([(0, -4)])))
    first, last = (asked["head_angles"][0] for asked in models.asked("render_frames"))
    assert first.dtype == np.float32
    assert (first[0, 0], first[4, 0] < 20, last[0, 0]) == (0, True, 20)
    assert (np.diff(first[:, 0]) > 0).all()
    assert (last[:, 0] == 20).all()
    assert (first[:, 1] > 180).all()  # not given
    assert (first[:, 2] == -4).all()


@pytest.mark.parametrize(
    ("asked", "closed"),
    [({"blink_times": np.float32([0.4])}, [12]), ({"blink_rate": 0.0}, []), ({"blink": False}, [])],
)
def test_blinks_are_those_asked_for(asked: dict, closed: list[int]) -> None:
    models = Models()
    asyncio.run(_video(_animator(models), 1, **asked))
    [speech] = models.asked("audio2coeff")
    assert np.flatnonzero(speech["blink"] == 1).tolist() == closed


def test_an_enhanced_video_is_twice_as_large() -> None:
    models = Models()
    parts = asyncio.run(_video(_animator(models), 0.4, enhance="gfpgan"))
    with av.open(io.BytesIO(b"".join(part.video for part in parts))) as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(512, 512)] * 10
    assert not models.asked("render_frames")


def test_an_enhancer_that_the_server_lacks_is_refused() -> None:
    animator = animation.Animator(Models().call, lambda model: False, Observer(), decoders(), 256, 600, 3, 4)
    message = "^enhance: gfpgan is not installed on this server, expected none$"
    with pytest.raises(InputError, match=message):
        asyncio.run(_video(animator, enhance="gfpgan"))


def test_a_whole_picture_is_shown_around_the_face() -> None:
    models = Models()
    parts = asyncio.run(_video(_animator(models), 0.4, crop="full", face_index=1))
    with av.open(io.BytesIO(b"".join(part.video for part in parts))) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert frames.shape == (10, 300, 320, 3)
    outside = np.ones((300, 320), bool)
    outside[20:220, 10:210] = False
    assert np.abs(frames[:, outside].mean(1) - PICTURE[outside].mean(0)).max() < 3
    assert not models.asked("motion") and not models.asked("render_frames")
    [portrait] = models.asked("encode_portrait")
    assert (portrait["crop"].item(), portrait["face_index"].item()) == (b"full", 1)
    [source] = models.asked("motion_full")
    placement = np.array([1.5, 120, 130])
    for asked in (source, *models.asked("render_frames_full")):
        seen = asked["coefficient_windows"][0]
        np.testing.assert_array_equal(seen[:, 70:], np.tile(placement[:, None], (5, 1, 27)))


def test_portraits_of_one_picture_are_kept_apart() -> None:
    models = Models()

    async def run() -> None:
        animator = _animator(models)
        for asked in ({}, {"crop": "full"}, {"face_index": 1}, {"crop": "full"}, {}):
            await _video(animator, 0.04, **asked)

    asyncio.run(run())
    assert len(models.asked("encode_portrait")) == 3


def test_no_more_chunks_than_allowed_are_in_flight_and_the_first_is_alone() -> None:
    models = Models(delay=0.01)

    async def run() -> None:
        at_first_fragment = None
        async for _ in _animator(models, chunks_in_flight=2).animate(
            b"portrait", recording(tone(16_000, 2), 16_000), options.Options()
        ):
            at_first_fragment = at_first_fragment or len(models.asked("render_frames"))
        assert at_first_fragment == 1

    asyncio.run(run())
    assert models.most_running["render_frames"] == 2


def test_work_before_the_first_fragment_does_not_grow_with_the_recording() -> None:
    async def frames_asked(seconds: float) -> list[list[int]]:
        models = Models(delay=0.001)
        video = _animator(models).animate(b"portrait", recording(tone(16_000, seconds), 16_000), options.Options())
        async with aclosing(video) as parts:
            await anext(parts)
            return [asked["frames"].tolist() for asked in models.asked("audio2coeff")]

    for seconds in (4, 40):
        assert asyncio.run(frames_asked(seconds)) == [[0, 27], [27, 59]]


def test_an_abandoned_video_stops_asking() -> None:
    models = Models(delay=0.002)

    async def run() -> int:
        speech = recording(tone(16_000, 20), 16_000)
        async with aclosing(_animator(models).animate(b"portrait", speech, options.Options())) as parts:
            await anext(parts)
            await anext(parts)
        asked = len(models.calls)
        await asyncio.sleep(0.1)
        assert not asyncio.all_tasks() - {asyncio.current_task()}
        return len(models.calls) - asked

    assert asyncio.run(run()) == 0
    assert len(models.asked("render_frames")) <= 4


@pytest.mark.parametrize("model", ["encode_portrait", "motion", "audio2coeff", "render_frames"])
def test_a_failing_model_fails_the_video(model: str) -> None:
    models = Models(delay=0.001)
    models.failing = model

    async def run() -> None:
        with pytest.raises(RuntimeError, match=f"^{model} broke$"):
            await _video(_animator(models))
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(run())


def test_a_bad_recording_fails_the_video() -> None:
    async def run() -> None:
        animator = _animator(Models(delay=0.01))
        with pytest.raises(InputError, match=r"^audio: "):
            [part async for part in animator.animate(b"portrait", b"not sound", options.Options())]

    asyncio.run(run())


def test_a_portrait_is_encoded_once() -> None:
    models, observer = Models(delay=0.005), Observer()

    async def run() -> None:
        animator = _animator(models, observer)
        await asyncio.gather(*(_video(animator, 0.04) for _ in range(3)))
        await _video(animator, 0.04)
        await _video(animator, 0.04, image=b"another")

    asyncio.run(run())
    assert len(models.asked("encode_portrait")) == 2
    assert sorted(observer.lookups) == [False, False, True, True, True]


def test_the_cache_keeps_the_last_used_and_no_failures() -> None:
    encoded: list[bytes] = []

    async def encode(image: bytes) -> str:
        encoded.append(image)
        await asyncio.sleep(0)
        if image == b"bad":
            raise RuntimeError("no face")
        return image.decode()

    async def run() -> None:
        cache = portraits.PortraitCache(encode, 2, lambda hit: None)
        for image in (b"a", b"b", b"a", b"c", b"a", b"b"):
            assert await cache.get(image) == image.decode()
        assert encoded == [b"a", b"b", b"c", b"b"]  # b was used longest ago when c came
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no face"):
                await cache.get(b"bad")
        assert encoded.count(b"bad") == 2

    asyncio.run(run())


def test_one_caller_s_leaving_does_not_take_the_portrait_from_another() -> None:
    async def encode(image: bytes) -> str:
        await asyncio.sleep(0.01)
        return "portrait"

    async def run() -> None:
        cache = portraits.PortraitCache(encode, 2, lambda hit: None)
        leaving, staying = (asyncio.create_task(cache.get(b"a")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == "portrait"

    asyncio.run(run())


@pytest.mark.parametrize(("box", "aspect"), [((0, 0, 200, 200), 1), ((5, 0, 206, 200), 1), ((0, 0, 150, 200), 0.75)])
def test_pixels_are_oblong_where_the_face_was_cut_oblong(box: tuple, aspect: float) -> None:
    assert portraits.pixel_aspect(np.array([*box, 300, 300])) == Fraction(aspect)


@pytest.mark.parametrize("frames", [1, 26, 27, 28, 59, 60, 200, 1000])
def test_ranges_cover_a_clip_once(frames: int) -> None:
    bounds = list(windows.ranges(frames))
    assert [at for start, stop in bounds for at in range(start, stop)] == list(range(frames))
    assert bounds[0][1] <= 27
    assert max(stop - start for start, stop in bounds) <= 128


def test_coefficients_are_fetched_one_range_ahead() -> None:
    asked: list[tuple[int, int]] = []

    async def fetch(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return _spoken(start, stop)

    async def run() -> None:
        stream = coefficients.CoefficientStream(300, fetch)
        for count in (1, 20, 27):
            np.testing.assert_array_equal((await stream.first(count))[:count], _spoken(0, count))
        await asyncio.sleep(0)
        assert asked == [(0, 27), (27, 59)]
        np.testing.assert_array_equal((await stream.first(300)), _spoken(0, 300))
        await stream.close()
        assert asked[-1][1] == 300

    asyncio.run(run())


def test_defaults() -> None:
    asked = options.Options()
    assert (asked.pose_style, asked.expression_scale, asked.still) == (0, 1.0, False)
    assert (asked.seed, asked.blink, asked.size, asked.enhance) == (0, True, None, "none")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pose_style": 46}, "pose_style: expected 0 to 45, got 46"),
        ({"pose_style": -1}, "pose_style: expected 0 to 45, got -1"),
        ({"expression_scale": float("nan")}, "expression_scale: expected 0 to 3, got nan"),
        ({"expression_scale": -0.5}, "expression_scale: expected 0 to 3, got -0.5"),
        ({"expression_scale": 3.5}, "expression_scale: expected 0 to 3, got 3.5"),
        ({"expression_scale": float("inf")}, "expression_scale: expected 0 to 3, got inf"),
        ({"head_motion_scale": 4.0}, "head_motion_scale: expected 0 to 3, got 4"),
        ({"yaw": np.empty((0, 2))}, "yaw: expected 1 to 10000 key frames, got 0"),
        (
            {"pitch": np.array([(1, 0), (1, 5)])},
            "pitch: expected increasing times from 0 s on, 0.04 s apart or more, got 1, 1",
        ),
        ({"pitch": np.array([(-1, 0)])}, "pitch: expected increasing times from 0 s on, 0.04 s apart or more, got -1"),
        (
            {"pitch": np.array([(np.nan, 0)])},
            "pitch: expected increasing times from 0 s on, 0.04 s apart or more, got nan",
        ),
        ({"roll": np.array([(0, 0), (2, 91)])}, "roll: expected -90 to 90 degrees, got 0, 91"),
        ({"roll": np.array([(0, np.nan)])}, "roll: expected -90 to 90 degrees, got nan"),
        ({"blink_rate": -1.0}, "blink_rate: expected 0 to 120 per minute, got -1"),
        ({"blink_rate": float("nan")}, "blink_rate: expected 0 to 120 per minute, got nan"),
        ({"blink_times": -1.0}, "blink_times: expected up to 10000 times from 0 s on, got -1"),
        (
            {"blink": False, "blink_rate": 3.0},
            "blink: expected at most one of blink=False, blink_rate, blink_times, blink_reference, "
            "got blink=False and blink_rate",
        ),
        ({"settle": -0.1}, "settle: expected 0 to 10 seconds, got -0.1"),
        ({"settle": 11.0}, "settle: expected 0 to 10 seconds, got 11"),
        ({"settle": float("nan")}, "settle: expected 0 to 10 seconds, got nan"),
        ({"seed": -1}, "seed: expected a number from 0 on, got -1"),
        ({"crop": "half"}, "crop: expected crop, extcrop, resize, full, extfull, got 'half'"),
        ({"face_index": -2}, "face_index: expected a number from 0 on, or -1 for the main face, got -2"),
        ({"enhance": "codeformer"}, "enhance: expected none or gfpgan, got 'codeformer'"),
    ],
)
def test_bad_options_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        options.Options(**asked)


def test_a_refused_request_leaves_nothing_of_what_was_sent() -> None:
    image, audio = bytes(range(256)) * 100, b"no recording" * 1000
    before = sys.getrefcount(image), sys.getrefcount(audio)

    class Refusing(Models):
        async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
            raise CallError(f"{REFUSED}image: expected a picture")

    async def refused(made: animation.Animator, speech: bytes | None) -> None:
        with pytest.raises((InputError, CallError)):
            async for _ in made.animate(image, speech, options.Options(idle=None if speech else 1.0)):
                pass
        await asyncio.sleep(0.1)

    async def run() -> None:
        made = _animator(Refusing())
        for speech in (audio, None):  # both fail; the picture alone fails
            await refused(made, speech)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        assert (sys.getrefcount(image), sys.getrefcount(audio)) == before
    finally:
        gc.enable()
