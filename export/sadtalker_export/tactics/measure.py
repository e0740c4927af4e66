"""Timing a layer's forms: each a small graph in the engine, precision and threads that will run, all in turn."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime
import torch
import torch.nn.functional as F
from sadtalker_runtime.onnx_backend.session import execution_providers, session_options
from torch import Tensor, nn

from ..errors import UsageError
from ..networks.convolution import inclusive_grid
from ..onnx.graph import export_module
from ..precision.forms import DoublePositions
from .cache import Timing
from .layers import Met

ROUNDS = 7
MOST_SECONDS = 4.0  # for the rounds of one layer; two at least
PROVIDER = "OpenVINOExecutionProvider"

Arrays = dict[str, npt.NDArray[Any]]


class _Framed(nn.Module):
    """A form between what lies before and behind it in a network: cheap operations that can be fused with it."""

    def __init__(self, form: nn.Module) -> None:
        super().__init__()
        self.form = form

    def forward(self, *inputs: Tensor) -> Tensor:
        return F.leaky_relu(self.form(*inputs), 0.2)


def time_forms(met: Met, others: Sequence[Met], precision: str) -> dict[str, Timing]:
    """Return the timing of every form of a layer, by `<order> <form>`.

    `met` and `others` are the same layer in the orders that its part may have. Inputs and, where the network has
    trained ones, weights are what they are there. The best of some rounds counts: others only ever make a run longer.
    """
    natural = _inputs(met)
    sessions: dict[str, tuple[onnxruntime.InferenceSession, Met, Arrays]] = {}
    with tempfile.TemporaryDirectory(prefix="sadtalker-tactics-") as folder, torch.no_grad():
        exact = _Framed(met.layer.plain)(*natural)
        scale = float(exact.square().mean().sqrt()) or 1.0
        for one in (met, *others):
            inputs = [x.contiguous() for x in one.enter(natural)]
            feed = {f"x{i}": x.numpy() for i, x in enumerate(inputs)}
            for form in one.forms:
                path = Path(folder) / f"{one.order}-{form}.onnx"
                module: nn.Module = _Framed(one.layer.build(one.order, form, one.part.depth))
                if precision == "bf16" and one.layer.positions:
                    module = DoublePositions(module, list(feed), {f"x{i}" for i in one.layer.positions})
                export_module(module, tuple(inputs), path, list(feed))
                sessions[f"{one.order} {form}"] = (open_engine(path, precision), one, feed)
    best = dict.fromkeys(sessions, float("inf"))
    errors: dict[str, float] = {}
    for name, (session, one, feed) in sessions.items():  # the first run makes kernels
        output = one.leave(torch.from_numpy(session.run(None, feed)[0]))
        errors[name] = float((output - exact).square().mean().sqrt()) / scale
    start, rounds = time.perf_counter(), 0
    while rounds < 2 or (rounds < ROUNDS and time.perf_counter() - start < MOST_SECONDS):
        for name, (session, _, feed) in sessions.items():
            before = time.perf_counter()
            session.run(None, feed)
            best[name] = min(best[name], time.perf_counter() - before)
        rounds += 1
    return {name: Timing(round(1e3 * best[name], 4), round(errors[name], 7)) for name in sessions}


def _inputs(met: Met) -> list[Tensor]:
    """Return random inputs of a layer in natural order; flows move every frame as a whole, as faces do."""
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for number, shape in enumerate(met.shapes):
        if number in met.layer.positions:
            moved = 0.1 * torch.randn(*shape[:2], 1, 1, 1, 3, generator=generator)
            inputs.append(moved + inclusive_grid(shape[2:5], moved))
        else:
            inputs.append(torch.randn(shape, generator=generator))
    return inputs


def open_engine(path: Path, precision: str) -> onnxruntime.InferenceSession:
    """Return a session as the server opens it for a processor, in fp32 or bf16.

    Raises `UsageError` where the installed onnxruntime lacks the engine.
    """
    if PROVIDER not in onnxruntime.get_available_providers():
        raise UsageError("measuring needs the package onnxruntime-openvino, found an onnxruntime without it")
    accelerator = {"name": "openvino", "parameters": {"precision": precision.upper()}}
    config = {
        "max_batch_size": 1,
        "optimization": {"execution_accelerators": {"cpu_execution_accelerator": [accelerator]}},
        "parameters": {"one_item_per_run": {"string_value": "1"}},
    }
    options = session_options(config)
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(path), options, providers=execution_providers(config, "CPU", "0"), enable_fallback=0
    )
