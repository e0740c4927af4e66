"""The renderer's training data: one portrait and the same person in motion, made by worker processes."""

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.queues import Queue

import numpy as np
import numpy.typing as npt

from ..coefficients import (
    BLINK,
    JAW,
    ROUND,
    UPPER_LIP,
    Floats,
    frame_coefficients,
    random_blendshapes,
    random_pose,
)
from .person import Person

DRIVEN = 4  # frames per portrait
STILL_HEAD, UNCHANGED = 0.5, 0.1  # shares of driven frames with the portrait's pose, and with its expression as well
PRESSED, SHUT = 0.2, 0.25  # shares of driven frames made to press their lips, as on m, b and p, and to shut their eyes
MERGED = 4  # fresh episodes taken over per episode drawn, at most
PATIENCE = 5.0  # seconds between looks at whether the workers live
QUEUED = 8  # episodes that a worker makes ahead


@dataclass(frozen=True)
class Episode:
    """A portrait, `DRIVEN` other frames of the same person, and the motion between them."""

    source: npt.NDArray[np.uint8]  # [256, 256, 3]
    driving: npt.NDArray[np.uint8]  # [DRIVEN, 256, 256, 3]
    flow: npt.NDArray[np.float16]  # where in the source: [DRIVEN, 64, 64, 2]
    visible: npt.NDArray[np.uint8]  # there, 0 or 1: [DRIVEN, 64, 64]
    keypoints: Floats  # canonical: [15, 3]
    source_coefficients: Floats  # [70]
    driving_coefficients: Floats  # [DRIVEN, 70]


def episode(seed: int) -> Episode:
    """Return the episode of a seed: always the same."""
    person = Person(seed)
    rng = person.rng
    source = person.view(random_blendshapes(rng, resting=True), random_pose(rng, resting=True))
    views = []
    for _ in range(DRIVEN):
        luck = rng.random()
        pose = source.pose if luck < STILL_HEAD else random_pose(rng)
        views.append(person.view(source.blendshapes if luck < UNCHANGED else _driven(rng), pose))
    flows, visible = zip(*(person.flow(view, source) for view in views), strict=True)
    return Episode(
        source=source.picture,
        driving=np.stack([view.picture for view in views]),
        flow=np.stack(flows).astype(np.float16),
        visible=np.stack(visible).astype(np.uint8),
        keypoints=person.shape.keypoints(),
        source_coefficients=frame_coefficients(source.blendshapes, source.pose),
        driving_coefficients=np.stack([frame_coefficients(view.blendshapes, view.pose) for view in views]),
    )


def _driven(rng: np.random.Generator) -> Floats:
    """Draw the blendshapes of a speaking face: more closed lips and eyes than speech has, as they are hard to learn."""
    blendshapes = random_blendshapes(rng)
    if rng.random() < PRESSED:
        blendshapes[[JAW, ROUND, UPPER_LIP]] = 0
    if rng.random() < SHUT:
        blendshapes[BLINK] = 1
    return blendshapes


class EpisodeBuffer:
    """The last `capacity` episodes that workers have made, drawn from at random, each several times.

    Training is often faster than painting: an episode is drawn as often as time allows until newer ones replace it.
    """

    def __init__(self, made: "Queue[Episode]", capacity: int, seed: int, working: Callable[[], bool]) -> None:
        self.made, self.capacity, self.working = made, capacity, working
        self.episodes: list[Episode] = []
        self.received = 0
        self.rng = np.random.default_rng(seed)

    def draw(self, count: int, *, fresh: int | None = None) -> list[Episode]:
        """Return `count` episodes, after taking over up to `fresh` new ones (default: `MERGED` for each).

        Wait while fewer than twice as many were made, however slow the workers. Raise `RuntimeError` if none is left.
        """
        for _ in range(MERGED * count if fresh is None else max(fresh, 2 * count - len(self.episodes))):
            newest = self._next(wait=len(self.episodes) < 2 * count)
            if newest is None:
                break
            if len(self.episodes) < self.capacity:
                self.episodes.append(newest)
            else:
                self.episodes[self.received % self.capacity] = newest
            self.received += 1
        chosen = self.rng.choice(len(self.episodes), count, replace=False)
        return [self.episodes[i] for i in chosen]

    def _next(self, *, wait: bool) -> Episode | None:
        """Return the next episode that was made; None if there is none yet and nobody is to wait."""
        while True:
            try:
                return self.made.get(block=wait, timeout=PATIENCE)
            except queue.Empty:
                if not wait:
                    return None
                if not self.working():
                    raise RuntimeError("expected an episode, but no process is left that makes them") from None


@contextmanager
def episode_buffer(workers: int, capacity: int, first_seed: int) -> Iterator[EpisodeBuffer]:
    """Open a buffer, and processes that fill it with the episodes of `first_seed`, `first_seed` + 1, ..."""
    context = multiprocessing.get_context("spawn")
    made: Queue[Episode] = context.Queue(workers * QUEUED)
    processes = [
        context.Process(target=_work, args=(made, first_seed + i, workers), daemon=True) for i in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        yield EpisodeBuffer(made, capacity, first_seed, lambda: any(process.is_alive() for process in processes))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(made: "Queue[Episode]", seed: int, step: int) -> None:
    """Make the episodes of every `step`-th seed for as long as there is somebody to take them."""
    parent = os.getppid()
    while True:
        fresh = episode(seed)
        while True:
            if os.getppid() != parent:
                os._exit(0)  # the queue's thread would wait for a reader
            with suppress(queue.Full):
                made.put(fresh, timeout=5)
                break
        seed += step
