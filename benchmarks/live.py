"""Live sessions: `python benchmarks/live.py [--seconds 60]`: latency, what a shorter look-ahead costs, continuity.

Three measurements over one server:
- Sessions in this process, over the server's networks, at pace fast, for every look-ahead and three recordings, against
  the full look-ahead: with the head held still, mouth opening (correlation) and pictures (PSNR); moving, without
  rendering, the head's yaw (correlation).
- The same sessions in real time with the keypoints of the network `motion` in place of pictures, so that no renderer
  is waited for: the largest change of a keypoint from one frame to the next where speech begins and ends against that
  within speech, and how open the mouth still is after an interruption.
- A session through the client in real time: latency from speech to frame and where it goes, frames late.

Writes benchmarks/results/live.json and .png.
"""

import argparse
import asyncio
import json
import time
import wave
from contextlib import nullcontext
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from hardware import describe
from sadtalker_client import AsyncSadTalkerClient
from sadtalker_runtime.animation.animator import Animator, motion_model
from sadtalker_runtime.animation.head_angles import NO_ANGLE
from sadtalker_runtime.live.face import Face, NoDecoders, rest_of
from sadtalker_runtime.live.frames import Frame, Limits
from sadtalker_runtime.live.options import FULL, LiveOptions
from sadtalker_runtime.live.session import LiveSession
from sadtalker_runtime.options import Options
from sadtalker_server import Server
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import np_to_triton_dtype

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PORTRAIT = ROOT / "examples" / "portrait.jpg"
RATE = 16_000
LOOK_AHEADS = (0, 2, 4, 8, 13, FULL)
LIMITS = Limits(600, 300, 600, 10**9, 2)
YAW = 65  # among the 70 coefficients
MOUTH = slice(150, 210), slice(90, 166)  # rows and columns of a demo picture: darker the wider the mouth is open
BORDER = 6  # frames on either side of where speech begins or ends
Array = npt.NDArray[np.float64]


class Networks:
    """The server's models, called over gRPC as the runtime calls them; notes the middle of every rendered window."""

    def __init__(self, client: InferenceServerClient) -> None:
        self._client = client
        self.rows: list[npt.NDArray[np.float32]] = []

    async def call(self, model: str, inputs: dict[str, npt.NDArray[np.float32]], *outputs: str) -> list[Array]:
        tensors = []
        for name, value in inputs.items():
            tensor = InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype))
            tensor.set_data_from_numpy(np.ascontiguousarray(value))
            tensors.append(tensor)
        wanted = [InferRequestedOutput(name) for name in outputs]
        result = await self._client.infer(model, tensors, outputs=wanted)
        if model.startswith("render_frames"):
            self.rows.extend(inputs["coefficient_windows"][0, :, :, 13])
        return [result.as_numpy(name) for name in outputs]


class Keypoints(Face):
    """A face whose pictures are the keypoints that the renderer would be given: float32 [15, 3]."""

    networks: Networks

    async def render(self, windows: npt.NDArray[np.float32], frames: int) -> npt.NDArray[np.float32]:
        motion = {
            "canonical_keypoints": self.portrait.renderer_inputs["canonical_keypoints"],
            "coefficient_windows": windows[None],
            "head_angles": np.full((1, 5, 3), NO_ANGLE, np.float32),
        }
        self.networks.rows.extend(windows[:, :, 13])
        [keypoints] = await self.networks.call(motion_model(False), motion, "keypoints")
        return keypoints[0, :frames].astype(np.float32)


class Unobserved:
    """An observer that does not listen."""

    def stage(self, name: str):  # type: ignore[no-untyped-def]
        return nullcontext()

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of the session in real time")
    parser.add_argument(
        "--recording-seconds", type=float, default=1.32, help="of the three recordings; 1.32 is one pose chunk"
    )
    parser.add_argument("--model-config-name", help="variant of the configurations, for instance bf16")
    args = parser.parse_args()
    with Server(ROOT / "model_repository", model_config_name=args.model_config_name) as server:
        measured = asyncio.run(measure(server.grpc_url, args.seconds, args.recording_seconds))
    results = {**describe(), "variant": args.model_config_name or "default", **measured}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "live.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, RESULTS / "live.png")
    print(json.dumps(measured, indent=2))  # noqa: T201


async def measure(url: str, seconds: float, recording_seconds: float) -> dict[str, object]:
    with wave.open(str(ROOT / "examples" / "speech.wav")) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    size = round(recording_seconds * RATE)
    recordings = [speech[start : start + size] for start in np.linspace(0, len(speech) - size, 3).astype(int)]
    client = InferenceServerClient(url)
    try:
        networks = Networks(client)
        animator = Animator(networks.call, lambda model: True, Unobserved(), NoDecoders(), 256, 600, 2, 2)
        portrait = await animator.portrait(PORTRAIT.read_bytes(), Options())
        still = Face(networks.call, portrait, Options(still=True))
        moving = Keypoints(networks.call, portrait, Options())
        moving.networks = networks
        curve = [
            {**one, "yaw_correlation": other["yaw_correlation"]}
            for one, other in zip(
                await look_ahead_curve(networks, still, recordings),
                await look_ahead_curve(networks, moving, recordings),
                strict=True,
            )
        ]
        keypoints = Keypoints(networks.call, portrait, Options())
        keypoints.networks = networks
        continuity = await measure_continuity(keypoints, speech[: 3 * RATE])
    finally:
        await client.close()
    return {
        "look_ahead": curve,
        "continuity": continuity,
        "realtime": await measure_realtime(url, speech, seconds),
    }


async def look_ahead_curve(networks: Networks, face: Face, recordings: list[npt.NDArray[np.int16]]) -> list[dict]:
    rest = await rest_of(face, 1)
    shown: dict[int, list[tuple[Array, Array]]] = {}
    for look_ahead in LOOK_AHEADS:
        shown[look_ahead] = []
        for recording in recordings:
            networks.rows.clear()
            session = LiveSession(LiveOptions(look_ahead=look_ahead, pace="fast"), LIMITS)
            session.speak(recording, RATE)
            session.end()
            pictures = [frame.picture async for frame in session.frames(face, rest, lambda: False)]
            shown[look_ahead].append((np.stack(pictures).astype(float), np.stack(networks.rows[: len(pictures)])))
    curve = []
    for look_ahead, runs in shown.items():
        pairs = list(zip(runs, shown[FULL], strict=True))
        error = np.concatenate([(a[0] - b[0]).ravel() for a, b in pairs])
        opening = [(mouth_opening(a[0]), mouth_opening(b[0])) for a, b in pairs if a[0].ndim == 4]
        yaw = [(a[1][:, YAW], b[1][:, YAW]) for a, b in pairs]
        curve.append(
            {
                "frames": "full" if look_ahead == FULL else look_ahead,
                "mouth_correlation": correlation(opening) if opening else None,
                "yaw_correlation": correlation(yaw) if yaw[0][0].std() > 1e-6 else None,
                "psnr_db": None if not error.any() else round(10 * np.log10(255**2 / (error**2).mean()), 2),
            }
        )
    return curve


def mouth_opening(pictures: Array) -> Array:
    """Return how dark the mouth of every picture [n, 256, 256, 3] is."""
    rows, columns = MOUTH
    darkness: Array = 255 - pictures[:, rows, columns].mean((1, 2, 3))
    return darkness


def correlation(pairs: list[tuple[Array, Array]]) -> float:
    """Correlate over all recordings, each with its own mean removed."""
    a, b = (np.concatenate([values - values.mean() for values in side]) for side in zip(*pairs, strict=True))
    return round(float(np.corrcoef(a, b)[0, 1]), 3)


async def measure_continuity(face: Keypoints, speech: npt.NDArray[np.int16]) -> dict[str, object]:
    rest = await rest_of(face, 125)
    await rest.render(face, range(1, 25))
    found: dict[str, object] = {}
    for look_ahead in (0, 4, FULL):
        session = LiveSession(LiveOptions(look_ahead=look_ahead), LIMITS)
        frames: list[Frame] = []

        async def talk(session: LiveSession = session) -> None:
            await asyncio.sleep(1.1)
            for _ in range(2):
                for at in range(0, len(speech), RATE // 50):
                    session.speak(speech[at : at + RATE // 50], RATE)
                    await asyncio.sleep(0.02)
                session.flush()
                await asyncio.sleep(4.5)
            session.speak(speech, RATE)
            await asyncio.sleep(2.5)
            session.interrupt()
            await asyncio.sleep(2)
            session.end()

        talking = asyncio.create_task(talk())
        async for frame in session.frames(face, rest, lambda: False):
            frames.append(frame)
        await talking
        keypoints = np.stack([frame.picture for frame in frames])
        steps = np.linalg.norm(np.diff(keypoints, axis=0, prepend=keypoints[:1]), axis=2).max(1)
        speaking = np.array([frame.utterance >= 0 for frame in frames])
        border = np.convolve(np.abs(np.diff(speaking.astype(int), prepend=0)), np.ones(2 * BORDER + 1), "same") > 0
        last = np.flatnonzero(speaking)[-1]  # before the interruption
        distance = np.linalg.norm(keypoints - rest.picture(0), axis=2).max(1)
        found["full" if look_ahead == FULL else str(look_ahead)] = {
            "largest_step_within_speech": round(float(steps[speaking & ~border].max()), 5),
            "largest_step_at_its_borders": round(float(steps[border].max()), 5),
            "late_frames": sum(frame.late for frame in frames),
            "largest_distance_from_rest_within_speech": round(float(distance[speaking].max()), 5),
            "distance_from_rest_after_interrupt": [round(float(d), 5) for d in distance[last : last + 16 : 3]],
        }
    return found


async def measure_realtime(url: str, speech: npt.NDArray[np.int16], seconds: float) -> dict[str, object]:
    async with AsyncSadTalkerClient(url) as client, client.live(PORTRAIT) as session:
        frames, times = [], []

        async def talk() -> None:
            begun, said = time.monotonic(), 0
            while said < seconds * RATE:
                piece = np.take(speech, np.arange(said, said + RATE // 50), mode="wrap")
                await session.speak(piece, RATE)
                said += len(piece)
                await asyncio.sleep(max(begun + said / RATE - time.monotonic(), 0))
            await session.end()

        talking = None
        async for frame in session:
            frames.append(frame)
            times.append(time.monotonic())
            if len(frames) == 50:
                talking = asyncio.create_task(talk())
        if talking:
            await talking
    spoken = [frame for frame in frames if frame.latency]
    due = np.array(times) - times[0] - np.arange(len(frames)) / 25
    parts = ("look_ahead", "queue", "compute", "encoding")
    return {
        "seconds": seconds,
        "frames": len(frames),
        "frames_of_speech": len(spoken),
        "sound_seconds": round(sum(len(frame.sound) for frame in spoken) / 96_000, 2),
        "pictures_late_percent": round(100 * sum(frame.late for frame in spoken) / len(spoken), 1),
        "arrival_after_due_seconds": {
            "median": round(float(np.median(due)), 3),
            "p99": round(float(np.quantile(due, 0.99)), 3),
            "max": round(float(due.max()), 3),
        },
        "speech_to_frame_seconds": {
            part: round(float(np.mean([getattr(frame.latency, part) for frame in spoken])), 3) for part in parts
        },
    }


def plot(results: dict, path: Path) -> None:
    figure, (curve, latency) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    rows = results["look_ahead"]
    labels = [str(row["frames"]) for row in rows]
    curve.plot(labels, [row["mouth_correlation"] for row in rows], marker="o", label="mouth opening")
    curve.plot(labels, [row["yaw_correlation"] for row in rows], marker="o", label="yaw")
    curve.set(xlabel="look-ahead, frames", ylabel="correlation with the exact frames", ylim=(0, 1.05))
    curve.legend()
    left = 0.0
    for part, seconds in results["realtime"]["speech_to_frame_seconds"].items():
        latency.barh(["look-ahead 4"], seconds, left=left, label=part.replace("_", "-"))
        left += seconds
    latency.set(xlabel="seconds from speech to frame")
    latency.legend()
    figure.suptitle(f"{results['hardware']['cpu']}, {results['hardware']['cores']} cores, demo weights")
    figure.savefig(path)


if __name__ == "__main__":
    main()
