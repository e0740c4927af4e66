"""Triton's own statistics of a run: time in queues and in computation, batches formed, completions."""

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import tritonclient.grpc as triton

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ModelUse:
    """Work of one model during a run. Times are means per request; `batches`: executions by the items in them."""

    requests: int
    executions: int
    queue_ms: float
    compute_ms: float
    batches: dict[int, int]


def snapshot(client: triton.InferenceServerClient, key: dict[str, str]) -> dict[str, Any]:
    """Return the statistics of every model so far, by name. `key`: the headers that open them."""
    return {model.name: model for model in client.get_inference_statistics(headers=key).model_stats}


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, ModelUse]:
    """Return the differences between two snapshots, of the models that executed anything."""
    uses = {}
    for name, end in after.items():
        start = before[name]
        executions = end.execution_count - start.execution_count
        requests = end.inference_stats.success.count - start.inference_stats.success.count
        if executions and requests:
            stages = ("queue", "compute_input", "compute_infer", "compute_output")
            queue, *compute = (_seconds(end, stage) - _seconds(start, stage) for stage in stages)
            batches = _batches(end)
            batches.subtract(_batches(start))
            times = (1000 * seconds / requests for seconds in (queue, sum(compute)))
            uses[name] = ModelUse(requests, executions, *times, dict(sorted((+batches).items())))
    return uses


def _seconds(statistics: Any, stage: str) -> float:
    return float(getattr(statistics.inference_stats, stage).ns) / 1e9


def _batches(statistics: Any) -> Counter[int]:
    return Counter({batch.batch_size: batch.compute_infer.count for batch in statistics.batch_stats})


class CompletionWatch:
    """Counts a model's finished requests while the `with` block runs.

    perf_analyzer rounds the length of a run with a fixed number of requests up to whole seconds, so the throughput it
    reports for short runs is too low; and dividing by the whole run would count the start, when nothing can be ready.
    """

    def __init__(self, url: str, model: str, key: dict[str, str]) -> None:
        self._client, self._model, self._key = triton.InferenceServerClient(url), model, key
        self._samples: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="completions")

    def __enter__(self) -> "CompletionWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    @property
    def per_second(self) -> float | None:
        """Completions per second between the first and the last; None where they were seen all at once."""
        return rate(self._samples)

    def _watch(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            stats = self._client.get_inference_statistics(self._model, headers=self._key).model_stats[0]
            self._samples.append((time.perf_counter(), stats.inference_stats.success.count))


def rate(samples: list[tuple[float, int]]) -> float | None:
    """Compute the slope from the first increase to the last of samples (seconds, count so far) in order of time."""
    rises = [later for earlier, later in itertools.pairwise(samples) if later[1] > earlier[1]]
    if len(rises) < 2:
        return None
    (start, first), (end, last) = rises[0], rises[-1]
    return (last - first) / (end - start)
