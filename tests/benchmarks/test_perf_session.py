"""The order of runs, the search for a rate, and the result and its picture, on a server that is a formula."""

import json
from pathlib import Path

import pytest
from perf_analyzer.load import Level, OutOfTimeError
from perf_analyzer.model_statistics import ModelUse
from perf_analyzer.plots import plot
from perf_analyzer.poisson import search
from perf_analyzer.scenarios import KINDS, LATENCY_LIMIT, POISSON_PROBES, POISSON_RANGE, SCENARIOS, Scenario
from perf_analyzer.session import measure

SERVICE_MS = 100.0
FRAMES = 15


class FormulaServer:
    """One request at a time takes SERVICE_MS; others wait. Takes the place of `load.Bench`."""

    def __init__(self, runs: int = 1000, missing: str = "") -> None:
        self._runs, self._missing = runs, missing
        self.log: list[tuple[str, str]] = []

    def serves(self, model: str) -> bool:
        return model != self._missing

    def warm_up(self, scenario: Scenario, concurrency: int) -> None:
        self.log.append((scenario.model, "warm_up"))

    def closed_loop(self, scenario: Scenario, kind: str, concurrency: int, requests: int) -> Level:
        return self._level(scenario, kind, concurrency, None, SERVICE_MS * concurrency, requests)

    def open_loop(self, scenario: Scenario, rate: float, requests: int) -> Level:
        busy = rate * SERVICE_MS / 1000
        latency = SERVICE_MS / (1 - busy) if busy < 1 else 1e5
        return self._level(scenario, "poisson", None, rate, latency, requests)

    def _level(
        self, scenario: Scenario, kind: str, concurrency: int | None, rate: float | None, latency: float, requests: int
    ) -> Level:
        if len([kind for _, kind in self.log if kind != "warm_up"]) == self._runs:
            raise OutOfTimeError
        self.log.append((scenario.model, kind))
        percentiles = {"mean": latency, "p50": latency, "p90": latency, "p95": latency, "p99": 1.1 * latency}
        fragments = [latency / 3, latency / 2, latency] if scenario.streaming else []
        use = ModelUse(requests, requests // 2, latency - SERVICE_MS, SERVICE_MS, {1: requests // 2})
        models = dict.fromkeys({scenario.model, "face_renderer"}, use)
        per_second = 1000 / SERVICE_MS if concurrency else None
        return Level(scenario.model, kind, concurrency, rate, requests, per_second, percentiles, fragments, models)


def head() -> dict:
    return {
        "what": "a formula",
        "hardware_name": "paper",
        "hardware": {"load_before": 0.0},
        "versions": {"onnxruntime-openvino": "1"},
        "commit": "0",
        "date": "2026-01-01",
        "preset": "tiny",
        "perf_analyzer": "2",
        "tritonserver": "2",
    }


@pytest.mark.parametrize("limit", [200.0, 300.0, 1000.0])
def test_search_ends_within_one_step_below_the_limit(limit: float):
    capacity = 1000 / SERVICE_MS
    server = FormulaServer()
    tried = []

    def probe(rate: float) -> Level:
        tried.append(rate)
        return server.open_loop(SCENARIOS["sadtalker"], rate, 10)

    best = search(capacity, limit, probe)
    exact = capacity * (1 - SERVICE_MS / limit)
    step = (POISSON_RANGE[1] - POISSON_RANGE[0]) * capacity / 2**POISSON_PROBES
    assert len(tried) == POISSON_PROBES
    assert best is not None
    assert best <= exact <= best + step + 1e-9


def test_search_that_finds_nothing_says_so():
    server = FormulaServer()
    assert search(10.0, SERVICE_MS / 2, lambda rate: server.open_loop(SCENARIOS["sadtalker"], rate, 10)) is None


def test_whole_session():
    server, shown = FormulaServer(missing="motion"), []
    result = measure(server, list(SCENARIOS.values()), KINDS, FRAMES, shown.append)
    assert result["complete"]
    assert result["not_served"] == ["motion"]
    assert len(shown) == len(result["levels"])
    kinds = ["warm_up", "smoke", "sweep", "sweep", "sweep", *["poisson"] * POISSON_PROBES]
    assert [kind for model, kind in server.log if model == "sadtalker"] == kinds
    assert {level["model"] for level in result["levels"] if level["kind"] == "poisson"} == {
        "render_frames",
        "sadtalker",
    }
    assert result["poisson"]["sadtalker"]["limit_ms"] == LATENCY_LIMIT * SERVICE_MS
    for level in result["levels"]:
        assert level["latency_ms"]["n"] == level["requests"], "a percentile without its n says nothing"
    sweep = next(x for x in result["levels"] if (x["model"], x["kind"]) == ("sadtalker", "sweep"))
    assert sweep["frames_per_second"] == FRAMES * 1000 / SERVICE_MS
    assert sweep["first_fragment_ms"]["n"] == 3
    assert sweep["models"]["face_renderer"]["mean_batch"] == 1


@pytest.mark.parametrize("kinds", [KINDS, KINDS[:1]])
def test_picture(kinds: tuple[str, ...], tmp_path: Path):
    result = head() | measure(FormulaServer(), list(SCENARIOS.values()), kinds, FRAMES, lambda level: None)
    assert json.loads(json.dumps(result)) == result, "drawn from memory or from the file, it is the same"
    plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_session_without_time_keeps_what_it_has():
    result = measure(FormulaServer(runs=3), [SCENARIOS["sadtalker"]], KINDS, FRAMES, lambda level: None)
    assert not result["complete"]
    assert len(result["levels"]) == 3
    assert result["poisson"] == {}
