"""The long attack: `python benchmarks/attack.py [--seed N] [--repository DIR]`, under 15 minutes on two free cores.

Attacks a fresh embedded server on loopback, over tiny networks, step by step: files, options, both ports, uploads,
slow refusals, overload, cancels, slow readers and writers, kills. After every step a valid request has to be served,
readiness to be true, and memory to be bounded. Prints a table, writes benchmarks/results/attack.json; exits with 1
after a finding.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import hostile
import numpy as np
import psutil
import tritonclient.grpc as triton
from attacked_server import export_tiny, memory, seconds_to_serve, valid_request
from endpoint_attacks import grpc_probes, http_probes, refused_or_harmless, slow_writers
from hardware import describe
from hostile_requests import Request, Requests, try_request
from raw_requests import refusal, send, text
from sadtalker_server import Server
from sadtalker_server._processes import find_stubs
from slow_refusals import refused, slow_requests
from tritonclient.utils import InferenceServerException

RESULT = Path(__file__).resolve().parent / "results" / "attack.json"
MOST_SHARED_MB = 1500.0  # the largest uploads of each kind lie there briefly, and their regions are kept
MOST_PROCESS_MB = 1000.0  # private
OPTION_REQUESTS, CANCELS, OVERLOAD = 220, 30, 90
OVERLOAD_PATIENCE_SECONDS = 600.0  # for 80 videos on a busy machine
UPLOAD_GROWTH_MB = 150.0  # of a second round of the same uploads, which reuses the buffers of the first
SLOW_SECONDS = 8.0


@dataclass
class Step:
    """One kind of attack and how it went."""

    name: str
    attacks: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    served_after_seconds: float = 0.0
    largest_process: str = ""
    largest_mb: float = 0.0
    shared_mb: float = 0.0

    def count(self, ending: str, finding: str | None = None) -> None:
        """Add one attack."""
        self.attacks += 1
        self.endings[ending] += 1
        if finding is not None:
            self.findings.append(finding)


def attack_files(server: Server, step: Step, seed: int) -> None:
    """Send every hostile file."""
    base = valid_request()
    corpus = {"image": hostile.pictures(), "audio": hostile.recordings(), "driving": hostile.videos()}
    _try_all(
        server,
        step,
        (
            Request(
                f"{name}, {which}", ({} if name == "driving" else base) | {"image": base["image"], name: text(data)}
            )
            for name, files in corpus.items()
            for which, data in files.items()
        ),
    )


def attack_options(server: Server, step: Step, seed: int) -> None:
    """Send random options and key frames."""
    requests = Requests(seed)
    _try_all(
        server,
        step,
        (requests.of("key frames" if index % 5 == 0 else "options") for index in range(OPTION_REQUESTS)),
    )


def attack_http(server: Server, step: Step, seed: int) -> None:
    """Send HTTP requests that crash Triton's own front end, and noise."""
    for name, request in http_probes(seed).items():
        harmless = refused_or_harmless(server, request)
        step.count("harmless" if harmless else "finding", None if harmless else name)


def attack_grpc(server: Server, step: Step, seed: int) -> None:
    """Call protected methods, unknown models, and models with wrong tensors."""
    for name, probe in grpc_probes(seed).items():
        with triton.InferenceServerClient(server.grpc_url) as client:
            try:
                probe(client)
                step.count("accepted", f"{name} was accepted")
            except InferenceServerException:
                step.count("refused")


def attack_uploads(server: Server, step: Step, seed: int) -> None:
    """Exceed the limits, twice: shared memory grows to the largest upload, and all other memory is returned."""
    held = []
    for _ in range(2):
        for name, megabytes in (("image", 33), ("image", 150), ("audio", 300), ("driving", 520)):
            message = refusal(server.grpc_url, "sadtalker", valid_request() | {name: text(bytes(megabytes * 10**6))})
            is_named = f"{name}: expected at most" in message
            step.count("refused", None if is_named else message[:200])
        held.append(memory(server))
    for name, before in held[0].items():
        if held[1][name] - before > UPLOAD_GROWTH_MB:
            step.findings.append(f"{name} keeps {held[1][name] - before:.0f} MB of a second round")


def attack_patience(server: Server, step: Step, seed: int) -> None:
    """Send requests that take long to be refused."""
    for name, (inputs, beginning) in slow_requests().items():
        clock, processor, message = refused(server, inputs)
        step.count(f"{name}: {clock:.1f} s, {processor:.1f} s of processor time")
        if not message.startswith(beginning):
            step.findings.append(f"{name}: {message[:200]}")


def attack_by_number(server: Server, step: Step, seed: int) -> None:
    """Ask for more videos at once than there are places and room in the queue."""
    with ThreadPoolExecutor(OVERLOAD) as pool:
        outcomes = pool.map(
            lambda _: try_request(server.grpc_url, Request("overload", valid_request()), OVERLOAD_PATIENCE_SECONDS),
            range(OVERLOAD),
        )
        for outcome in outcomes:
            step.count(outcome.ended, outcome.message if outcome.is_finding else None)


def attack_by_leaving(server: Server, step: Step, seed: int) -> None:
    """Cancel videos at every point."""
    requests = Requests(seed)
    _try_all(server, step, (requests.of("cancel") for _ in range(CANCELS)))


def attack_by_sloth(server: Server, step: Step, seed: int) -> None:
    """Write requests byte by byte, and read answers late or never."""
    opened = slow_writers(server, 100, SLOW_SECONDS)
    stop = threading.Event()
    clients = []
    for _ in range(4):  # a blocked callback keeps its client from reading
        client = triton.InferenceServerClient(server.grpc_url)
        client.start_stream(lambda result, error: stop.wait(60))
        tensors = []
        for name, value in {"image": valid_request()["image"], "idle": np.array([[30]], np.float32)}.items():
            tensors.append(triton.InferInput(name, value.shape, "FP32" if name == "idle" else "BYTES"))
            tensors[-1].set_data_from_numpy(value)
        client.async_stream_infer("sadtalker", tensors)
        clients.append(client)
    time.sleep(SLOW_SECONDS)
    with suppress(AssertionError):
        step.count("served meanwhile" if seconds_to_serve(server) else "")
    if not step.endings:
        step.count("finding", "a valid request was not served beside slow callers")
    for connection in opened:
        connection.close()
    stop.set()
    for client in clients:
        client.stop_stream(cancel_requests=True)
        client.close()
    step.attacks += len(opened) + len(clients)


def attack_decoders(server: Server, step: Step, seed: int) -> None:
    """Kill every decoder while requests come."""
    requests = Requests(seed)
    for number in (signal.SIGKILL, signal.SIGSEGV):
        for child in psutil.Process(server.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if child.ppid() in _fork_servers(server):
                    child.send_signal(number)
                    step.count(number.name)
        outcome = try_request(server.grpc_url, requests.of("valid"))  # may meet a dead decoder, once
        if outcome.ended == "unanswered":
            step.findings.append(outcome.message)
        for _ in range(4):
            with suppress(InferenceServerException):
                send(server.grpc_url, "sadtalker", valid_request())


def attack_processes(server: Server, step: Step, seed: int) -> None:
    """Kill a model's process, or tritonserver, during a video: the caller gets an error and the server recovers."""
    for victim in ("sadtalker", "portrait_crop", "tritonserver"):
        stubs = {stub.model: stub.pid for stub in find_stubs(server.pid)}
        idle = Request(victim, {"image": valid_request()["image"], "idle": np.array([[30]], np.float32)})
        start = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(_outcome_of_broken, server.grpc_url, idle)
            time.sleep(1)
            os.kill(stubs.get(victim, server.pid), signal.SIGKILL)
            start = time.monotonic()
            told = answer.result()
        server.wait()
        server.restart()
        seconds_to_serve(server)
        again = time.monotonic() - start
        step.count(f"{victim}: serves again after {again:.1f} s", None if told else f"{victim}: the caller hung")


def _outcome_of_broken(url: str, request: Request) -> bool:
    """Return whether a caller gets any error, a broken connection included."""
    return try_request(url, request, patience=60).ended != "unanswered"


def _fork_servers(server: Server) -> set[int]:
    children = psutil.Process(server.pid).children(recursive=True)
    found = set()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            if "forkserver" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


def _try_all(server: Server, step: Step, requests: Iterable[Request]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for outcome in pool.map(lambda request: try_request(server.grpc_url, request), requests):
            step.count(outcome.ended, f"{outcome.kind}: {outcome.message[:200]}" if outcome.is_finding else None)


STEPS: dict[str, Callable[[Server, Step, int], None]] = {
    "hostile files": attack_files,
    "options": attack_options,
    "HTTP": attack_http,
    "gRPC": attack_grpc,
    "large uploads": attack_uploads,
    "slow refusals": attack_patience,
    "overload": attack_by_number,
    "cancels": attack_by_leaving,
    "slow callers": attack_by_sloth,
    "dead decoders": attack_decoders,
    "dead processes": attack_processes,
}


def run_step(server: Server, name: str, seed: int) -> Step:
    """Make one attack, then check whether the server still serves."""
    step, start = Step(name), time.monotonic()
    try:
        STEPS[name](server, step, seed)
        step.seconds = round(time.monotonic() - start, 1)
        step.served_after_seconds = round(seconds_to_serve(server), 2)
        held = memory(server)
        step.shared_mb = round(held.pop("/dev/shm"), 1)
        step.largest_process = max(held, key=lambda process: held[process])
        step.largest_mb = round(held[step.largest_process], 1)
        if step.largest_mb > MOST_PROCESS_MB or step.shared_mb > MOST_SHARED_MB:
            step.findings.append("more memory than expected")
    except Exception as error:  # an attack that fails is a finding, and the next one is tried
        step.findings.append(repr(error)[:300])
    return step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument("--repository", type=Path, help="with exported networks; by default tiny ones are made")
    parser.add_argument("--only", nargs="+", choices=STEPS, help="steps; nothing is written then")
    args = parser.parse_args()
    machine, steps, start = describe(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        repository = args.repository or export_tiny(Path(folder))
        server = Server(repository, tritonserver="embedded", log_file=Path(folder) / "log")
        with server:
            seconds_to_serve(server)
            head = (
                f"{'step':16} {'attacks':>7} {'findings':>8} {'s':>6} {'then served in':>14} {'largest':>24} /dev/shm"
            )
            print(head)  # noqa: T201
            for name in args.only or STEPS:
                step = run_step(server, name, args.seed)
                steps.append(step)
                print(  # noqa: T201
                    f"{name:16} {step.attacks:7} {len(step.findings):8} {step.seconds:6.1f} "
                    f"{step.served_after_seconds:12.2f} s {step.largest_process:>14} {step.largest_mb:6.0f} MB "
                    f"{step.shared_mb:5.0f} MB  {dict(step.endings)} {step.findings[:3] or ''}",
                    flush=True,
                )
    result = {
        "what": f"attacks on the embedded server over tiny networks, seed {args.seed}",
        **machine,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "steps": [asdict(step) | {"endings": dict(step.endings)} for step in steps],
    }
    if not args.only:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(step.findings for step in steps))


if __name__ == "__main__":
    sys.exit(main())
