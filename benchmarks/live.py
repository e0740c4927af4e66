"""Live sessions: `python benchmarks/live.py [--seconds 60]`: latency, what a shorter look-ahead costs, continuity.

Measurements over one server, under ten minutes in all where two cores render five frames per second:
- Sessions in this process, over the server's networks, at pace fast, for every look-ahead and three recordings, against
  the full look-ahead: with the head held still, mouth opening (correlation) and pictures (PSNR); moving, without
  rendering, the head's yaw (correlation).
- How smoothly speech begins, ends and is interrupted: live_continuity.py.
- Sessions through the client, in real time and as fast as the machine can: live_sessions.py.

Writes benchmarks/results/live.json and .png.
"""

import argparse
import asyncio
import json
import sys
import time
import wave
from contextlib import nullcontext
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from hardware import describe
from live_continuity import Keypoints, measure_continuity, measure_interruption
from live_sessions import RATE, measure_capacity, measure_realtime
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.live.face import Face, NoDecoders, rest_of
from sadtalker_runtime.live.frames import Limits
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
LOOK_AHEADS = (0, 2, 4, 8, 13, FULL)
LIMITS = Limits(600, 300, 600, 10**9, 2)
YAW = 65  # among the 70 coefficients
MOUTH = slice(150, 210), slice(90, 166)  # rows and columns of a demo picture: darker the wider the mouth is open
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
    parser.add_argument(
        "--model-config-name",
        default="auto",
        help="variant of the configurations; by default bf16 where this processor computes in it",
    )
    args = parser.parse_args()
    origin = describe()
    progress("starting the server")
    with Server(ROOT / "model_repository", model_config_name=args.model_config_name) as server:
        measured = asyncio.run(measure(server.grpc_url, args.seconds, args.recording_seconds))
    results = {**origin, "variant": server.model_config_name or "default", **measured}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "live.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, RESULTS / "live.png")
    print(json.dumps(measured, indent=2))  # noqa: T201


def progress(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


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
        moving = Keypoints(networks, portrait, Options())
        progress("what a shorter look-ahead costs")
        curve = [
            {**one, "yaw_correlation": other["yaw_correlation"]}
            for one, other in zip(
                await look_ahead_curve(networks, still, recordings),
                await look_ahead_curve(networks, moving, recordings),
                strict=True,
            )
        ]
        progress("continuity, a minute")
        continuity = await measure_continuity(moving, speech[: 3 * RATE])
        interruption = await measure_interruption(
            Keypoints(networks, portrait, Options(still=True, blink=False)), speech[: 3 * RATE]
        )
    finally:
        await client.close()
    return {
        "look_ahead": curve,
        "continuity": continuity,
        "interruption": interruption,
        **await measure_sessions(url, speech, seconds),
    }


async def measure_sessions(url: str, speech: npt.NDArray[np.int16], seconds: float) -> dict[str, object]:
    progress("a session as fast as the machine can, half a minute")
    capacity = await measure_capacity(url, PORTRAIT, speech)
    progress(f"a session in real time, {seconds:g} s of speech")
    realtime = await measure_realtime(url, PORTRAIT, speech, seconds)
    return {"capacity": capacity, "realtime": realtime}


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
