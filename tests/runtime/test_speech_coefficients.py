"""Mel windows and head pose: the reference's figures, and the same whether whole or in pieces."""

from itertools import pairwise

import numpy as np
import pytest
from recordings import tone
from reference_figures import figures
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.speech import clip, mel, pose

SPEECH = figures("speech")
RANDOM = np.random.default_rng(0)
SOURCE = RANDOM.standard_normal(70).astype(np.float32)


def test_mel_spectrogram_is_the_reference_s() -> None:
    # The figure's recording goes on: its last two columns here hear more than these samples.
    np.testing.assert_allclose(mel.mel_spectrogram(SPEECH["waveform"], 0, 30), SPEECH["mel"][:, :30], atol=1e-3)


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 5), (7, 20), (30, 33)])
def test_mel_columns_do_not_depend_on_their_neighbours(start: int, stop: int) -> None:
    whole = mel.mel_spectrogram(SPEECH["waveform"])
    assert whole.shape == (80, 33)
    np.testing.assert_allclose(mel.mel_spectrogram(SPEECH["waveform"], start, stop), whole[:, start:stop], atol=1e-6)


def test_each_frame_sees_sixteen_columns_around_it() -> None:
    waveform = RANDOM.uniform(-0.5, 0.5, 30 * 640 + 639).astype(np.float32)
    spectrogram = mel.mel_spectrogram(waveform[: 30 * 640])  # half frames are not heard
    columns = spectrogram.shape[1]
    for frame, window in enumerate(mel.mel_windows(waveform, 0, 30)):
        first = int(80.0 * ((frame - 2) / 25.0))  # as the reference writes it
        expected = spectrogram[:, np.clip(np.arange(first, first + 16), 0, columns - 1)]
        np.testing.assert_allclose(window, expected, atol=1e-5)


def test_windows_of_a_range_are_those_of_the_whole() -> None:
    waveform = tone(16_000, 2.0)[0]
    whole = mel.mel_windows(waveform, 0, 50)
    for start, stop in ((0, 3), (3, 41), (49, 50)):
        np.testing.assert_allclose(mel.mel_windows(waveform, start, stop), whole[start:stop], atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (1, []),
        (2, [(1, 2, 1, 1)]),
        (20, [(1, 20, 1, 19)]),
        (33, [(1, 33, 1, 32)]),
        (41, [(1, 33, 1, 32), (33, 41, 9, 40)]),
        (97, [(1, 33, 1, 32), (33, 65, 33, 64), (65, 97, 65, 96)]),
    ],
)
def test_pose_chunks_follow_the_reference(frames: int, expected: list[tuple[int, int, int, int]]) -> None:
    chunks = pose.pose_chunks(0, frames, frames)
    assert [(chunk.start, chunk.stop, chunk.heard[0], chunk.heard[-1]) for chunk in chunks] == expected
    for index, chunk in enumerate(chunks):
        assert chunk.index == index
        assert len(chunk.heard) == 32
    if 1 < frames < 33:  # the speech of the first moving frame is repeated in front
        assert (chunks[0].heard == 1).sum() == 34 - frames


def test_latents_belong_to_seed_and_chunk_alone() -> None:
    assert pose.pose_latent(3, 2).shape == (64,)
    np.testing.assert_array_equal(pose.pose_latent(3, 2), pose.pose_latent(3, 2))
    for other in ((3, 1), (4, 2), (2, 3)):
        assert np.abs(pose.pose_latent(*other) - pose.pose_latent(3, 2)).max() > 0.5


def test_smoothing_is_the_reference_s() -> None:
    np.testing.assert_allclose(pose.smooth(SPEECH["pose"]), SPEECH["pose_smoothed"], atol=1e-5)


@pytest.mark.parametrize("frames", [3, 12])
def test_short_clips_are_smoothed_over_an_odd_number_of_frames(frames: int) -> None:
    steps = RANDOM.standard_normal((frames, 6)).astype(np.float32)
    smoothed = pose.smooth(steps)
    assert smoothed.shape == steps.shape
    assert (np.abs(smoothed - steps).max() > 0.1) == (frames > 3)  # a parabola goes through any three points
    parabola = np.arange(frames, dtype=np.float32)[:, None] ** 2 * np.ones(6, np.float32)
    np.testing.assert_allclose(pose.smooth(parabola), parabola, atol=1e-3)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_or_two_frames_are_left_alone(frames: int) -> None:
    steps = RANDOM.standard_normal((frames, 6)).astype(np.float32)
    np.testing.assert_array_equal(pose.smooth(steps), steps)


@pytest.mark.parametrize("frames", [1, 2, 5, 12, 13, 14, 18, 19, 33, 41])
def test_smoothing_a_range_equals_smoothing_the_clip(frames: int) -> None:
    steps = RANDOM.standard_normal((frames, 6)).astype(np.float32)
    whole = pose.smooth(steps)
    for start in range(frames):
        for stop in range(start + 1, frames + 1):
            low, high = pose.smoothing_range(start, stop, frames)
            assert 0 <= low <= start < stop <= high <= frames
            piece = pose.smooth(steps[low:high])[start - low : stop - low]
            np.testing.assert_allclose(piece, whole[start:stop], atol=1e-5)


def _motion(chunks: list) -> np.ndarray:
    """Stand in for the network: motion that tells chunks and rows apart."""
    rows = np.arange(32, dtype=np.float32)[:, None] * np.ones(6, np.float32)
    return np.array([np.sin(rows + 10 * chunk.index) for chunk in chunks]).reshape(-1, 32, 6)


def _pose(speech, start: int, stop: int) -> np.ndarray:
    chunks = pose.pose_chunks(*pose.smoothing_range(start, stop, speech.frames), speech.frames)
    return speech.pose(start, stop, chunks, _motion(chunks))


@pytest.mark.parametrize("frames", [1, 2, 12, 33, 41, 150])
def test_coefficients_of_a_range_are_those_of_the_whole_clip(frames: int) -> None:
    waveform = RANDOM.uniform(-0.5, 0.5, frames * 640 + 17).astype(np.float32)
    speech = clip.Clip(waveform, SOURCE, pose_style=7, seed=5)
    assert speech.frames == frames
    guides = speech.guides(frames, RANDOM.uniform(0, 1, frames).astype(np.float32))
    whole_pose, whole_inputs = _pose(speech, 0, frames), speech.expression_inputs(0, frames, guides)
    assert whole_pose.shape == (frames, 6)
    bounds = [0, *(bound for bound in (1, 27, 59, 123) if bound < frames), frames]
    for start, stop in pairwise(bounds):
        np.testing.assert_allclose(_pose(speech, start, stop), whole_pose[start:stop], atol=1e-5)
        part = {name: values[start:stop] for name, values in guides.items()}
        for name, values in speech.expression_inputs(start, stop, part).items():
            np.testing.assert_allclose(values, whole_inputs[name][start:stop], atol=1e-5)


def test_pose_starts_from_the_portrait_s() -> None:
    speech = clip.Clip(np.zeros(640, np.float32), SOURCE, 0, 0)
    np.testing.assert_array_equal(_pose(speech, 0, 1), SOURCE[None, 64:])
    longer = clip.Clip(np.zeros(3 * 640, np.float32), SOURCE, 0, 0)
    np.testing.assert_allclose(_pose(longer, 0, 3)[0], SOURCE[64:], atol=1e-5)


def test_network_inputs_have_the_shapes_of_their_models() -> None:
    speech = clip.Clip(tone(16_000, 2.0)[0], SOURCE, pose_style=45, seed=9)
    inputs = speech.expression_inputs(3, 10, speech.guides(7, np.zeros(7, np.float32)))
    assert {name: value.shape for name, value in inputs.items()} == {
        "mel": (7, 80, 16),
        "reference_expression": (7, 64),
        "blink": (7, 1),
    }
    np.testing.assert_array_equal(inputs["reference_expression"], np.tile(SOURCE[:64], (7, 1)))
    chunks = pose.pose_chunks(0, 50, 50)
    inputs = speech.pose_inputs(chunks)
    assert {name: (value.shape, value.dtype.name) for name, value in inputs.items()} == {
        "mel": ((2, 32, 80, 16), "float32"),
        "latent": ((2, 64), "float32"),
        "pose_style": ((2, 1), "int64"),
        "reference_pose": ((2, 6), "float32"),
    }
    heard = speech.expression_inputs(18, 50, {})["mel"]  # the last chunk hears the final 32 frames again
    np.testing.assert_allclose(inputs["mel"][1], heard, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"waveform": np.zeros(639, np.float32)}, "waveform: expected at least 640 samples, got 639"),
        ({"waveform": np.full(640, np.nan, np.float32)}, "waveform: expected finite samples, got NaN"),
        ({"source_coefficients": np.full(70, np.inf, np.float32)}, "source_coefficients: expected finite values"),
        ({"pose_style": 46}, "pose_style: expected 0 to 45, got 46"),
        ({"pose_style": -1}, "pose_style: expected 0 to 45, got -1"),
        ({"seed": -1}, "seed: expected a number from 0 on, got -1"),
    ],
)
def test_bad_clips_are_refused(changes: dict, message: str) -> None:
    good = {"waveform": np.zeros(640, np.float32), "source_coefficients": SOURCE}
    with pytest.raises(InputError, match=message):
        clip.Clip(**{**good, "pose_style": 0, "seed": 0, **changes})


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 2), (3, 2)])
def test_ranges_outside_of_the_clip_are_refused(start: int, stop: int) -> None:
    speech = clip.Clip(np.zeros(3 * 640, np.float32), SOURCE, 0, 0)
    with pytest.raises(InputError, match=f"frames: expected a range within 0 to 3, got {start} to {stop}"):
        speech.check_range(start, stop)


def test_given_expressions_take_the_place_of_the_portrait_s() -> None:
    speech = clip.Clip(np.zeros(3 * 640, np.float32), SOURCE, 0, 0)
    blink, given = np.float32([0, 1, 0.5]), RANDOM.standard_normal((3, 64)).astype(np.float32)
    guides = speech.guides(3, blink, given)
    np.testing.assert_array_equal(guides["reference_expression"], given)
    np.testing.assert_array_equal(guides["blink"], blink[:, None])


@pytest.mark.parametrize(
    ("guides", "message"),
    [
        ({"blink": np.zeros(2, np.float32)}, "blink: expected values for 3 frames, got 2"),
        ({"blink": np.float32([0, np.nan, 0])}, "blink: expected finite values, got NaN or infinity"),
        (
            {"blink": np.zeros(3, np.float32), "reference": np.zeros((4, 64), np.float32)},
            "reference_expression: expected values for 3 frames, got 4",
        ),
    ],
)
def test_bad_guides_are_refused(guides: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        clip.Clip(np.zeros(3 * 640, np.float32), SOURCE, 0, 0).guides(3, **guides)
