"""Properties that only trained weights can show: the demo's networks in the real server make a portrait speak."""

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from films import pictures
from PIL import Image
from sadtalker_client import SadTalkerClient
from sadtalker_export.checkpoint import loading
from sadtalker_server import Server
from sadtalker_server._initialization import initialize
from sadtalker_training.evaluation.measures import MotionMeter, correlation, envelope

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 2.4
PORTRAIT, SPEECH = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "speech.wav"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SadTalkerClient]:
    repository = tmp_path_factory.mktemp("demo") / "model_repository"
    initialize(repository)
    with Server(repository, tritonserver="embedded") as server, SadTalkerClient(server.grpc_url) as client:
        yield client


@pytest.fixture(scope="module")
def rest(client: SadTalkerClient) -> np.ndarray:
    """Return the portrait's face without any motion."""
    return pictures(client.animate(PORTRAIT, idle=1, still=True, blink=False).read())[0]


@pytest.fixture(scope="module")
def meter(rest: np.ndarray) -> MotionMeter:
    _, networks = loading.load_directory(loading.DEMO)
    with torch.no_grad():
        found = networks["keypoint_detector"](torch.from_numpy(rest).permute(2, 0, 1)[None].float() / 255)
    return MotionMeter(rest, found[0].numpy())


def test_the_lips_follow_the_speech(client: SadTalkerClient, meter: MotionMeter, tmp_path: Path) -> None:
    part = tmp_path / "speech.wav"
    with wave.open(str(SPEECH)) as whole, wave.open(str(part), "wb") as beginning:
        samples = whole.readframes(round(SECONDS * 16_000))
        beginning.setparams(whole.getparams())
        beginning.writeframes(samples)
    waveform = np.frombuffer(samples, "<i2").astype(np.float32) / 32768
    frames = pictures(client.animate(PORTRAIT, part, still=True, blink=False).read())
    opening = np.array([meter.opening(frame) for frame in frames])
    assert len(frames) == round(SECONDS * 25)
    assert opening.max() - opening.min() > 4  # pixels
    assert correlation(opening, envelope(waveform, len(frames))) > 0.5


def test_silence_keeps_the_picture_as_it_is(client: SadTalkerClient, meter: MotionMeter) -> None:
    frames = pictures(client.animate(PORTRAIT, idle=1, still=True, blink=False).read())
    assert max(abs(meter.opening(frame)) for frame in frames) < 1  # pixel
    whole = pictures(client.animate(PORTRAIT, idle=1, still=True, blink=False, crop="full").read())[-1]
    with Image.open(PORTRAIT) as portrait:
        truth = np.asarray(portrait.convert("RGB").resize(whole.shape[1::-1]))
    assert np.abs(whole.astype(float) - truth).mean() < 4  # grey levels


def test_a_given_yaw_turns_the_head(client: SadTalkerClient, meter: MotionMeter) -> None:
    video = client.animate(PORTRAIT, idle=2, blink=False, yaw=[(0, 0), (0.6, 15), (1.2, -15)]).read()
    frontal, right, left = (meter.turn(pictures(video)[round(25 * seconds)]) for seconds in (0, 0.6, 1.2))
    assert right - frontal > 3  # pixels, to the picture's right
    assert frontal - left > 3
