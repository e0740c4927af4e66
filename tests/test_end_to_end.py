"""One portrait and one speech recording through the real server: pictures out, errors out, nothing left behind."""

import io
import shutil
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from films import film, pictures, wandering
from PIL import Image, ImageOps
from sadtalker_client import InvalidInputError, SadTalkerClient
from sadtalker_server import Server
from tritonclient.grpc import InferenceServerClient

FRAMES = 22  # of the 0.9 s in the fixture
FRAME_SECONDS = 0.04


@pytest.fixture
def client(tiny_server):
    with SadTalkerClient(tiny_server.grpc_url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def short_speech(tmp_path_factory) -> Path:
    """Return speech of one chunk."""
    path = tmp_path_factory.mktemp("short") / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(0).integers(-3000, 3000, 3200, np.int16).tobytes())
    return path


@pytest.fixture(scope="module")
def video(tiny_server, portrait_path, speech_path) -> bytes:
    """Return a video with the default options."""
    with SadTalkerClient(tiny_server.grpc_url, timeout=120) as client:
        return client.animate(portrait_path, speech_path).read()


def image_bytes(image: Image.Image, format: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def test_the_video_has_a_frame_every_40_ms_of_speech_and_its_sound(video):
    with av.open(io.BytesIO(video)) as container:
        ends = {}
        for packet in container.demux():
            if packet.pts is not None:
                end = float((packet.pts + packet.duration) * packet.time_base)
                ends[packet.stream.type] = max(end, ends.get(packet.stream.type, 0))
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert container.streams.audio[0].codec_context.name == "aac"
        assert stream.average_rate == 25
    assert pictures(video).shape == (FRAMES, 256, 256, 3)
    assert ends["video"] == pytest.approx(FRAMES * FRAME_SECONDS)
    assert abs(ends["video"] - ends["audio"]) <= FRAME_SECONDS


def test_the_picture_moves(video):
    frames = pictures(video).astype(float)
    assert frames.std() > 10
    assert np.abs(np.diff(frames, axis=0)).mean() > 0.5


def test_fragments_arrive_one_by_one_and_the_first_one_plays_alone(client, portrait_path, speech_path, video):
    fragments = list(client.animate(portrait_path, speech_path))
    assert [f.frames_done for f in fragments] == [5, 10, 15, 20, 22]
    assert {f.frames_total for f in fragments} == {FRAMES}
    assert len(pictures(fragments[0].data)) == 5
    assert b"".join(f.data for f in fragments) == video


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(client, portrait_path, speech_path, video):
    assert client.animate(portrait_path, speech_path, seed=0).read() == video
    assert client.animate(portrait_path, speech_path, seed=1).read() != video


@pytest.mark.parametrize(
    "option",
    [
        {"pose_style": 45},
        {"expression_scale": 2.0},
        {"head_motion_scale": 3.0},
        {"still": True},
        {"yaw": [(0, 0), (0.8, 30)]},
        {"roll": -20},
        {"blink_times": [0.2]},
        {"settle": 0.3},
    ],
    ids=str,
)
def test_options_change_the_picture(client, portrait_path, speech_path, video, option):
    assert client.animate(portrait_path, speech_path, **option).read() != video


@pytest.fixture(scope="module")
def another_photo(portrait_path) -> bytes:
    """Return the portrait in a mirror, tilted a little."""
    return image_bytes(ImageOps.mirror(Image.open(portrait_path).convert("RGB").rotate(4)))


def test_a_list_of_one_photo_is_that_portrait_and_further_ones_are_encoded_once(
    client, portrait_path, another_photo, speech_path, video, metric
):
    assert client.animate([portrait_path], speech_path).read() == video
    two = client.animate([portrait_path, another_photo], speech_path).read()
    assert pictures(two).shape == pictures(video).shape
    encoded = metric("nv_inference_count", model="appearance_encoder")
    assert client.animate(portrait_path, speech_path, photos=[another_photo]).read() == two
    assert metric("nv_inference_count", model="appearance_encoder") == encoded


@pytest.mark.parametrize("enhance", ["gfpgan", "restoreformer"])
def test_an_enhanced_video_is_twice_as_large_and_the_same_every_time(client, portrait_path, short_speech, enhance):
    enhanced = client.animate(portrait_path, short_speech, enhance=enhance).read()
    assert pictures(enhanced).shape == (5, 512, 512, 3)
    assert pictures(enhanced).std() > 10
    assert client.animate(portrait_path, short_speech, enhance=enhance).read() == enhanced


def test_two_enhancers_restore_differently(client, portrait_path, short_speech):
    first, second = (
        pictures(client.animate(portrait_path, short_speech, enhance=enhance, crop="full").read()).astype(int)
        for enhance in ("gfpgan", "restoreformer")
    )
    assert np.abs(first - second).mean() > 0.5


def test_a_preview_shows_how_the_keypoints_move(client, portrait_path, short_speech, metric):
    rendered = metric("nv_inference_count", model="face_renderer")
    shown = pictures(client.animate(portrait_path, short_speech, preview=True).read())
    assert shown.shape == (5, 256, 256, 3)
    assert shown.std() > 5 and np.abs(np.diff(shown.astype(int), axis=0)).max() > 50
    assert metric("nv_inference_count", model="face_renderer") == rendered


def test_a_background_is_restored_once_and_a_picture_is_twice_as_large(client, portrait_path, short_speech, metric):
    options = {"crop": "full", "background": "realesrgan"}
    plain = pictures(client.animate(portrait_path, short_speech, crop="full").read())
    video = client.animate(portrait_path, short_speech, **options).read()
    shown = pictures(video)
    assert shown.shape == (5, 2 * plain.shape[1], 2 * plain.shape[2], 3)
    tiles = metric("nv_inference_count", model="background_enhancer")
    assert tiles >= 1
    assert client.animate(portrait_path, short_speech, **options).read() == video
    assert metric("nv_inference_count", model="background_enhancer") == tiles


def test_a_whole_picture_moves_in_its_face_alone(client, portrait_path, short_speech):
    with Image.open(portrait_path) as picture:
        face = picture.resize((320, 320))
    page = Image.new("RGB", (521, 450), (90, 110, 100))
    page.paste(face, (100, 50))
    options = {"crop": "full", "enhance": "gfpgan", "face_index": 0}
    video = client.animate(image_bytes(page), short_speech, **options).read()
    shown = pictures(video).astype(int)
    assert shown.shape == (5, 450, 520, 3)
    assert np.abs(shown[:, :, :40] - (90, 110, 100)).mean() < 4
    assert np.abs(np.diff(shown[:, 150:300, 200:320], axis=0)).mean() > 0.5
    assert client.animate(image_bytes(page), short_speech, **options).read() == video


@pytest.mark.parametrize("crop", ["extcrop", "resize", "extfull"])
def test_crops_change_the_picture(client, portrait_path, short_speech, crop):
    plain, other = (client.animate(portrait_path, short_speech, **asked).read() for asked in ({}, {"crop": crop}))
    assert other != plain


def test_a_server_without_the_enhancer_says_so(tiny_repository, tmp_path, portrait_path, speech_path):
    repository = tmp_path / "model_repository"
    shutil.copytree(tiny_repository, repository)
    (repository / "face_enhancer" / "1" / "model.onnx").unlink()
    with Server(repository, tritonserver="embedded") as server, SadTalkerClient(server.grpc_url) as client:
        expected = "enhance: gfpgan is not installed on this server, expected none or restoreformer"
        with pytest.raises(InvalidInputError, match=expected):
            client.animate(portrait_path, speech_path, enhance="gfpgan").read()
        assert len(pictures(client.animate(portrait_path, speech_path).read())) == FRAMES


@pytest.fixture(scope="module")
def face(portrait_path) -> bytes:
    """Return a video of the example portrait's face, going around: 60 frames per second, not square, with sound."""
    with Image.open(portrait_path) as portrait:
        pictures = wandering(np.asarray(portrait.convert("RGB")), 38, 320, 240)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (1, 30_400)).astype(np.float32)
    return film(pictures, 60, sound=noise)


def test_another_face_drives_the_portrait(client, portrait_path, speech_path, face):
    driven = client.animate(portrait_path, driving=face).read()
    frames = pictures(driven)
    assert len(frames) == 16
    assert np.abs(np.diff(frames.astype(float), axis=0)).mean() > 0.1
    assert client.animate(portrait_path, driving=face).read() == driven
    spoken = client.animate(portrait_path, speech_path, driving=face).read()
    np.testing.assert_array_equal(pictures(spoken), frames)
    assert spoken != driven  # its sound


def test_another_face_lends_its_pose_and_its_eyes(client, portrait_path, speech_path, video, face):
    posed = client.animate(portrait_path, speech_path, pose_reference=face).read()
    blinking = client.animate(portrait_path, speech_path, blink_reference=face).read()
    assert len({video, posed, blinking}) == 3
    assert len(pictures(posed)) == len(pictures(blinking)) == FRAMES


@pytest.mark.parametrize("crop", ["crop", "full"])
def test_an_idle_loop_meets_itself_and_its_poster_is_its_first_frame(client, portrait_path, crop):
    options = {"idle": 1.2, "head_motion_scale": 3.0, "crop": crop}
    frames = pictures(client.animate(portrait_path, **options).read()).astype(float)
    assert len(frames) == 30
    steps = np.abs(frames - np.roll(frames, 1, axis=0)).mean((1, 2, 3))  # the first: from the last frame
    assert steps[0] < 1.5 * steps[1:].max()
    poster = client.poster(portrait_path, **options)
    with Image.open(io.BytesIO(poster)) as picture:
        distances = np.abs(frames - np.asarray(picture)).mean((1, 2, 3))
    assert distances.argmin() == 0
    assert distances[0] < 10  # noise of random weights does not survive H.264 well
    assert client.poster(portrait_path) == client.poster(portrait_path)


def test_chunks_of_different_videos_share_executions(tiny_server, client, portrait_path, speech_path):
    def statistics() -> tuple[int, int]:
        asking = InferenceServerClient(tiny_server.grpc_url)
        [model] = asking.get_inference_statistics("face_renderer", headers=tiny_server.admin_headers).model_stats
        return model.inference_count, model.execution_count

    asked, executed = statistics()
    with ThreadPoolExecutor(4) as pool:
        videos = list(pool.map(lambda seed: client.animate(portrait_path, speech_path, seed=seed).read(), range(4)))
    assert [len(pictures(video)) for video in videos] == [FRAMES] * 4
    asked, executed = (now - before for now, before in zip(statistics(), (asked, executed), strict=True))
    assert asked == 4 * 5
    assert executed < asked


def test_a_portrait_is_encoded_once(client, portrait_path, speech_path, metric):
    client.animate(portrait_path, speech_path).read()
    encoded = metric("nv_inference_count", model="appearance_encoder")
    client.animate(portrait_path, speech_path, seed=5).read()
    assert metric("nv_inference_count", model="appearance_encoder") == encoded


def test_a_caller_who_leaves_stops_the_work(client, portrait_path, metric):
    rate = 16000
    long = io.BytesIO()
    with av.open(long, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        noise = np.random.default_rng(0).integers(-3000, 3000, (1, 60 * rate), np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with client.animate(portrait_path, long.getvalue()) as animation:
        assert next(animation).frames_total == 60 * 25
    deadline = time.monotonic() + 30
    while metric("sadtalker_videos_in_flight"):
        assert time.monotonic() < deadline, "the video is still being made"
        time.sleep(0.1)
    rendered = metric("sadtalker_frames_rendered_total")
    time.sleep(1)
    assert metric("sadtalker_frames_rendered_total") == rendered
    assert rendered < 60 * 25


NO_FACE = film([np.full((128, 128, 3), 90, np.uint8)] * 10)
BAD_INPUT = {
    "not a picture": ({"portrait": b"hello"}, "image"),
    "no face": ({"portrait": image_bytes(Image.new("RGB", (256, 256), "white"))}, "face"),
    "too small": ({"portrait": image_bytes(Image.new("RGB", (1, 1)))}, "image"),
    "not a second picture": ({"photos": [b"hello"]}, "photo 2: image"),
    "no face in the third photo": (
        {"photos": [Path(__file__).parents[1] / "examples" / "portrait.jpg", image_bytes(Image.new("RGB", (99, 99)))]},
        "photo 3: ",
    ),
    "not sound": ({"speech": b"hello"}, "audio"),
    "pose style": ({"pose_style": 46}, "pose_style"),
    "scale": ({"expression_scale": float("nan")}, "expression_scale"),
    "negative scale": ({"expression_scale": -1.0}, "expression_scale"),
    "key frames": ({"yaw": [(1, 0), (1, 5)]}, "yaw"),
    "blinks": ({"blink": False, "blink_rate": 3}, "blink"),
    "no speech": ({"speech": None}, "audio"),
    "speech in a loop": ({"idle": 2.0}, "idle"),
    "no video": ({"driving": b"hello"}, "driving"),
    "no face in the video": ({"driving": NO_FACE}, "face"),
    "no face to nod with": ({"pose_reference": NO_FACE}, "pose_reference"),
    "size": ({"size": 512}, "size"),
    "crop": ({"crop": "half"}, "crop"),
    "face index": ({"face_index": 3}, "face_index: expected 0 to 0, as 1 face was found, got 3"),
    "enhance": ({"enhance": "codeformer"}, "enhance"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_clear_error_and_the_server_goes_on(client, portrait_path, speech_path, case):
    changed, what = BAD_INPUT[case]
    request = {"portrait": portrait_path, "speech": speech_path} | changed
    with pytest.raises(InvalidInputError) as caught:
        client.animate(request.pop("portrait"), request.pop("speech"), **request).read()
    message = str(caught.value)
    assert what in message and "expected" in message and "\n" not in message
    assert client.is_ready()
