"""The interface between the training loop and one part of the demo."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sadtalker_export.presets import Preset
from torch import Tensor, nn

from ..initialisation import fresh_networks

Losses = dict[str, Tensor]
BatchSource = Callable[[float], Any]
"""A function that returns the next batch, given the share of the budget that is spent."""


@dataclass(frozen=True)
class TrainingContext:
    """The device, the workers and the seed of a training run."""

    device: torch.device
    workers: int
    seed: int
    small: (
        bool  # a processor rather than a GPU: train on regions of the frames, and leave out the last stages of learning
    )


class Task(ABC):
    """Networks that are trained together, on the batches of one source."""

    name: str
    network_names: frozenset[str]
    budget: int  # samples, over which the learning rate falls
    rate = 1e-3  # learning rate, at its peak
    slow: tuple[str, ...] = ()  # parameters, by "network.prefix", that learn at a thirtieth of the rate

    def __init__(self, preset: Preset, context: TrainingContext) -> None:
        self.context = context
        self.networks: dict[str, nn.Module] = {
            name: network.to(context.device).train()
            for name, network in fresh_networks(preset, set(self.network_names), context.seed).items()
        }

    @abstractmethod
    def batch_source(self, samples: int) -> AbstractContextManager[BatchSource]:
        """Open a source of batches, from the point where so many samples were seen."""

    @abstractmethod
    def losses(self, batch: Any, progress: float) -> tuple[Losses, int]:
        """Return loss terms by name, which add up, and how many samples the batch has; `progress` is 0 to 1."""

    @abstractmethod
    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return figures of networks in evaluation mode on data that training never sees."""


@contextmanager
def generated_batches(seed: int, samples: int, make: Callable[[np.random.Generator], Any]) -> Iterator[BatchSource]:
    """Open a source of batches cheap enough to be made on the spot; `samples` continues where an earlier run ended."""
    rng = np.random.default_rng([seed, samples])
    yield lambda progress: make(rng)
