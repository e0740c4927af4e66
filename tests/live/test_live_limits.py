"""Errors and limits of a live session: bad speech and options, callers that stop reading or leave, failing models."""

import asyncio

import numpy as np
import pytest
from conversation import LIMITS, LOOP, Conversation, spoken
from fake_models import Models
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.live.frames import CallerGoneError, Frame, Limits, SessionIdleError
from sadtalker_runtime.live.options import LiveOptions
from sadtalker_runtime.live.planning import LEAD
from sadtalker_runtime.live.session import LiveSession
from virtual_time import clock, run


def test_a_listener_that_stops_reading_is_waited_for() -> None:
    limits = Limits(600, 300, 30, 20, 3)

    async def talk(pace: str) -> tuple[int, Models]:
        talk = Conversation(Models(0.01), limits, pace=pace)
        talk.session.speak(spoken(20), 16_000)
        shown = 0

        async def read() -> None:
            nonlocal shown
            async for _ in talk.frames():
                shown += 1

        reading = asyncio.create_task(read())
        await asyncio.sleep(20)
        assert shown == 20
        rendered = talk.models.asked["render_frames"]
        talk.session.received(15)
        await asyncio.sleep(2)
        assert shown == 35
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        return rendered, talk.models

    assert run(talk("fast"))[0] <= (20 + LEAD) / 5 + 3
    assert run(talk("realtime"))[0] <= LOOP / 5 + (20 + LEAD) / 5 + 3


def test_a_caller_that_is_not_heard_of_loses_the_session() -> None:
    async def talk(pace: str) -> float:
        talk = Conversation(Models(), Limits(600, 300, 30, 10**9, 3), pace=pace)
        begun = clock()
        with pytest.raises(SessionIdleError, match="not heard of for 3"):
            async for _ in talk.frames():
                pass
        return clock() - begun

    for pace in ("fast", "realtime"):
        assert 30 <= run(talk(pace)) < 32


def test_a_caller_that_is_gone_ends_the_session() -> None:
    async def talk(pace: str) -> float:
        talk = Conversation(Models(), pace=pace)
        asyncio.get_running_loop().call_later(2, lambda: setattr(talk, "gone", True))
        with pytest.raises(CallerGoneError):
            async for _ in talk.frames():
                pass
        return clock()

    for pace in ("fast", "realtime"):
        assert 2 <= run(talk(pace)) < 3.2


@pytest.mark.parametrize("model", ["audio2coeff", "render_frames"])
@pytest.mark.parametrize(("pace", "speaks_at"), [("fast", 2), ("realtime", 0)])
def test_a_failing_model_ends_the_session(model: str, pace: str, speaks_at: float) -> None:
    async def talk() -> None:
        talk = Conversation(Models(), pace=pace)
        loop = asyncio.get_running_loop()
        loop.call_later(1, lambda: setattr(talk.models, "failing", model))
        loop.call_later(speaks_at, lambda: talk.session.speak(spoken(2), 16_000))
        with pytest.raises(RuntimeError, match=f"^{model} broke$"):
            async for _ in talk.frames():
                pass

    run(talk())


@pytest.mark.parametrize(
    ("piece", "rate", "message"),
    [
        (np.zeros(100, np.int16), 16_000, "speech: expected at least 0.01 s, got 0.00625 s"),
        (np.zeros(0, np.int16), 16_000, "speech: expected at least 0.01 s, got 0 s"),
        (np.zeros(16_000, np.int16), 0, "rate: expected 4000 to 768000 Hz, got 0"),
        (np.zeros(16_000, np.int16), -5, "rate: expected 4000 to 768000 Hz, got -5"),
        (np.full(16_000, np.nan, np.float32), 16_000, "speech: expected finite samples, got NaN or infinity"),
        (np.zeros(301 * 16_000, np.int16), 16_000, "speech: expected at most 300 s and 64 utterances that are not .*"),
    ],
)
def test_bad_speech_is_refused_and_the_session_goes_on(piece: np.ndarray, rate: int, message: str) -> None:
    async def talk() -> list[Frame]:
        talk = Conversation(Models(), pace="fast")
        with pytest.raises(InputError, match=f"^{message}$"):
            talk.session.speak(piece, rate)
        talk.session.speak(spoken(0.4), 16_000)
        with pytest.raises(InputError, match=r"^rate: expected 16000 Hz, as the utterance began, got 24000; flush"):
            talk.session.speak(spoken(0.4, 24_000), 24_000)
        with pytest.raises(InputError, match=r"^received: expected 0 to 0 frames, got 3"):
            talk.session.received(3)
        talk.session.flush()
        talk.session.speak(spoken(0.4, 24_000), 24_000)
        talk.session.end()
        with pytest.raises(InputError, match=r"^speech: expected before the end, got it afterwards$"):
            talk.session.speak(spoken(0.4), 16_000)
        return await talk.take()

    numbers = [frame.utterance for frame in run(talk())]
    assert numbers[:10] == [0] * 10
    assert numbers[10:] in ([1] * 9, [1] * 10)  # the resampler keeps the last millisecond


def test_many_tiny_utterances_are_bounded() -> None:
    async def talk() -> None:
        session = LiveSession(LiveOptions(), LIMITS, clock)
        with pytest.raises(InputError, match="64 utterances"):
            for _ in range(100):
                session.speak(spoken(0.01), 16_000)
                session.flush()

    run(talk())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"look_ahead": 14}, "look_ahead: expected 0 to 13 frames, or -1 for all .*, got 14"),
        ({"look_ahead": -2}, "look_ahead: expected 0 to 13 frames, or -1 for all .*, got -2"),
        ({"pace": "slow"}, "pace: expected realtime or fast, got 'slow'"),
        ({"format": "gif"}, "format: expected rgb24, jpeg, mp4, got 'gif'"),
    ],
)
def test_bad_options_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        LiveOptions(**asked)
