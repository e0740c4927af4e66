"""Live sessions at pace realtime, on a virtual clock: a frame every 40 ms in speech, at rest, with slow models."""

import asyncio

import numpy as np
import pytest
from conversation import LOOP, Conversation, converse, spoken, stream
from fake_models import Models
from sadtalker_runtime.live.frames import Frame
from virtual_time import run


def test_in_real_time_a_frame_comes_every_40_ms_whatever_happens() -> None:
    async def speak(talk: Conversation) -> None:
        await asyncio.sleep(1.013)
        await stream(talk.session, spoken(2), 16_000, 0.02)
        talk.session.flush()
        await asyncio.sleep(3)
        talk.session.speak(spoken(1), 16_000)  # never flushed
        await asyncio.sleep(4)
        talk.session.end()

    talk = converse(speak, Models(0.02))
    steps = np.diff(talk.times)
    np.testing.assert_allclose(steps, 0.04, atol=1e-6)
    assert len(talk.shown) > 240
    assert not any(frame.late for frame in talk.shown)
    utterances = [frame.utterance for frame in talk.shown]
    assert utterances.count(0) == 50
    assert utterances.count(1) == 25
    first = utterances.index(0)
    assert utterances[first : first + 50] == [0] * 50
    assert first * 0.04 < 1.013 + 0.4 + 0.2  # from speech to frame: 9 frames, the chunk, and its lead
    assert all(not frame.sound.any() for frame in talk.shown if frame.utterance < 0)
    assert talk.models.asked["render_frames"] < 10 + (50 + 25) / 5 + 2 * 9  # rest is rendered once


def test_between_utterances_the_loop_is_shown_without_rendering() -> None:
    async def talk() -> tuple[list[Frame], int]:
        talk = Conversation(Models())
        frames = await talk.take(500)
        return frames, talk.models.asked["render_frames"]

    frames, rendered = run(talk())
    assert rendered == LOOP / 5
    pictures = np.stack([frame.picture for frame in frames])
    np.testing.assert_array_equal(pictures[:LOOP], pictures[LOOP : 2 * LOOP])
    assert len(np.unique(pictures[:LOOP].reshape(LOOP, -1), axis=0)) > 40


def test_a_face_that_does_not_idle_holds_still_at_rest() -> None:
    async def talk() -> list[Frame]:
        return await Conversation(Models(), idle=False).take(60)

    pictures = np.stack([frame.picture for frame in run(talk())])
    assert (pictures == pictures[0]).all()


def test_speech_that_pauses_is_waited_for_and_then_taken_as_complete() -> None:
    async def speak(talk: Conversation) -> None:
        await stream(talk.session, spoken(1), 16_000, 0.1)
        await asyncio.sleep(0.3)  # the network stumbles: the same utterance goes on
        await stream(talk.session, spoken(1), 16_000, 0.1)
        await asyncio.sleep(2)
        await stream(talk.session, spoken(1), 16_000, 0.1)
        talk.session.end()

    talk = converse(speak, Models(0.01))
    utterances = [frame.utterance for frame in talk.shown]
    assert (utterances.count(0), utterances.count(1)) == (50, 25)
    np.testing.assert_allclose(np.diff(talk.times), 0.04, atol=1e-6)


def test_a_slow_renderer_skips_pictures_but_no_sound() -> None:
    async def speak(talk: Conversation) -> None:
        await asyncio.sleep(6)
        talk.session.speak(spoken(8), 16_000)
        talk.session.end()

    talk = converse(speak, Models(1.0))
    np.testing.assert_allclose(np.diff(talk.times), 0.04, atol=1e-6)
    said = [frame for frame in talk.shown if frame.utterance == 0]
    assert len(said) == 200
    assert any(frame.late for frame in said) and not all(frame.late for frame in said)
    assert all(frame.sound.any() for frame in said)
    assert len({frame.picture.tobytes() for frame in said}) > 8  # those that come late are shown, too
    assert talk.models.most_running <= 3 + 1  # and the loop, which is rendered one chunk at a time


def test_where_everything_is_slow_the_speech_still_comes_to_its_end() -> None:
    class SlowSpeech(Models):
        async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
            await asyncio.sleep(0.7 if model == "audio2coeff" else 0)
            return await super().call(model, inputs, *outputs)

    async def speak(talk: Conversation) -> None:
        await asyncio.sleep(8)
        talk.session.speak(spoken(4), 16_000)
        talk.session.end()

    talk = converse(speak, SlowSpeech(3.0), most=200 * 25)
    assert len(talk.shown) < 100 * 25
    said = [frame for frame in talk.shown if frame.utterance == 0]
    assert len(said) == 100 and said[-1].ends


def test_ten_minutes_without_speech_cost_a_session_nothing() -> None:
    rendered: list[int] = []

    async def speak(talk: Conversation) -> None:
        await asyncio.sleep(600)
        rendered.append(talk.models.asked["render_frames"])
        talk.session.speak(spoken(1), 16_000)
        talk.session.end()

    talk = converse(speak, Models(0.01))
    utterances = [frame.utterance for frame in talk.shown]
    assert utterances.count(-1) > 599 * 25 and utterances.count(0) == 25
    np.testing.assert_allclose(np.diff(talk.times), 0.04, atol=1e-6)
    assert rendered == [LOOP / 5]
    assert len(talk.session._planner._trajectory._rows) < 300


def test_minutes_of_silence_are_spoken_in_step() -> None:
    async def speak(talk: Conversation) -> None:
        await stream(talk.session, np.zeros(16_000 * 30, np.int16), 16_000, 0.5)
        talk.session.end()

    talk = converse(speak, Models(0.01))
    assert sum(frame.utterance >= 0 for frame in talk.shown) == 30 * 25
    assert not any(frame.late for frame in talk.shown)
    assert len(talk.shown) / 25 == pytest.approx(31, abs=1)
