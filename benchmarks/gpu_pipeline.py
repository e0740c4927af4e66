"""The server's pipeline on one device, in PyTorch: the networks as they are exported, each launched as a CUDA graph.

A graph replays the kernels of a whole network with one call, so that a GPU never waits for Python. While it is captured
the host may neither wait for the GPU nor give it anything. On a CPU the networks are simply called.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sadtalker_export.precision.forms import HalfPrecision
from sadtalker_export.specs import SPECS
from sadtalker_runtime.animation import windows
from sadtalker_runtime.speech import blinks, pose
from sadtalker_runtime.speech.clip import Clip
from torch import Tensor, nn

NETWORKS = "face_reconstruction", "appearance_encoder", "audio2exp", "audio2pose", "motion", "face_renderer"
UNCAPTURED = {"motion"}  # takes a constant from the host; a thousandth of a frame's arithmetic
WARM_UPS = 3  # calls before a capture: cuDNN compares its kernels in the first
LAYOUTS: dict[str, dict[int, torch.memory_format]] = {  # of weights, by their rank; activations follow them
    "contiguous": {},
    "channels_last_2d": {4: torch.channels_last},
    "channels_last": {4: torch.channels_last, 5: torch.channels_last_3d},
}

Launch = Callable[..., Tensor | tuple[Tensor, ...]]


class Captured:
    """A module as a CUDA graph for inputs of these shapes. Each call overwrites what the one before answered."""

    def __init__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(x.clone() for x in inputs)
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                module(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = module(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._outputs


def launcher(module: nn.Module, inputs: tuple[Tensor, ...]) -> Launch:
    """Return the fastest way to call a module again and again with inputs of these shapes."""
    return Captured(module, inputs) if inputs[0].is_cuda else module


def network(networks: Mapping[str, nn.Module], name: str, precision: str, layout: str = "contiguous") -> nn.Module:
    """Return a copy of an exported network in `fp32`, or in `fp16` with the fp32 islands that an export has.

    Tensor cores read channels last; whether that outweighs the transpositions around normalisations and poolings, which
    read them first, is for a measurement to say. With cuDNN 9.8 to 9.14 PyTorch convolves fp16 volumes by slow kernels
    of its own, unless channels are last.
    """
    spec = SPECS[name]
    module = spec.build(networks)
    module = HalfPrecision(module, spec.half) if precision == "fp16" and spec.half else copy.deepcopy(module)
    for parameter in module.parameters():
        if memory_format := LAYOUTS[layout].get(parameter.dim()):
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
    return module.eval()


@dataclass(frozen=True)
class Portrait:
    appearance: Tensor
    """[1, 32, 16, 64, 64]"""
    canonical_keypoints: Tensor
    """[1, 15, 3]"""
    source_keypoints: Tensor
    """[1, 15, 3]"""
    coefficients: np.ndarray
    """float32 [70]"""


class Pipeline:
    """All networks of a video on a device; the two that the precision concerns are encoder and renderer."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        device: torch.device,
        precision: str,
        layout: str = "contiguous",
        graphs: bool = True,
    ) -> None:
        self.device = device
        self.modules = {
            name: network(networks, name, precision, layout if SPECS[name].half else "contiguous").to(device)
            for name in NETWORKS
        }
        self._graphs = graphs
        self._launchers: dict[tuple[object, ...], Launch] = {}

    def run(self, name: str, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return one network's answer, which its next call may overwrite."""
        if not self._graphs or name in UNCAPTURED:
            return self.modules[name](*inputs)
        key = (name, *(x.shape for x in inputs))
        if key not in self._launchers:
            self._launchers[key] = launcher(self.modules[name], inputs)
        return self._launchers[key](*inputs)

    def portrait(self, face: np.ndarray, aligned: np.ndarray) -> Portrait:
        """Encode a portrait from float32 [3, 256, 256] and [3, 224, 224], RGB in [0, 1]."""
        appearance, canonical = (x.clone() for x in self.run("appearance_encoder", self._placed(face[None])))
        reconstruction = self.run("face_reconstruction", self._placed(aligned[None]))[0].cpu().numpy()
        source = windows.source_coefficients(reconstruction)
        keypoints = self.run("motion", canonical, self._placed(windows.source_windows(source)[None, :1]))[:, 0]
        return Portrait(appearance, canonical, keypoints, source)

    def coefficients(self, source: np.ndarray, waveform: np.ndarray, stop: int) -> np.ndarray:
        """Return the first `stop` coefficients of a recording (float32 [samples], 16 kHz): float32 [stop, 70]."""
        clip = Clip(waveform, source, 0, 0)
        guides = clip.guides(stop, blinks.blink_curve(clip.frames, 0)[:stop])
        expression = self.run("audio2exp", *map(self._placed, clip.expression_inputs(0, stop, guides).values()))
        chunks = pose.pose_chunks(*pose.smoothing_range(0, stop, clip.frames), clip.frames)
        motion = self.run("audio2pose", *map(self._placed, clip.pose_inputs(chunks).values()))
        poses = clip.pose(0, stop, chunks, motion.cpu().numpy())
        return np.concatenate([expression.cpu().numpy(), poses], 1, dtype=np.float32)

    def keypoints(self, portrait: Portrait, coefficients: np.ndarray, chunks: int, frames: int) -> Tensor:
        """Return driving keypoints of the first chunks of a video with so many frames: [chunks, 5, 15, 3]."""
        seen = np.stack([windows.chunk_windows(coefficients, chunk, frames) for chunk in range(chunks)])
        return self.run("motion", portrait.canonical_keypoints.expand(chunks, -1, -1), self._placed(seen))

    def render(self, portrait: Portrait, driving: Tensor) -> Tensor:
        """Render uint8 [chunks, 5, 256, 256, 3], RGB, from driving keypoints [chunks, 5, 15, 3]."""
        return self.run("face_renderer", *renderer_inputs(portrait, driving))

    def _placed(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def renderer_inputs(portrait: Portrait, driving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the renderer reads: every chunk brings its portrait, as chunks of different users do."""
    chunks = len(driving)
    appearance = portrait.appearance.expand(chunks, -1, -1, -1, -1).contiguous()
    return appearance, portrait.source_keypoints.expand(chunks, -1, -1).contiguous(), driving.contiguous()
