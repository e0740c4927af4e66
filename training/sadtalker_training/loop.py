"""The training loop: optimiser, moving average of the weights, checkpoints that a later call resumes from."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .initialisation import iterate_spectral_norm
from .tasks.task import Losses, Task

WARM_UP = 30  # steps
FINAL_RATE = 0.03  # of the peak, at the end of the budget
SLOW = 1 / 30
CLIP = 5.0  # gradient norm
AVERAGED = 0.998  # decay of the moving average per step, after the first steps
SAVED_EVERY = 120.0  # seconds


@dataclass
class Progress:
    """The state of a task's training, for those who watch."""

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    rate: float = 0.0  # samples per second in this call
    losses: dict[str, float] = field(default_factory=dict)  # running means


class Trainer:
    """The training of one task; a later call goes on from the state in `state_path`."""

    def __init__(self, task: Task, state_path: Path) -> None:
        self.task, self.state_path = task, state_path
        self.averages = {name: copy.deepcopy(network).eval() for name, network in task.networks.items()}
        for network in self.averages.values():
            network.requires_grad_(False)
        named = [(f"{n}.{key}", p) for n, network in task.networks.items() for key, p in network.named_parameters()]
        slow = [p for key, p in named if key.startswith(task.slow)] if task.slow else []
        fast = [p for key, p in named if not (task.slow and key.startswith(task.slow))]
        groups: list[dict[str, Any]] = [{"params": fast, "share": 1.0}]
        if slow:
            groups.append({"params": slow, "share": SLOW})
        self.optimiser = torch.optim.AdamW(groups, task.rate, betas=(0.9, 0.98), weight_decay=1e-4)
        self.progress = Progress()
        if state_path.is_file():
            self.restore(torch.load(state_path, map_location="cpu", weights_only=True))

    @property
    def done(self) -> bool:
        """Return whether the budget is spent."""
        return self.progress.samples >= self.task.budget

    def train(self, deadline: float, report: Callable[[Progress], None]) -> None:
        """Train until the budget is spent or `time.monotonic()` passes the deadline; save the state now and then."""
        progress, task = self.progress, self.task
        started = saved = last = time.monotonic()
        first = progress.samples
        with task.batch_source(progress.samples) as next_batch:
            while not self.done and time.monotonic() < deadline:
                spent = progress.samples / task.budget
                losses, samples = task.losses(next_batch(spent), spent)
                self.step(losses)
                progress.steps += 1
                progress.samples += samples
                now = time.monotonic()
                progress.seconds, last = progress.seconds + now - last, now
                progress.rate = (progress.samples - first) / (now - started)
                report(progress)
                if now - saved > SAVED_EVERY:
                    self.save()
                    saved = now
        self.save()

    def step(self, losses: Losses) -> None:
        """Update the weights once, and their average."""
        total = torch.stack(list(losses.values())).sum()
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate() * group["share"]
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        if not torch.isfinite(norm):
            return  # one bad batch must not end a run
        self.optimiser.step()
        decay = min(AVERAGED, (1 + self.progress.steps) / (20 + self.progress.steps))
        for name, network in self.task.networks.items():
            iterate_spectral_norm(network)
            follow(self.averages[name], network, decay)
        for name, value in losses.items():
            mean = self.progress.losses.get(name, value.item())
            self.progress.losses[name] = mean + 0.03 * (value.item() - mean)

    def learning_rate(self) -> float:
        """Return the rate of the next step: a warm-up, then half a cosine over the budget."""
        done = min(1.0, self.progress.samples / self.task.budget)
        fall = FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        return self.task.rate * fall * min(1.0, (self.progress.steps + 1) / WARM_UP)

    def state(self) -> dict[str, Any]:
        """Return all that a later call needs."""
        return {
            "networks": {name: network.state_dict() for name, network in self.task.networks.items()},
            "averages": {name: network.state_dict() for name, network in self.averages.items()},
            "optimiser": self.optimiser.state_dict(),
            "samples": self.progress.samples,
            "steps": self.progress.steps,
            "seconds": self.progress.seconds,
            "losses": self.progress.losses,
        }

    def save(self) -> None:
        """Write the state, atomically."""
        self.state_path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.state_path.with_name(self.state_path.name + ".partial")
        torch.save(self.state(), partial)
        partial.replace(self.state_path)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, network in self.task.networks.items():
            network.load_state_dict(state["networks"][name])
            self.averages[name].load_state_dict(state["averages"][name])
        if "optimiser" in state:
            shares = [group["share"] for group in self.optimiser.param_groups]
            self.optimiser.load_state_dict(state["optimiser"])
            for group, share in zip(self.optimiser.param_groups, shares, strict=True):
                group["share"] = share
        self.progress = Progress(state["samples"], state["steps"], state["seconds"], 0.0, dict(state["losses"]))


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move averaged weights and statistics a step towards the current ones; integers are copied."""
    pairs: list[tuple[Tensor, Tensor]] = list(
        zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    )
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - decay)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)
