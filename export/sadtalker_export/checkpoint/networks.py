"""The networks of a preset, and the tensors that a checkpoint file of that preset must hold."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from ..networks.appearance_encoder import AppearanceEncoder
from ..networks.audio2exp import Audio2Exp
from ..networks.audio2pose import CHUNK_FRAMES, LATENT, POSE, POSE_STYLES, Audio2Pose
from ..networks.background_enhancer import BackgroundEnhancer
from ..networks.face_alignment import FaceAlignment
from ..networks.face_detector import FaceDetector
from ..networks.face_enhancer import FaceEnhancer
from ..networks.face_parser import FaceParser
from ..networks.face_reconstruction import FaceReconstruction
from ..networks.face_renderer import FaceRenderer
from ..networks.keypoint_detector import KeypointDetector
from ..networks.motion import Motion, MotionSize
from ..networks.restoreformer import RestoreFormer
from ..presets import Preset
from .layout import CheckpointFile, Shape
from .restoration_layout import GFPGAN, PARSENET

FULL_COEFFICIENTS = 73


def build_networks(preset: Preset, names: set[str] | None = None) -> dict[str, nn.Module]:
    """Build the networks of a preset (or those named) on the meta device: shapes without memory."""
    motion = preset.motion
    full = MotionSize(FULL_COEFFICIENTS, motion.width, motion.layers, motion.bins, motion.keypoints)
    makers: dict[str, Callable[[], nn.Module]] = {
        "audio2exp": lambda: Audio2Exp(preset.audio2exp),
        "audio2pose": lambda: Audio2Pose(preset.audio2pose),
        "face_reconstruction": lambda: FaceReconstruction(preset.face_reconstruction),
        "keypoint_detector": lambda: KeypointDetector(preset.keypoint_detector),
        "appearance_encoder": lambda: AppearanceEncoder(preset.face_renderer.appearance),
        "face_renderer": lambda: FaceRenderer(preset.face_renderer),
        "motion": lambda: Motion(motion),
        "motion_full": lambda: Motion(full),
        "face_enhancer": lambda: FaceEnhancer(preset.face_enhancer),
        "restoreformer": lambda: RestoreFormer(preset.restoreformer),
        "background_enhancer": lambda: BackgroundEnhancer(preset.background_enhancer),
        "face_detector": lambda: FaceDetector(preset.face_detector),
        "face_alignment": lambda: FaceAlignment(preset.face_alignment),
        "face_parser": lambda: FaceParser(preset.face_parser),
    }
    with torch.device("meta"):
        return {name: make().eval() for name, make in makers.items() if names is None or name in names}


def expected_shapes(file: CheckpointFile, preset: Preset) -> dict[str, Shape]:
    """Return official key -> shape of everything the file must hold, tensors of training only included."""
    shapes: dict[str, Shape] = {}
    for name, network in build_networks(preset, file.networks()).items():
        shapes |= {file.official(name, key): tuple(value.shape) for key, value in network.state_dict().items()}
    if file.unused:
        shapes |= _training_only(file, preset, shapes)
    return shapes


def _training_only(file: CheckpointFile, preset: Preset, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of the tensors that the file holds and no inference uses."""
    if file == GFPGAN:
        return _enhancer_training(preset)
    if file == PARSENET:
        return {"out_img_conv.conv2d.weight": (3, preset.face_parser.widths[0], 3, 3), "out_img_conv.conv2d.bias": (3,)}
    return _pose_training(preset, shapes)


def _enhancer_training(preset: Preset) -> dict[str, Shape]:
    """Return the generator's mapping network and the layers that supervised the U-Net at every resolution."""
    size = preset.face_enhancer
    found: dict[str, Shape] = {}
    for i in range(1, 16, 2):
        found[f"stylegan_decoder.style_mlp.{i}.weight"] = (size.latent, size.latent)
        found[f"stylegan_decoder.style_mlp.{i}.bias"] = (size.latent,)
    for i, width in enumerate(size.widths[1:]):
        found[f"toRGB.{i}.weight"] = (3, width // 2, 1, 1)
        found[f"toRGB.{i}.bias"] = (3,)
    return found


def _pose_training(preset: Preset, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the encoder half of the pose VAE and its discriminator."""
    size = preset.audio2pose
    encoder, decoder = "audio2pose.netG.encoder.", "audio2pose.netG.decoder."
    motion = CHUNK_FRAMES * POSE
    found = {k.replace(decoder, encoder): s for k, s in shapes.items() if k.startswith(decoder + "resunet.")}
    for name, linear in {
        "MLP.L0": (size.hidden, POSE + 2 * motion + LATENT),
        "linear_means": (LATENT, size.hidden),
        "linear_logvar": (LATENT, size.hidden),
        "linear_audio": (POSE, size.encoder.widths[-1]),
    }.items():
        found |= {f"{encoder}{name}.weight": linear, f"{encoder}{name}.bias": linear[:1]}
    found[encoder + "classbias"] = (POSE_STYLES, LATENT)
    channels = POSE
    discriminator = "audio2pose.netD_motion.seq."
    for i, (factor, taps) in enumerate(((8, 4), (16, 4), (32, 3))):
        width = factor * size.unet_widths[0]
        found[f"{discriminator}{i}.conv.weight"] = (width, channels, taps)
        norm = ("weight", "bias", "running_mean", "running_var")
        found |= {f"{discriminator}{i}.norm.{part}": (width,) for part in norm}
        found[f"{discriminator}{i}.norm.num_batches_tracked"] = ()
        channels = width
    return found | {f"{discriminator}3.weight": (1, channels, 3), f"{discriminator}3.bias": (1,)}
