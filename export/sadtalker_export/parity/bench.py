"""The environment of a producer: inputs by name, networks with deterministic weights."""

import gc
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..checkpoint import loading, synthetic
from ..checkpoint.layout import Shape
from ..errors import UsageError
from ..presets import PRESETS

if TYPE_CHECKING:
    import onnxruntime

Network = TypeVar("Network", bound=nn.Module)
Array = npt.NDArray[np.generic]
Figures = Mapping[str, Array]


class Bench:
    """Inputs, networks and sessions, made when first asked for and kept until `release`."""

    def __init__(self, figures: Figures, *, prefix: str, runtime: str) -> None:
        self.figures = figures
        self.onnx = runtime == "onnx"
        self._prefix = prefix
        self._networks: dict[str, nn.Module] = {}
        self._sessions: dict[tuple[str, int], onnxruntime.InferenceSession] = {}

    def figure(self, name: str) -> Array:
        """Return an array of the file that is an input. Raises `UsageError` where it is not there."""
        if name not in self.figures:
            raise UsageError(f"the figures lack {name!r}, the input that others are computed from")
        return self.figures[name]

    def frames(self, group: str) -> int:
        """Return the length of a group's time axis (the second), which its inputs share."""
        return next(figure.shape[1] for name, figure in self.figures.items() if name.startswith(group))

    def input(self, name: str, shape: Shape, low: float | None = None, high: float | None = None) -> Tensor:
        """Return the named input, float32: uniform in [low, high), or standard normal without bounds."""
        return torch.from_numpy(synthetic.named_input(self._prefix + name, shape, low, high))

    def network(self, name: str, kind: type[Network]) -> Network:
        """Return one of the official networks in its plain form."""
        if name not in self._networks:
            self._networks |= loading.synthetic_networks(PRESETS["official"], {name})
        network = self._networks[name]
        assert isinstance(network, kind)
        return network

    def run(self, name: str, size: int = 256, /, **inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs of one network of `specs.SPECS` as ONNX Runtime computes them on the CPU.

        For pictures of 512 pixels the renderer takes one frame, and its volumes in slices: ONNX Runtime copies every
        window that a convolution reads, 40 GB for the 7 x 7 x 7 taps of the mask.
        """
        outputs = self._session(name, size).run(None, {key: value.numpy() for key, value in inputs.items()})
        return tuple(torch.from_numpy(output) for output in outputs)

    def release(self, keep: Collection[str]) -> None:
        """Forget all networks and sessions but those named."""
        self._networks = {name: network for name, network in self._networks.items() if name in keep}
        self._sessions = {key: session for key, session in self._sessions.items() if key[0] in keep}
        gc.collect()

    def _session(self, name: str, size: int) -> "onnxruntime.InferenceSession":
        if (name, size) not in self._sessions:
            from ..onnx.check import session  # not needed by the torch runtime
            from ..onnx.graph import export
            from ..rewrites.for_cpu import for_cpu
            from ..specs import SIZE, SPECS, at_size, with_frames

            spec = SPECS[name]
            networks = {part: self.network(part, nn.Module) for part in spec.networks}
            module = spec.build(networks)
            if size != SIZE:
                spec = with_frames(at_size(spec, size), 1)
                module = for_cpu(module, 1)
            with tempfile.TemporaryDirectory(prefix="sadtalker-parity-") as directory:
                path = Path(directory) / f"{name}.onnx"
                export(spec, module, path)
                del networks, module
                # sessions of another size and plain networks cost less to make again than to keep in memory
                self._networks = {}
                self._sessions = {key: kept for key, kept in self._sessions.items() if key[1] == size == SIZE}
                gc.collect()
                self._sessions[name, size] = session(path)
        return self._sessions[name, size]
