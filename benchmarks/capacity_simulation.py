"""Queues of one node and of a cluster, simulated: what `capacity.py` draws its conclusions from.

A node renders chunks of frames, all that wait up to a limit in one execution. A cluster gives each video a place on a
GPU for as long as the video lasts, in the order of arrival; an autoscaler adds and removes GPUs, with a lag.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batches:
    """An execution of n chunks takes `fixed + n * each` seconds; at most `most` go together."""

    fixed: float
    each: float
    most: int

    def seconds(self, chunks: int) -> float:
        return self.fixed + chunks * self.each


@dataclass(frozen=True)
class Video:
    """`preparation` seconds, then `chunks`, of which at most `in_flight` are asked for at a time."""

    preparation: float
    chunks: int
    in_flight: int


def finish_times(arrivals: Floats, batches: Batches) -> Floats:
    """Return when chunks that arrive at these instants (sorted, seconds) are rendered by one node, first come first."""
    finished = np.empty_like(arrivals)
    free, i = 0.0, 0
    while i < len(arrivals):
        start = max(free, float(arrivals[i]))
        n = min(int(np.searchsorted(arrivals[i : i + batches.most], start, "right")), batches.most)
        free = finished[i : i + n] = start + batches.seconds(n)
        i += n
    return finished


def closed_loop(clients: int, video: Video, batches: Batches, videos_each: int = 20) -> tuple[float, float]:
    """Simulate clients on one node, each with one video after the other: chunks per second, chunks per execution."""
    waiting = [
        (video.preparation, client) for client in range(clients) for _ in range(min(video.in_flight, video.chunks))
    ]
    heapq.heapify(waiting)
    asked = [min(video.in_flight, video.chunks)] * clients
    rendered, videos = [0] * clients, [0] * clients
    free, executions = 0.0, 0
    while waiting:
        start = max(free, waiting[0][0])
        batch = []
        while waiting and waiting[0][0] <= start and len(batch) < batches.most:
            batch.append(heapq.heappop(waiting)[1])
        free = start + batches.seconds(len(batch))
        executions += 1
        for client in batch:
            rendered[client] += 1
            if asked[client] < video.chunks:
                asked[client] += 1
                heapq.heappush(waiting, (free, client))
            elif rendered[client] == video.chunks:
                rendered[client], videos[client] = 0, videos[client] + 1
                asked[client] = min(video.in_flight, video.chunks)
                if videos[client] < videos_each:
                    for _ in range(asked[client]):
                        heapq.heappush(waiting, (free + video.preparation, client))
    chunks = clients * videos_each * video.chunks
    return chunks / free, chunks / executions


@dataclass(frozen=True)
class Autoscaler:
    """Kubernetes' autoscaler on live load, as k8s/components/autoscaling-hpa has it; times in seconds.

    Wants `(videos live + waiting) / (places * target)` GPUs, looks every `period`, at most doubles in a minute. New
    GPUs serve after `lag`. Before it gives GPUs back it looks back over `patience`; then `release` of them may go in a
    minute.
    """

    target: float = 0.8
    period: int = 15
    lag: int = 180
    patience: int = 600
    release: float = 0.1
    least: int = 2


@dataclass(frozen=True)
class Trace:
    """A simulated cluster, second by second: videos that arrived, began, are live, wait; GPUs that serve, are paid."""

    arrived: Integers
    began: Integers
    live: Integers
    waiting: Integers
    serving: Integers
    paid: Integers

    def waits(self) -> Integers:
        """Return seconds that each video waited which has begun, in the order of arrival."""
        seconds = np.arange(len(self.arrived))
        begun = np.repeat(seconds, self.began)
        return begun - np.repeat(seconds, self.arrived)[: len(begun)]


def cluster(
    rate: Floats, mean_seconds: float, places: int, scaler: Autoscaler | None, gpus: int, random: np.random.Generator
) -> Trace:
    """Simulate a cluster that starts with `gpus` of `places` videos each; with `scaler` None it stays so.

    rate: expected arrivals in each second (Poisson). Videos last a geometric number of seconds, `mean_seconds` on
    average.
    """
    steps = len(rate)
    arrived = random.poisson(rate)
    began, live, waiting, serving, paid = (np.zeros(steps, np.int64) for _ in range(5))
    ending = np.zeros(steps + 1, np.int64)  # videos that end at the beginning of a second
    coming = np.zeros(steps + 1, np.int64)  # GPUs that begin to serve then
    now = queue = ordered = 0
    capacity = paying = gpus
    wanted = np.full(steps, gpus)
    for t in range(steps):
        now -= int(ending[t])
        capacity += int(coming[t])
        ordered -= int(coming[t])
        queue += int(arrived[t])
        starting = max(0, min(queue, capacity * places - now))
        if starting:
            lengths = np.minimum(t + random.geometric(1 / mean_seconds, starting), steps)
            first = int(lengths.min())
            counts = np.bincount(lengths - first)
            ending[first : first + len(counts)] += counts
        now, queue = now + starting, queue - starting
        if scaler and t % scaler.period == 0:
            need = max(scaler.least, math.ceil((now + queue) / (places * scaler.target)))
            wanted[t : t + scaler.period] = need
            size = capacity + ordered
            if need > size:
                growth = min(need - size, math.ceil(size * (2 ** (scaler.period / 60) - 1)))
                coming[min(t + scaler.lag, steps)] += growth
                ordered += growth
            else:
                highest = int(wanted[max(0, t - scaler.patience) : t + 1].max())
                capacity -= min(max(0, capacity - highest), math.ceil(capacity * scaler.release * scaler.period / 60))
        paying = max(capacity, math.ceil(now / places)) + ordered  # a GPU that is given back finishes its videos
        began[t], live[t], waiting[t], serving[t], paid[t] = starting, now, queue, capacity, paying
    return Trace(arrived, began, live, waiting, serving, paid)
