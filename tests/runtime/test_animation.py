"""How one video is made: what is asked of the other models, in what order, and how it ends."""

import asyncio
import gc
import io
import sys
from contextlib import aclosing

import av
import numpy as np
import pytest
from decoding import decoders
from fake_animation import PICTURE, SOURCE, Models, Observer, make_video, new_animator, spoken
from recordings import recording, tone
from sadtalker_runtime import options
from sadtalker_runtime.animation import animator as animation
from sadtalker_runtime.animation import coefficient_stream as coefficients
from sadtalker_runtime.animation import enlargement, windows
from sadtalker_runtime.enhancers import BACKGROUNDS
from sadtalker_runtime.errors import REFUSED, CallError, InputError


@pytest.mark.parametrize("frames", [1, 5, 6, 13, 35, 61])
def test_a_video_has_all_frames_in_order(frames: int) -> None:
    observer = Observer()
    parts = asyncio.run(make_video(new_animator(Models(), observer), frames / 25))
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
    asyncio.run(make_video(new_animator(models), 7 / 25, expression_scale=2.0, seed=3, pose_style=4, blink=False))
    [motion] = models.asked("motion")
    np.testing.assert_array_equal(motion["coefficient_windows"], np.tile(SOURCE[:, None], (1, 5, 1, 27)))
    first, last = models.asked("render_frames")
    assert (first["source_keypoints"] == 2).all()
    assert first["source_keypoints"].shape == (1, 15, 3)
    scaled = spoken(0, 7)
    scaled[:, :64] *= 2
    for frame, window in enumerate([*first["coefficient_windows"][0], *last["coefficient_windows"][0]]):
        frame = min(frame, 6)  # the last chunk is filled up with the last frame
        np.testing.assert_array_equal(window, scaled[np.clip(np.arange(frame - 13, frame + 14), 0, 6)].T)
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
    asyncio.run(make_video(new_animator(models), 0.2, still=True))
    [chunk] = models.asked("render_frames")
    seen = chunk["coefficient_windows"][0]
    np.testing.assert_array_equal(seen[:, 64:], np.tile(SOURCE[64:, None], (5, 1, 27)))
    assert np.ptp(seen[:, :64]) > 1


def test_head_motion_is_scaled_from_the_portrait_s_pose() -> None:
    models = Models()
    asyncio.run(make_video(new_animator(models), 0.2, head_motion_scale=0.5))
    [chunk] = models.asked("render_frames")
    expected = SOURCE[64:] + 0.5 * (spoken(0, 5)[:, 64:] - SOURCE[64:])
    np.testing.assert_allclose(chunk["coefficient_windows"][0, :, 64:, windows.RADIUS], expected, atol=1e-5)
    np.testing.assert_array_equal(chunk["coefficient_windows"][0, :, :64, windows.RADIUS], spoken(0, 5)[:, :64])


def test_given_angles_reach_the_renderer_frame_by_frame() -> None:
    models = Models()
    asyncio.run(
        make_video(new_animator(models), 7 / 25, yaw=np.float32([(0, 0), (0.2, 20)]), roll=np.float32([(0, -4)]))
    )
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
    asyncio.run(make_video(new_animator(models), 1, **asked))
    [speech] = models.asked("audio2coeff")
    assert np.flatnonzero(speech["blink"] == 1).tolist() == closed


@pytest.mark.parametrize(
    ("enhance", "renderer"), [("gfpgan", "render_frames_enhanced"), ("restoreformer", "render_frames_restoreformer")]
)
def test_an_enhanced_video_is_twice_as_large(enhance: str, renderer: str) -> None:
    models = Models()
    parts = asyncio.run(make_video(new_animator(models), 0.4, enhance=enhance))
    assert len(models.asked(renderer)) == 2
    with av.open(io.BytesIO(b"".join(part.video for part in parts))) as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(512, 512)] * 10
    assert not models.asked("render_frames")


def test_an_enhancer_that_the_server_lacks_is_refused() -> None:
    animator = animation.Animator(Models().call, lambda model: False, Observer(), decoders(), 256, 600, 3, 4)
    message = (
        "^enhance: gfpgan is not installed on this server, expected none "
        r"\(`sadtalker-export onnx` installs it where GFPGANv1.4.pth is among the weights\)$"
    )
    with pytest.raises(InputError, match=message):
        asyncio.run(make_video(animator, enhance="gfpgan"))


def test_the_enhancers_that_the_server_has_are_named_instead() -> None:
    def installed(model: str) -> bool:
        return "restoreformer" not in model

    animator = animation.Animator(Models().call, installed, Observer(), decoders(), 256, 600, 3, 4)
    with pytest.raises(
        InputError, match=r"^enhance: restoreformer is not .* expected none or gfpgan \(.*RestoreFormer"
    ):
        asyncio.run(make_video(animator, enhance="restoreformer", crop="full"))
    with pytest.raises(InputError, match=r"^enhance: restoreformer is not"):
        asyncio.run(animator.portrait(b"portrait", options.Options(enhance="restoreformer")))


def test_a_whole_picture_is_shown_around_the_face() -> None:
    models = Models()
    parts = asyncio.run(make_video(new_animator(models), 0.4, crop="full", face_index=1))
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


@pytest.mark.parametrize("crop", ["crop", "full"])
def test_a_preview_needs_no_renderer(crop: str) -> None:
    models = Models()
    parts = asyncio.run(make_video(new_animator(models), 0.28, preview=True, crop=crop, photos=(b"smile",)))
    with av.open(io.BytesIO(b"".join(part.video for part in parts))) as file:
        assert [(frame.width, frame.height) for frame in file.decode(video=0)] == [(256, 256)] * 7
    assert not [name for name, _ in models.calls if name.startswith("render")]
    poster = asyncio.run(make_video(new_animator(models), 0.28, preview=True, poster=True))
    assert poster[0].video.startswith(b"\x89PNG")


def test_a_preview_restores_nothing() -> None:
    with pytest.raises(InputError, match=r"^preview: expected without enhance, got both$"):
        options.Options(preview=True, enhance="gfpgan")


def test_a_background_is_enlarged_once_for_all_videos_of_a_portrait() -> None:
    models, observer = Models(), Observer()
    animator = new_animator(models, observer)
    asked = {"crop": "full", "background": "realesrgan"}
    parts = [asyncio.run(make_video(animator, 0.4, **asked)) for _ in range(2)][1]
    with av.open(io.BytesIO(b"".join(part.video for part in parts))) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    assert frames.shape == (10, 600, 640, 3)
    outside = np.ones((600, 640), bool)
    outside[40:440, 20:420] = False
    expected = (255 - PICTURE).repeat(2, axis=0).repeat(2, axis=1)  # which the network of this test paints
    assert np.abs(frames[:, outside].mean(1) - expected[outside].mean(0)).max() < 3
    assert len(models.asked("background_enhancer")) == 4  # 2 x 2 tiles, for the first video
    assert observer.lookups == [False, True]


def test_a_background_needs_its_network_and_a_whole_picture() -> None:
    animator = animation.Animator(Models().call, lambda model: False, Observer(), decoders(), 256, 600, 3, 4)
    message = r"^background: realesrgan is not installed on this server, expected none \(.*RealESRGAN_x2plus.pth"
    with pytest.raises(InputError, match=message):
        asyncio.run(make_video(animator, background="realesrgan", crop="full"))
    with pytest.raises(InputError, match=r"^background: expected with crop full or extfull, got crop resize$"):
        options.Options(background="realesrgan", crop="resize")


@pytest.mark.parametrize("shape", [(300, 320), (256, 256), (100, 40), (257, 700), (2, 1000)])
def test_tiles_make_the_picture_again(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    models = Models()
    large = asyncio.run(enlargement.enlarged(picture, models.call, BACKGROUNDS["realesrgan"]))
    np.testing.assert_array_equal(large, (255 - picture).repeat(2, axis=0).repeat(2, axis=1))
    assert all(asked["tiles"].shape == (1, 256, 256, 3) for asked in models.asked("background_enhancer"))


@pytest.mark.parametrize("side", [2, 255, 256, 257, 300, 480, 481, 1080, 1919, 1920])
def test_of_a_tile_nothing_near_its_edge_is_used(side: int) -> None:
    spans = enlargement.spans(side, 256)
    assert [stop for _, _, stop in spans] == [*(begin for _, begin, _ in spans[1:]), side]
    for start, begin, stop in spans:
        assert begin - start >= enlargement.OVERLAP // 2 or begin == 0
        assert start + 256 - stop >= enlargement.OVERLAP // 2 or stop == side


def test_no_more_chunks_than_allowed_are_in_flight_and_the_first_is_alone() -> None:
    models = Models(delay=0.01)

    async def run() -> None:
        at_first_fragment = None
        async for _ in new_animator(models, chunks_in_flight=2).animate(
            b"portrait", recording(tone(16_000, 2), 16_000), options.Options()
        ):
            at_first_fragment = at_first_fragment or len(models.asked("render_frames"))
        assert at_first_fragment == 1

    asyncio.run(run())
    assert models.most_running["render_frames"] == 2


def test_work_before_the_first_fragment_does_not_grow_with_the_recording() -> None:
    async def frames_asked(seconds: float) -> list[list[int]]:
        models = Models(delay=0.001)
        video = new_animator(models).animate(b"portrait", recording(tone(16_000, seconds), 16_000), options.Options())
        async with aclosing(video) as parts:
            await anext(parts)
            return [asked["frames"].tolist() for asked in models.asked("audio2coeff")]

    for seconds in (4, 40):
        assert asyncio.run(frames_asked(seconds)) == [[0, 27], [27, 59]]


def test_an_abandoned_video_stops_asking() -> None:
    models = Models(delay=0.002)

    async def run() -> int:
        speech = recording(tone(16_000, 20), 16_000)
        async with aclosing(new_animator(models).animate(b"portrait", speech, options.Options())) as parts:
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
            await make_video(new_animator(models))
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(run())


def test_a_bad_recording_fails_the_video() -> None:
    async def run() -> None:
        animator = new_animator(Models(delay=0.01))
        with pytest.raises(InputError, match=r"^audio: "):
            [part async for part in animator.animate(b"portrait", b"not sound", options.Options())]

    asyncio.run(run())


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
        return spoken(start, stop)

    async def run() -> None:
        stream = coefficients.CoefficientStream(300, fetch)
        for count in (1, 20, 27):
            np.testing.assert_array_equal((await stream.first(count))[:count], spoken(0, count))
        await asyncio.sleep(0)
        assert asked == [(0, 27), (27, 59)]
        np.testing.assert_array_equal((await stream.first(300)), spoken(0, 300))
        await stream.close()
        assert asked[-1][1] == 300

    asyncio.run(run())


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
        made = new_animator(Refusing())
        for speech in (audio, None):  # both fail; the picture alone fails
            await refused(made, speech)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        assert (sys.getrefcount(image), sys.getrefcount(audio)) == before
    finally:
        gc.enable()
