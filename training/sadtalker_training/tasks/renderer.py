"""The renderer and the keypoint detector, supervised by the exact motion between a person's frames."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sadtalker_export.networks.appearance_encoder import AppearanceEncoder
from sadtalker_export.networks.face_renderer import FaceRenderer
from sadtalker_export.networks.keypoint_detector import KeypointDetector, expectation
from sadtalker_export.networks.motion import rotation_matrix
from sadtalker_export.networks.picture_transfer import CELL
from sadtalker_export.presets import Preset
from torch import Tensor, nn

from ..coefficients import KEYPOINT_MOTION, PITCH, ROLL, VERTICAL, YAW
from ..faces.episodes import DRIVEN, Episode, episode, episode_buffer
from ..faces.shape import GRID
from .losses import around_mouth, flow_loss, importance, keypoint_loss, picture_loss, visibility_loss
from .regions import Regions, encode, move, render
from .task import BatchSource, Losses, Task, TrainingContext

WINDOW = 32  # cells a side, of training on a processor
HELD_OUT = 10**9  # seeds from here on are never trained on
EVALUATED = 6  # episodes
CAPACITY = 1500  # episodes kept, of 1.3 MB each
PROCESSOR_BUDGET = 50_000  # samples
KEYPOINTS_FIRST, MOTION_FIRST = 0.22, 0.38  # of it: until there keypoints, and dense motion with them, alone
RENDERER_FROM = 0.6  # from there on a processor trains the face renderer alone
EPISODES_OF_KEYPOINTS = 4  # per step, two pictures of each
REUSE = 2  # times that an episode is drawn, once in the last stage, where painting and training share the processor
SEEN_ELSEWHERE, HIDDEN = 0.3, 2.0  # weights of the decoded picture: where it is not needed, and where nothing is copied
DOUBT = 0.015  # standard deviation of the noise on canonical keypoints, units of the frame


@dataclass(frozen=True)
class RendererBatch:
    """N portraits with `DRIVEN` frames each, B = N * DRIVEN; pictures are float32 RGB in [0, 1]."""

    source: Tensor  # [N, 3, 256, 256]
    driving: Tensor  # [B, 3, 256, 256]
    flow: Tensor  # [B, 64, 64, 2]
    visible: Tensor  # [B, 64, 64]
    keypoints: Tensor  # canonical [N, 15, 3]
    source_coefficients: Tensor  # [N, 70]
    driving_coefficients: Tensor  # [B, 70]

    @classmethod
    def collate(cls, episodes: list[Episode], device: torch.device) -> "RendererBatch":
        def stack(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(e, name) for e in episodes])).to(device)

        def pictures(name: str) -> Tensor:
            return stack(name).movedim(-1, -3).float() / 255

        return cls(
            pictures("source"),
            pictures("driving").flatten(0, 1),
            stack("flow").float().flatten(0, 1),
            stack("visible").float().flatten(0, 1),
            stack("keypoints"),
            stack("source_coefficients"),
            stack("driving_coefficients").flatten(0, 1),
        )


def move_keypoints(canonical: Tensor, coefficients: Tensor) -> Tensor:
    """Return keypoints [B, 15, 3] under coefficients [B, 70], as the motion network is taught to move them."""
    degrees = torch.rad2deg(coefficients[:, [YAW, PITCH, ROLL]]).unbind(1)
    basis = torch.from_numpy(KEYPOINT_MOTION).to(canonical)
    moved = canonical @ rotation_matrix(*degrees).transpose(1, 2)
    moved = moved + torch.einsum("bc,ckd->bkd", coefficients[:, : len(basis)], basis)
    return moved + F.pad(coefficients[:, None, VERTICAL : VERTICAL + 1], (1, 1))


class RendererTask(Task):
    """The training of the appearance encoder, the keypoint detector and the face renderer, together."""

    name = "renderer"
    network_names = frozenset({"appearance_encoder", "keypoint_detector", "face_renderer"})
    budget = 400_000
    rate = 1.2e-3
    slow = ("face_renderer.dense_motion.occlusion",)

    def __init__(self, preset: Preset, context: TrainingContext) -> None:
        super().__init__(preset, context)
        if context.small:
            self.budget = PROCESSOR_BUDGET
        for network in self.networks.values():
            use_fast_layouts(network, volumes=not context.small)

    @contextmanager
    def batch_source(self, samples: int) -> Iterator[BatchSource]:
        first_seed = self.context.seed * 10**7 + samples
        with episode_buffer(self.context.workers, CAPACITY, first_seed) as buffer:

            def batch(progress: float) -> RendererBatch:
                if not self.context.small:
                    return RendererBatch.collate(buffer.draw(16), self.context.device)
                count = EPISODES_OF_KEYPOINTS if progress < KEYPOINTS_FIRST else 2 if progress < RENDERER_FROM else 1
                return RendererBatch.collate(buffer.draw(count, fresh=-(-count // REUSE)), self.context.device)

            yield batch

    def losses(self, batch: RendererBatch, progress: float) -> tuple[Losses, int]:
        encoder, detector = self.networks["appearance_encoder"], self.networks["keypoint_detector"]
        renderer = self.networks["face_renderer"]
        assert isinstance(encoder, AppearanceEncoder)
        assert isinstance(detector, KeypointDetector)
        assert isinstance(renderer, FaceRenderer)
        if self.context.small and progress < KEYPOINTS_FIRST:
            return self.keypoint_losses(detector, batch)
        alone = self.context.small and progress >= RENDERER_FROM
        if alone:
            for still in (encoder, detector, renderer.dense_motion):
                still.eval()  # their statistics would follow the regions, with more eyes and mouths than frames have
        source = batch.source.contiguous(memory_format=torch.channels_last)
        with torch.autocast(source.device.type, torch.bfloat16), torch.set_grad_enabled(not alone):
            volume = encode(encoder, source, residual=not self.context.small).float()
            scores = detector.scores(source).float()
        found = expectation(scores)
        losses = {} if alone else {"keypoints": keypoint_loss(scores, found, batch.keypoints)}

        # Partly the detector's own keypoints, partly the true ones; a little wrong in both, as they will be in use.
        trusted = torch.rand(len(source), 1, 1, device=found.device) < min(0.5, 5 * progress)
        canonical = torch.where(trusted, found.detach(), batch.keypoints)
        canonical = canonical + DOUBT * torch.randn_like(canonical)
        source_keypoints = each(move_keypoints(canonical, batch.source_coefficients))
        driving_keypoints = move_keypoints(each(canonical), batch.driving_coefficients)
        regions = Regions.around(driving_keypoints, WINDOW if self.context.small else GRID)
        weight = regions.cut(importance(driving_keypoints, source.shape[2]), CELL)
        visible = regions.cut(batch.visible).float()
        keypoints = source_keypoints, driving_keypoints
        if self.context.small and progress < MOTION_FIRST:
            motion = move(renderer.dense_motion, volume, *keypoints, regions, mixed=True)
        else:
            rendered = render(renderer, volume, *keypoints, regions, mixed=True)
            motion = rendered.motion
            truth = regions.cut(batch.driving, CELL)
            losses["frame"] = picture_loss(rendered.frames, truth, weight)
            hidden = F.max_pool2d(1 - visible.unsqueeze(1), 3, stride=1, padding=1)  # with what borders on it
            needed = SEEN_ELSEWHERE + HIDDEN * F.interpolate(hidden, scale_factor=CELL)
            losses["decoded"] = picture_loss(rendered.decoded, truth, weight * needed)
        coarse = F.avg_pool2d(weight, CELL)[:, 0]
        true_flow = regions.cut(batch.flow.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        losses["flow"] = 10 * flow_loss(motion.flow, true_flow, coarse * visible)
        losses["visible"] = visibility_loss(motion.visibility, visible, coarse)
        return losses, len(visible)

    def keypoint_losses(self, detector: KeypointDetector, batch: RendererBatch) -> tuple[Losses, int]:
        """Return the loss of every portrait and one of its driven frames, whose canonical keypoints are equal."""
        pictures = torch.cat([batch.source, batch.driving[::DRIVEN]]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(pictures.device.type, torch.bfloat16):
            scores = detector.scores(pictures).float()
        truth = batch.keypoints.repeat(2, 1, 1)
        return {"keypoints": keypoint_loss(scores, expectation(scores), truth)}, len(pictures)

    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return means over held-out episodes.

        PSNR in dB: `self` of the portrait under its own keypoints, `driven` of driven frames, `mouth` around the driven
        mouth, `mouth_copied` there if the portrait were copied. `keypoints`: mean error, units of the frame.
        """
        figures: dict[str, list[float]] = {}
        for i in range(EVALUATED):
            batch = RendererBatch.collate([episode(HELD_OUT + i)], self.context.device)
            volume, canonical = (
                networks["appearance_encoder"](batch.source),
                networks["keypoint_detector"](batch.source),
            )
            source = move_keypoints(canonical, batch.source_coefficients)
            driving = move_keypoints(canonical.expand(DRIVEN, -1, -1), batch.driving_coefficients)
            renderer = networks["face_renderer"]
            frames = renderer(volume.expand(DRIVEN, *volume.shape[1:]), source.expand_as(driving), driving)
            mouth = around_mouth(driving, batch.source.shape[2]) > 0.3
            measured = {
                "self": psnr(renderer(volume, source, source), batch.source),
                "driven": psnr(frames, batch.driving),
                "mouth": psnr(frames, batch.driving, mouth),
                "mouth_copied": psnr(batch.source.expand_as(frames), batch.driving, mouth),
                "keypoints": float((canonical - batch.keypoints).abs().mean()),
            }
            for name, value in measured.items():
                figures.setdefault(name, []).append(value)
        return {name: float(np.mean(values)) for name, values in figures.items()}


def use_fast_layouts(network: nn.Module, *, volumes: bool) -> None:
    """Store weights channels last, as bfloat16 convolutions want them: oneDNN for pictures, cuDNN for volumes, too."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        elif volumes and isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)


def each(x: Tensor) -> Tensor:
    """Repeat the values of each portrait for each of its driven frames."""
    return x.repeat_interleave(DRIVEN, 0)


def psnr(frames: Tensor, truth: Tensor, where: Tensor | None = None) -> float:
    """Return the mean PSNR in dB over frames [B, 3, H, W], whole or where a mask [B, 1, H, W] is set."""
    error = (frames - truth).square().mean(1, keepdim=True)
    where = torch.ones_like(error, dtype=torch.bool) if where is None else where
    mean = (error * where).sum((1, 2, 3)) / where.sum((1, 2, 3))
    return float((-10 * torch.log10(mean.clamp_min(1e-10))).mean())
