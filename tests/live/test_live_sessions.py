"""A session without Triton, in virtual time: frames that equal a recording's, and the order of utterances."""

import asyncio
import io
import wave
from contextlib import closing

import numpy as np
import pytest
from conversation import Conversation, Silent, converse, spoken, stream
from fake_models import Models
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.live.frames import Frame, Limits
from sadtalker_runtime.live.options import FULL
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.options import Options
from virtual_time import clock, run


def recorded(samples: np.ndarray, rate: int, **asked: object) -> np.ndarray:
    """Return the frames that the model `sadtalker` makes of a recording."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(samples.tobytes())
    models, pictures = Models(), []

    async def animate() -> None:
        animator = Animator(models.call, lambda model: True, Silent(), decoders, 4, 600, 3, 4)
        render = models.render_frames

        def noted(**inputs: np.ndarray) -> dict[str, np.ndarray]:
            made = render(**inputs)
            pictures.extend(made["frames"][0])
            return made

        models.render_frames = noted
        async for fragment in animator.animate(b"portrait", file.getvalue(), Options(**asked)):
            frames = fragment.frames_total
        del pictures[frames:]

    with closing(Decoders()) as decoders:
        asyncio.run(animate())
    return np.stack(pictures)


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("piece", [0.01, 0.137, 60])
@pytest.mark.parametrize("seconds", [0.9, 6.2])
def test_with_full_look_ahead_the_frames_are_those_of_the_recording(seconds: float, piece: float, rate: int) -> None:
    samples = spoken(seconds, rate)
    expected = recorded(samples, rate, seed=5)

    async def speak(talk: Conversation) -> None:
        await stream(talk.session, samples, rate, piece)
        talk.session.end()

    talk = converse(speak, Models(0.01), options=Options(seed=5), look_ahead=FULL, pace="fast")
    shown = talk.shown
    np.testing.assert_array_equal(np.stack([frame.picture for frame in shown]), expected)
    assert [frame.ends for frame in shown] == [False] * (len(shown) - 1) + [True]
    sound = np.concatenate([frame.sound for frame in shown])
    assert len(sound) == len(shown) * 1920
    if rate == 16_000:  # a sample of three is an original one, but for the filter
        heard = samples[: len(sound) // 3].astype(float)
        assert np.corrcoef(sound[::3][: len(heard)], heard)[0, 1] > 0.99


@pytest.mark.parametrize(("look_ahead", "longest"), [(0, 0.25), (4, 0.41), (13, 0.77), (FULL, 2.37)])
def test_frames_come_while_the_speech_goes_on(look_ahead: int, longest: float) -> None:
    async def speak(talk: Conversation) -> None:
        begun.append(clock())
        await stream(talk.session, spoken(6), 16_000, 0.02)
        talk.session.end()

    begun: list[float] = []
    talk = converse(speak, Models(0.01), look_ahead=look_ahead, pace="fast")
    assert len(talk.shown) == 150
    waits = [at - begun[0] - (index + 1) / 25 for index, at in enumerate(talk.times)]
    assert max(waits) < longest + 0.03
    ahead = look_ahead if look_ahead != FULL else 13
    assert min(waits[:100]) > ahead / 25 - 0.02  # a piece comes when its first sample is spoken
    split = [frame.split for frame in talk.shown if frame.split]
    assert max(part.look_ahead for part in split) == pytest.approx(longest - 0.09, abs=0.05)
    assert max(part.compute for part in split) == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("look_ahead", [0, 4, 13])
def test_an_early_motion_depends_on_the_speech_alone(look_ahead: int) -> None:
    def pictures(piece: float, speed: float) -> np.ndarray:
        async def speak(talk: Conversation) -> None:
            await stream(talk.session, spoken(3), 16_000, piece, speed)
            talk.session.end()

        talk = converse(speak, Models(0.01), look_ahead=look_ahead, pace="fast")
        return np.stack([frame.picture for frame in talk.shown])

    slow, fast, once = pictures(0.01, 0.7), pictures(0.2, 3), pictures(60, 1)
    np.testing.assert_array_equal(slow[:65], fast[:65])
    np.testing.assert_array_equal(slow[:65], once[:65])  # the end depends on when it is known to be one
    assert len(slow) == len(once) == 75


def test_utterances_follow_each_other_without_a_pause_where_nothing_is_to_be_shown_between_them() -> None:
    async def talk() -> list[Frame]:
        talk = Conversation(Models(0.01), pace="fast")
        for _ in range(3):
            talk.session.speak(spoken(1), 16_000)
            talk.session.flush()
        talk.session.end()
        return await talk.take()

    frames = run(talk())
    assert [frame.utterance for frame in frames] == [0] * 25 + [1] * 25 + [2] * 25
    assert [index for index, frame in enumerate(frames) if frame.ends] == [24, 49, 74]
    assert [frame.index for frame in frames] == list(range(75))


def test_an_utterance_that_does_not_end_goes_on_as_the_next() -> None:
    async def talk() -> list[Frame]:
        talk = Conversation(Models(), Limits(2, 300, 30, 10**9, 3), pace="fast")
        for _ in range(50):
            talk.session.speak(spoken(0.1), 16_000)
        talk.session.end()
        return await talk.take()

    numbers = [frame.utterance for frame in run(talk())]
    assert numbers == sorted(numbers)
    assert len(numbers) == 125
    assert max(numbers) == 2
