"""What the training loop needs to know about one part of the demo."""

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
"""Gives the next batch; its argument is the share of the budget that is spent."""


@dataclass(frozen=True)
class TrainingContext:
    """What a training run has at its disposal."""

    device: torch.device
    workers: int
    seed: int
    small: bool  # a processor rather than a GPU: train on windows of the frames, and leave out what is learned last


class Task(ABC):
    """Networks that are trained together, on batches that its material gives."""

    name: str
    network_names: frozenset[str]
    budget: int  # samples, over which the learning rate falls
    rate = 1e-3  # of learning, at its peak
    slow: tuple[str, ...] = ()  # parameters, by "network.prefix", that learn at a thirtieth of the rate

    def __init__(self, preset: Preset, context: TrainingContext) -> None:
        self.context = context
        self.networks: dict[str, nn.Module] = {
            name: network.to(context.device).train()
            for name, network in fresh_networks(preset, set(self.network_names), context.seed).items()
        }

    @abstractmethod
    def batch_source(self, samples: int) -> AbstractContextManager[BatchSource]:
        """Batches from the point where so many samples were seen."""

    @abstractmethod
    def losses(self, batch: Any, progress: float) -> tuple[Losses, int]:
        """Loss terms by name, which add up, and how many samples the batch has; `progress` is 0 to 1."""

    @abstractmethod
    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Figures of networks in evaluation mode on material that training never sees."""


@contextmanager
def generated_batches(seed: int, samples: int, make: Callable[[np.random.Generator], Any]) -> Iterator[BatchSource]:
    """BatchSource that is cheap enough to be made on the spot; `samples` continues where an earlier run ended."""
    rng = np.random.default_rng([seed, samples])
    yield lambda progress: make(rng)
