"""How smoothly a live session's face begins, ends and breaks off its speech, by the renderer's keypoints.

The sessions run in real time in the benchmark's process, with the keypoints of the network `motion` in place of
pictures, so that no renderer is waited for.
"""

import asyncio
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sadtalker_runtime.animation.animator import motion_model
from sadtalker_runtime.animation.head_angles import NO_ANGLE
from sadtalker_runtime.animation.portraits import Portrait
from sadtalker_runtime.live.face import Face, rest_of
from sadtalker_runtime.live.frames import Frame, Limits
from sadtalker_runtime.live.options import FULL, LiveOptions
from sadtalker_runtime.live.session import LiveSession
from sadtalker_runtime.options import Options

RATE = 16_000
LIMITS = Limits(600, 300, 600, 10**9, 2)
BORDER = 6  # frames on either side of where speech begins or ends
SETTLED = 0.05  # of the largest distance from rest that speech reaches: the mouth is at rest


class Caller(Protocol):
    """Calls the server's models and notes the coefficients of what is rendered."""

    rows: list[npt.NDArray[np.float32]]

    async def call(self, model: str, inputs: Any, *outputs: str) -> list[npt.NDArray[Any]]: ...


class Keypoints(Face):
    """A face whose pictures are the keypoints that the renderer would be given: float32 [15, 3]."""

    def __init__(self, networks: Caller, portrait: Portrait, options: Options) -> None:
        super().__init__(networks.call, portrait, options)
        self._networks = networks

    async def render(self, windows: npt.NDArray[np.float32], frames: int) -> npt.NDArray[np.float32]:
        motion = {
            "canonical_keypoints": self.portrait.renderer_inputs["canonical_keypoints"],
            "coefficient_windows": windows[None],
            "head_angles": np.full((1, 5, 3), NO_ANGLE, np.float32),
        }
        self._networks.rows.extend(windows[:, :, 13])
        [keypoints] = await self._networks.call(motion_model(False), motion, "keypoints")
        return keypoints[0, :frames].astype(np.float32)


async def measure_continuity(face: Keypoints, speech: npt.NDArray[np.int16]) -> dict[str, object]:
    """Return the largest steps of a keypoint within speech and at its borders, for three look-aheads."""
    rest = await rest_of(face, 125)
    await rest.render(face, range(1, 25))
    found: dict[str, object] = {}
    for look_ahead in (0, 4, FULL):
        session = LiveSession(LiveOptions(look_ahead=look_ahead), LIMITS)

        async def talk(session: LiveSession = session) -> None:
            await asyncio.sleep(1.1)
            for _ in range(2):
                for at in range(0, len(speech), RATE // 50):
                    session.speak(speech[at : at + RATE // 50], RATE)
                    await asyncio.sleep(0.02)
                session.flush()
                await asyncio.sleep(4.5)
            session.end()

        talking = asyncio.create_task(talk())
        frames = [frame async for frame in session.frames(face, rest, lambda: False)]
        await talking
        keypoints = np.stack([frame.picture for frame in frames])
        steps = np.linalg.norm(np.diff(keypoints, axis=0, prepend=keypoints[:1]), axis=2).max(1)
        speaking = np.array([frame.utterance >= 0 for frame in frames])
        border = np.convolve(np.abs(np.diff(speaking.astype(int), prepend=0)), np.ones(2 * BORDER + 1), "same") > 0
        within, at_borders = float(steps[speaking & ~border].max()), float(steps[border].max())
        found["full" if look_ahead == FULL else str(look_ahead)] = {
            "largest_step_within_speech": round(within, 5),
            "largest_step_at_its_borders": round(at_borders, 5),
            "not_above_within_speech": at_borders <= within,
            "late_frames": sum(frame.late for frame in frames),
        }
    return found


async def measure_interruption(face: Keypoints, speech: npt.NDArray[np.int16]) -> dict[str, object]:
    """Return when the mouth is at rest after `interrupt`: of a face that holds its head still and does not blink."""
    rest = await rest_of(face, 1)
    session = LiveSession(LiveOptions(idle=False), LIMITS)
    shown: list[tuple[float, Frame]] = []
    loop = asyncio.get_running_loop()

    async def talk() -> float:
        session.speak(speech, RATE)
        await asyncio.sleep(2.5)
        interrupted = loop.time()
        session.interrupt()
        await asyncio.sleep(1.5)
        session.end()
        return interrupted

    talking = asyncio.create_task(talk())
    async for frame in session.frames(face, rest, lambda: False):
        shown.append((loop.time(), frame))
    interrupted = await talking
    distances = np.array([np.linalg.norm(frame.picture - rest.picture(0), axis=1).max() for _, frame in shown])
    after = np.array([at for at, _ in shown]) - interrupted
    largest = distances[after < 0].max()
    moving = after[distances > SETTLED * largest]
    return {
        "largest_distance_from_rest_within_speech": round(float(largest), 5),
        "distance_from_rest_by_frame_afterwards": [round(float(value), 5) for value in distances[after >= 0][:16]],
        "at_rest_means": f"nearer than {SETTLED:g} of the largest distance",
        "at_rest_after_seconds": round(max(float(moving.max()) + 0.04, 0.0), 3),
    }
