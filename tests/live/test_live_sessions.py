"""A session without Triton, in virtual time: frames that equal a recording's, pace, interruptions, limits."""

import asyncio
import io
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, closing, nullcontext
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fake_models import Models
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.live.face import Face, NoDecoders
from sadtalker_runtime.live.frames import CallerGoneError, Frame, Limits, SessionIdleError
from sadtalker_runtime.live.idle import RestCache
from sadtalker_runtime.live.options import FULL, LiveOptions
from sadtalker_runtime.live.planning import LEAD
from sadtalker_runtime.live.session import LiveSession
from sadtalker_runtime.live.trajectory import Trajectory
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.options import Options
from virtual_time import clock, run

LIMITS = Limits(600, 300, 30, 10**9, 3)
LOOP = 50  # frames


def spoken(seconds: float, rate: int = 16_000) -> np.ndarray:
    """Return int16 samples of the example speech."""
    with wave.open(str(Path(__file__).parents[2] / "examples" / "speech.wav")) as file:
        assert file.getframerate() == 16_000
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.resize(samples, round(seconds * rate))


class Silent:
    """An observer that does not listen."""

    def stage(self, name: str):
        return nullcontext()

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


class Conversation:
    """A session over fake models, within a running virtual loop."""

    def __init__(self, models: Models, limits: Limits = LIMITS, options: Options | None = None, **asked: object):
        self.models, self.gone = models, False
        self.options, self.live = options or Options(), LiveOptions(**asked)
        self.session = LiveSession(self.live, limits, clock)
        self.times: list[float] = []

    async def frames(self) -> AsyncIterator[Frame]:
        animator = Animator(self.models.call, lambda model: True, Silent(), NoDecoders(), 4, 600, 3, 4)
        face = Face(self.models.call, await animator.portrait(b"portrait", self.options), self.options, clock)
        rest = await RestCache(LOOP, 4).get(face, self.live.pace == "realtime" and self.live.idle)
        await asyncio.sleep(0.1)  # until the loop is complete
        async with aclosing(self.session.frames(face, rest, lambda: self.gone)) as frames:
            async for frame in frames:
                self.times.append(clock())
                yield frame

    async def take(self, until: Callable[[list[Frame]], bool] = lambda shown: False) -> list[Frame]:
        shown: list[Frame] = []
        async with aclosing(self.frames()) as frames:
            async for frame in frames:
                shown.append(frame)
                self.session.received(len(shown))
                if until(shown):
                    break
        return shown


async def stream(session: LiveSession, samples: np.ndarray, rate: int, piece: float, speed: float = 1.0) -> None:
    """Speak in pieces, as they would come from a microphone."""
    size = round(piece * rate)
    for at in range(0, len(samples), size):
        session.speak(samples[at : at + size], rate)
        await asyncio.sleep(len(samples[at : at + size]) / rate / speed)


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

    async def talk() -> list[Frame]:
        talk = Conversation(Models(0.01), options=Options(seed=5), look_ahead=FULL, pace="fast")

        async def speak() -> None:
            await stream(talk.session, samples, rate, piece)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        frames = await talk.take()
        await speaking
        return frames

    shown = run(talk())
    np.testing.assert_array_equal(np.stack([frame.picture for frame in shown]), expected)
    assert [frame.ends for frame in shown] == [False] * (len(shown) - 1) + [True]
    sound = np.concatenate([frame.sound for frame in shown])
    assert len(sound) == len(shown) * 1920
    if rate == 16_000:  # a sample of three is an original one, but for the filter
        heard = samples[: len(sound) // 3].astype(float)
        assert np.corrcoef(sound[::3][: len(heard)], heard)[0, 1] > 0.99


def test_frames_come_while_the_speech_goes_on() -> None:
    async def talk(look_ahead: int) -> tuple[list[Frame], list[float]]:
        talk = Conversation(Models(0.01), look_ahead=look_ahead, pace="fast")

        async def speak() -> None:
            await stream(talk.session, spoken(6), 16_000, 0.02)
            talk.session.end()

        begun = clock()
        speaking = asyncio.create_task(speak())
        frames = await talk.take()
        await speaking
        return frames, [at - begun for at in talk.times]

    for look_ahead, longest in [(0, 0.25), (4, 0.41), (13, 0.77), (FULL, 2.37)]:
        frames, times = run(talk(look_ahead))
        assert len(frames) == 150
        waits = [at - (index + 1) / 25 for index, at in enumerate(times)]
        assert max(waits) < longest + 0.03, look_ahead
        ahead = look_ahead if look_ahead != FULL else 13
        assert min(waits[:100]) > ahead / 25 - 0.02  # a piece comes when its first sample is spoken
        split = [frame.split for frame in frames if frame.split]
        assert max(part.look_ahead for part in split) == pytest.approx(longest - 0.09, abs=0.05)
        assert max(part.compute for part in split) == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("look_ahead", [0, 4, 13])
def test_an_early_motion_depends_on_the_speech_alone(look_ahead: int) -> None:
    async def talk(piece: float, speed: float) -> np.ndarray:
        talk = Conversation(Models(0.01), look_ahead=look_ahead, pace="fast")

        async def speak() -> None:
            await stream(talk.session, spoken(3), 16_000, piece, speed)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        frames = await talk.take()
        await speaking
        return np.stack([frame.picture for frame in frames])

    slow, fast, once = run(talk(0.01, 0.7)), run(talk(0.2, 3)), run(talk(60, 1))
    np.testing.assert_array_equal(slow[:65], fast[:65])
    np.testing.assert_array_equal(slow[:65], once[:65])  # the end depends on when it is known to be one
    assert len(slow) == len(once) == 75


def test_in_real_time_a_frame_comes_every_40_ms_whatever_happens() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(0.02))

        async def speak() -> None:
            await asyncio.sleep(1.013)
            await stream(talk.session, spoken(2), 16_000, 0.02)
            talk.session.flush()
            await asyncio.sleep(3)
            talk.session.speak(spoken(1), 16_000)  # never flushed
            await asyncio.sleep(4)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
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
        frames = await talk.take(lambda shown: len(shown) == 500)
        return frames, talk.models.asked["render_frames"]

    frames, rendered = run(talk())
    assert rendered == LOOP / 5
    pictures = np.stack([frame.picture for frame in frames])
    np.testing.assert_array_equal(pictures[:LOOP], pictures[LOOP : 2 * LOOP])
    assert len(np.unique(pictures[:LOOP].reshape(LOOP, -1), axis=0)) > 40


def test_a_face_that_does_not_idle_holds_still_at_rest() -> None:
    async def talk() -> list[Frame]:
        return await Conversation(Models(), idle=False).take(lambda shown: len(shown) == 60)

    pictures = np.stack([frame.picture for frame in run(talk())])
    assert (pictures == pictures[0]).all()


@pytest.mark.parametrize("look_ahead", [0, 4, FULL])
def test_motion_never_jumps(look_ahead: int) -> None:
    rows: list[np.ndarray] = []

    async def talk() -> Conversation:
        talk = Conversation(Models(0.01), look_ahead=look_ahead)
        trajectory = talk.session._planner._trajectory
        follow = trajectory.follow

        def noted(motion: np.ndarray, eased: bool = False) -> None:
            follow(motion, eased)
            rows.extend(trajectory._rows[-len(motion) :])

        trajectory.follow = noted

        async def speak() -> None:
            await asyncio.sleep(1.4)
            for seconds in (2.5, 0.8, 1.7):
                await stream(talk.session, spoken(seconds), 16_000, 0.1)
                talk.session.flush()
                await asyncio.sleep(seconds)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
    assert {frame.utterance for frame in talk.shown} == {-1, 0, 1, 2}
    speaking = np.array([frame.utterance >= 0 for frame in talk.shown])
    changes = np.abs(np.diff(rows[: len(speaking)], axis=0, prepend=rows[:1]))
    at_borders = np.convolve(np.abs(np.diff(speaking.astype(int), prepend=0)), np.ones(9), "same") > 0
    for steps in (changes[:, :64].max(1), changes[:, 64:].max(1)):  # of expression and pose
        assert steps[speaking].max() > 0
        assert steps[at_borders].max() <= steps[speaking].max() * 1.01


def test_the_mouth_is_at_rest_four_tenths_of_a_second_after_an_interruption() -> None:
    expressions: dict[bytes, np.ndarray] = {}  # what each picture was rendered of

    async def talk() -> Conversation:
        talk = Conversation(Models(0.05), idle=False)
        render = talk.models.render_frames

        def noted(coefficient_windows: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
            made = render(coefficient_windows=coefficient_windows, **inputs)
            for picture, row in zip(made["frames"][0], coefficient_windows[0, :, :64, 13], strict=True):
                expressions[picture.tobytes()] = row
            return made

        talk.models.render_frames = noted

        async def speak() -> None:
            await asyncio.sleep(0.5)
            talk.session.speak(spoken(5), 16_000)
            await asyncio.sleep(2.2)
            talk.interrupted = clock()
            talk.session.interrupt()
            await asyncio.sleep(2)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
    shown = np.stack([expressions[frame.picture.tobytes()] for frame in talk.shown])
    distances = np.abs(shown - shown[0]).max(1)  # from rest
    after = np.array(talk.times) - talk.interrupted
    assert distances[(after > -0.5) & (after < 0)].max() > 0.01
    assert after.max() > 1.9
    np.testing.assert_allclose(distances[after > 0.4], 0, atol=1e-6)


def test_an_interruption_forgets_the_rest_of_the_speech_and_closes_the_mouth() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(0.02))

        async def speak() -> None:
            talk.session.speak(spoken(5), 16_000)
            talk.session.speak(spoken(5), 16_000)
            talk.session.flush()
            talk.session.speak(spoken(5), 16_000)
            await asyncio.sleep(2)
            talk.interrupted = clock()
            talk.session.interrupt()
            talk.session.interrupt()
            await asyncio.sleep(3)
            talk.session.speak(spoken(0.5), 16_000)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
    after = [frame for frame, at in zip(talk.shown, talk.times, strict=True) if at > talk.interrupted]
    assert not [frame for frame in after if frame.utterance in (0, 1)]
    assert [frame.utterance for frame in after].count(2) == 12
    assert not any(frame.sound.any() for frame in after[:60])
    rest = np.stack(talk.models.seen[:LOOP])[0, :64]
    rows = talk.models.seen
    assert any(np.array_equal(row[:64], rest) for row in rows[LOOP:])
    # Five frames ease the expression; a chunk is rendered before the first of them is shown.
    assert np.diff([at for at in talk.times if at > talk.interrupted]).max() < 0.041


def test_speech_that_pauses_is_waited_for_and_then_taken_as_complete() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(0.01))

        async def speak() -> None:
            await stream(talk.session, spoken(1), 16_000, 0.1)
            await asyncio.sleep(0.3)  # the network stumbles: the same utterance goes on
            await stream(talk.session, spoken(1), 16_000, 0.1)
            await asyncio.sleep(2)
            await stream(talk.session, spoken(1), 16_000, 0.1)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
    utterances = [frame.utterance for frame in talk.shown]
    assert (utterances.count(0), utterances.count(1)) == (50, 25)
    np.testing.assert_allclose(np.diff(talk.times), 0.04, atol=1e-6)


def test_a_slow_renderer_skips_pictures_but_no_sound() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(1.0))

        async def speak() -> None:
            await asyncio.sleep(6)
            talk.session.speak(spoken(8), 16_000)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
    np.testing.assert_allclose(np.diff(talk.times), 0.04, atol=1e-6)
    said = [frame for frame in talk.shown if frame.utterance == 0]
    assert len(said) == 200
    assert any(frame.late for frame in said) and not all(frame.late for frame in said)
    assert all(frame.sound.any() for frame in said)
    assert len({frame.picture.tobytes() for frame in said}) > 8  # those that come late are shown, too
    assert talk.models.most_running <= 3 + 1  # and the loop, which is rendered one chunk at a time


def test_where_everything_is_slow_the_speech_still_comes_to_its_end() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(3.0))
        call = talk.models.call

        async def slow(model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
            if model == "audio2coeff":
                await asyncio.sleep(0.7)
            return await call(model, inputs, *outputs)

        talk.models.call = slow

        async def speak() -> None:
            await asyncio.sleep(8)
            talk.session.speak(spoken(4), 16_000)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take(lambda shown: len(shown) == 200 * 25)
        await speaking
        return talk

    talk = run(talk())
    assert len(talk.shown) < 100 * 25
    said = [frame for frame in talk.shown if frame.utterance == 0]
    assert len(said) == 100 and said[-1].ends


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
@pytest.mark.parametrize("pace", ["fast", "realtime"])
def test_a_failing_model_ends_the_session(model: str, pace: str) -> None:
    async def talk() -> None:
        talk = Conversation(Models(), pace=pace)
        talk.session.speak(spoken(2), 16_000)
        with pytest.raises(RuntimeError, match=f"^{model} broke$"):
            async for _ in talk.frames():
                talk.models.failing = model

    if pace == "realtime":
        run(talk())
    else:

        async def fails() -> None:
            talk = Conversation(Models(), pace=pace)
            asyncio.get_running_loop().call_later(1, lambda: setattr(talk.models, "failing", model))
            asyncio.get_running_loop().call_later(2, lambda: talk.session.speak(spoken(2), 16_000))
            with pytest.raises(RuntimeError, match=f"^{model} broke$"):
                async for _ in talk.frames():
                    pass

        run(fails())


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


def test_ten_minutes_without_speech_cost_a_session_nothing() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(0.01))

        async def wait() -> None:
            for _ in range(60):  # the client gives a sign of life every few seconds
                await asyncio.sleep(10)
                talk.session.received(len(talk.times))
            talk.rendered = talk.models.asked["render_frames"]
            talk.session.speak(spoken(1), 16_000)
            talk.session.end()

        waiting = asyncio.create_task(wait())
        talk.utterances = [frame.utterance async for frame in talk.frames()]
        await waiting
        return talk

    talk = run(talk())
    assert talk.utterances.count(-1) > 599 * 25 and talk.utterances.count(0) == 25
    np.testing.assert_allclose(np.diff(talk.times), 0.04, atol=1e-6)
    assert talk.rendered == LOOP / 5
    trajectory = talk.session._planner._trajectory
    assert len(trajectory._rows) < 300


def test_minutes_of_silence_are_spoken_in_step() -> None:
    async def talk() -> Conversation:
        talk = Conversation(Models(0.01))

        async def speak() -> None:
            await stream(talk.session, np.zeros(16_000 * 30, np.int16), 16_000, 0.5)
            talk.session.end()

        speaking = asyncio.create_task(speak())
        talk.shown = await talk.take()
        await speaking
        return talk

    talk = run(talk())
    assert sum(frame.utterance >= 0 for frame in talk.shown) == 30 * 25
    assert not any(frame.late for frame in talk.shown)
    assert len(talk.shown) / 25 == pytest.approx(31, abs=1)


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


def test_steps_of_the_easing_are_small() -> None:
    trajectory = Trajectory()
    trajectory.plan(np.zeros((5, 70), np.float32), 5)
    trajectory.turn()
    ones = np.ones((18, 70), np.float32)
    seen = [trajectory.plan(ones, 5)[:, :, 13] for _ in range(8)]
    rows = np.concatenate(seen)
    assert (rows[4:, :64] == 1).all()
    assert (rows[24:] == 1).all()
    assert max(b - a for a, b in pairwise(rows[:, 69])) < 0.07
    trajectory.take_back(10)
    assert trajectory.count == 35
