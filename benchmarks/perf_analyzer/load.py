"""Measures one model under one level of load with perf_analyzer."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tritonclient.grpc as triton

from .exports import read_latency, read_profile, strip_tensors
from .inputs import write_input
from .model_statistics import CompletionWatch, ModelUse, difference, snapshot
from .scenarios import Scenario
from .tool import Tool, ToolError


class OutOfTimeError(Exception):
    """The time for the whole session is over."""


@dataclass(frozen=True)
class Level:
    """One run. Either `concurrency` or `rate` (requests per second, Poisson) is set.

    `requests` is what percentiles are taken over: n. `per_second`: requests finished, None where the run was too short
    to tell. `fragments_ms`: time to the first fragment of each video, in the order of sending.
    """

    model: str
    kind: str
    concurrency: int | None
    rate: float | None
    requests: int
    per_second: float | None
    latency_ms: dict[str, float]
    first_fragment_ms: list[float]
    models: dict[str, ModelUse] = field(repr=False)


class Bench:
    """A server, a perf_analyzer, and a folder for what it writes.

    `files`: contents of BYTES inputs, by name. After `deadline` (of `time.monotonic`) no run goes on. `key`: the
    headers that open statistics and configurations.
    """

    def __init__(
        self, tool: Tool, url: str, folder: Path, files: Mapping[str, bytes], deadline: float, key: dict[str, str]
    ) -> None:
        self._tool, self._url, self._folder, self._files, self._deadline = tool, url, folder, files, deadline
        self._key = key
        self._client = triton.InferenceServerClient(url)

    def serves(self, model: str) -> bool:
        """Return whether the server has the model ready."""
        return bool(self._client.is_model_ready(model))

    def server_version(self) -> str:
        """Return Triton's own version."""
        return str(self._client.get_server_metadata().version)

    def warm_up(self, scenario: Scenario, concurrency: int) -> None:
        """Send one request of each client."""
        self._analyze(scenario, "warm_up", {"concurrency-range": concurrency, "request-count": concurrency})

    def closed_loop(self, scenario: Scenario, kind: str, concurrency: int, requests: int) -> Level:
        """Run clients that each wait for their answer before they ask again."""
        requests = max(requests, concurrency)
        options = {"concurrency-range": concurrency, "request-count": requests}
        return self._measure(scenario, kind, options, concurrency, None)

    def open_loop(self, scenario: Scenario, rate: float, requests: int) -> Level:
        """Send requests at random instants, `rate` per second on average, whether or not others were answered."""
        options = {
            "request-rate-range": f"{rate:.4g}:{rate:.4g}:1",
            "request-distribution": "poisson",
            "request-count": max(requests, int(rate) + 1),  # perf_analyzer wants a second's worth at least
        }
        return self._measure(scenario, "poisson", options, None, rate)

    def _measure(
        self, scenario: Scenario, kind: str, options: Mapping[str, object], concurrency: int | None, rate: float | None
    ) -> Level:
        name = f"{kind}_{concurrency or f'{rate:.3g}'}"
        before = snapshot(self._client, self._key)
        with CompletionWatch(self._url, scenario.model, self._key) as completions:
            report, profile = self._analyze(scenario, name, options)
        models = difference(before, snapshot(self._client, self._key))
        per_second, fragments = completions.per_second, []
        if profile is not None:
            answered = read_profile(profile)
            strip_tensors(profile)
            per_second = len(answered) / max(request.responses[-1] for request in answered)
            fragments = [1000 * (request.responses[0] - request.sent) for request in answered]
        n = models[scenario.model].requests
        return Level(scenario.model, kind, concurrency, rate, n, per_second, read_latency(report), fragments, models)

    def _analyze(self, scenario: Scenario, name: str, options: Mapping[str, object]) -> tuple[Path, Path | None]:
        """Run perf_analyzer. Returns its CSV report and, of a streaming model, its profile export.

        Other models' exports would repeat some 40 MB of numbers as text for each request.
        """
        folder = self._folder / scenario.model
        folder.mkdir(parents=True, exist_ok=True)
        data = folder / "input.json"
        if not data.exists():
            write_input(self._client.get_model_config(scenario.model, headers=self._key).config, data, self._files)
        report, profile = folder / f"{name}.csv", folder / f"{name}.profile.json"
        command: list[object] = [self._tool.binary, "-m", scenario.model, "-u", self._url, "-i", "grpc", "--async"]
        command += [f"-H{name}:{value}" for name, value in self._key.items()]
        command += ["--input-data", data, "-f", report, "--verbose-csv"]
        if scenario.streaming:
            profile.unlink(missing_ok=True)  # perf_analyzer refuses to overwrite
            command += ["--streaming", "--profile-export-file", profile]
        command += [f"--{option}={value}" for option, value in options.items()]
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise OutOfTimeError
        log = folder / f"{name}.log"
        with log.open("w") as output:
            try:
                code = subprocess.run(
                    list(map(str, command)),
                    env=self._tool.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=left,
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise OutOfTimeError from error
        if code:
            lines = [line for line in log.read_text().splitlines() if "rror" in line or "ailed" in line]
            raise ToolError(f"perf_analyzer failed on {scenario.model} ({log}): {' '.join(lines[:3])}")
        return report, profile if scenario.streaming else None
