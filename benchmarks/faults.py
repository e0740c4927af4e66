"""Faults: which process dies, what the caller of a running video sees, and the time to recovery.

`python benchmarks/faults.py` starts `sadtalker-server --restart=always` over the exported networks once for each fault,
begins a video, and kills something. Writes benchmarks/results/faults.json; exits 1 if a caller was left hanging.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import psutil
from hardware import describe
from sadtalker_client import DeadlineExceededError, SadTalkerClient, SadTalkerError
from sadtalker_server._processes import find_stubs

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "faults.json"
PORTRAIT, SPEECH = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "speech.wav"
PATIENCE_SECONDS = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    parser.add_argument("--only", nargs="+", help="names of models, or tritonserver, launcher, largest, stop")
    args = parser.parse_args()
    with Launcher(args.repository) as launcher:
        models = sorted({stub.model for stub in find_stubs(launcher.tritonserver().pid)})
    faults = []
    for name in args.only or [*models, "largest", "tritonserver", "launcher", "stop"]:
        faults.append(try_fault(name, args.repository))
        print(json.dumps(faults[-1]), flush=True)  # noqa: T201
    preset = json.loads((args.repository / "exported.json").read_text())["preset"]
    result = {
        "what": f"faults during a video, preset {preset}; kill is SIGKILL, stop SIGTERM; --restart=always pauses 1 s",
        **describe(),
        "faults": faults,
    }
    if not args.only:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(fault["caller_sees"] == "nothing" for fault in faults))


class Launcher:
    """A ready `sadtalker-server`, of this environment or of another one's `bin`, on ports of its own.

    Args:
        prefix: a command that runs it.
    """

    def __init__(self, repository: Path, binaries: Path | None = None, prefix: Sequence[str] = ()) -> None:
        binary = (binaries or Path(sys.executable).parent) / "sadtalker-server"
        command = [*prefix, str(binary), f"--model-repository={repository}"]
        command += ["--http-port=0", "--grpc-port=0", "--restart=always"]
        with tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
            banner = ""
            while "Ctrl-C" not in banner:
                line = self.process.stdout.readline()
                if not line:
                    log.seek(0)
                    raise RuntimeError(log.read().decode()[-2000:])
                banner += line
        self.grpc, self.http = (re.search(rf"^  {name} +(\S+)", banner, re.MULTILINE)[1] for name in ("gRPC", "HTTP"))

    def __enter__(self) -> "Launcher":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)

    def tritonserver(self) -> psutil.Process:
        """Return the server's process."""
        [process] = psutil.Process(self.process.pid).children()
        return process

    def is_ready(self) -> bool:
        """Return the answer of the readiness probe."""
        try:
            return urllib.request.urlopen(f"{self.http}/readyz", timeout=5).status == 200
        except OSError:
            return False


def try_fault(name: str, repository: Path) -> dict[str, object]:
    """Kill `name` during a video."""
    launcher = Launcher(repository)
    with launcher, SadTalkerClient(launcher.grpc, timeout=PATIENCE_SECONDS) as client:
        video = client.animate(PORTRAIT, SPEECH)
        frames = next(video).frames_done
        pid, number = victim(name, launcher)
        start = time.monotonic()
        os.kill(pid, number)
        while launcher.is_ready() and time.monotonic() - start < PATIENCE_SECONDS:
            time.sleep(0.005)
        unready = time.monotonic() - start
        seen = "the whole video"
        try:
            for fragment in video:
                frames = fragment.frames_done
        except DeadlineExceededError:
            seen = "nothing"
        except SadTalkerError as error:
            seen = f"{type(error).__name__}: {str(error).partition(': ')[2] or error}"
        answered = time.monotonic() - start
        ended = None
        if name in ("launcher", "stop"):
            launcher.process.wait(PATIENCE_SECONDS)
            ended = time.monotonic() - start
            launcher = Launcher(repository)  # what systemd or Kubernetes would do
        while not launcher.is_ready():
            time.sleep(0.02)
        serving = time.monotonic() - start
        with launcher, SadTalkerClient(launcher.grpc, timeout=PATIENCE_SECONDS) as again:
            next(again.animate(PORTRAIT, SPEECH))
    return {
        "killed": name,
        "signal": number.name,
        "caller_sees": seen,
        "after_seconds": round(answered, 2),
        "not_ready_after_seconds": round(unready, 3),
        "launcher_ended_after_seconds": None if ended is None else round(ended, 2),
        "ready_again_after_seconds": round(serving, 2),
        "frames": frames,
    }


def victim(name: str, launcher: Launcher) -> tuple[int, signal.Signals]:
    """Process id and signal of a fault."""
    if name in ("launcher", "stop"):
        return launcher.process.pid, signal.SIGTERM if name == "stop" else signal.SIGKILL
    tritonserver = launcher.tritonserver()
    if name == "tritonserver":
        return tritonserver.pid, signal.SIGKILL
    stubs = find_stubs(tritonserver.pid)
    if name == "largest":  # the choice of the kernel's OOM killer
        return max((stub.pid for stub in stubs), key=lambda pid: psutil.Process(pid).memory_info().rss), signal.SIGKILL
    return next(stub.pid for stub in stubs if stub.model == name), signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main())
