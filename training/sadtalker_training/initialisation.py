"""Networks with the weights that training starts from."""

import torch
import torch.nn.functional as F
from sadtalker_export.checkpoint.networks import build_networks
from sadtalker_export.networks.appearance_encoder import ResidualBlock3d
from sadtalker_export.networks.dense_motion import DenseMotion
from sadtalker_export.networks.keypoint_detector import BLUR_TAPS, SHRINK, KeypointDetector
from sadtalker_export.networks.spade_decoder import SpectralConv2d
from sadtalker_export.presets import Preset
from torch import Tensor, nn

STAYS = 2.0  # initial logit of the background's motion, none, above the others
VISIBLE = 1.5  # initial logit of the occlusion map


def fresh_networks(preset: Preset, names: set[str], seed: int) -> dict[str, nn.Module]:
    """Build the named networks of a preset with random weights of a seed, ready to train."""
    torch.manual_seed(seed)
    networks = build_networks(preset, names)
    for network in networks.values():
        network.to_empty(device="cpu")
        for module in network.modules():
            _initialise(module)
        for module in network.modules():
            _specialise(module)
    return networks


def _initialise(module: nn.Module) -> None:
    if isinstance(module, SpectralConv2d):
        nn.init.orthogonal_(module.weight_orig)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        nn.init.normal_(module.weight_u)
        for _ in range(5):
            iterate_spectral_norm(module)
    elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear | nn.BatchNorm2d | nn.BatchNorm3d):
        module.reset_parameters()


def _specialise(module: nn.Module) -> None:
    """Initialise the modules that the general rule would start badly."""
    if isinstance(module, ResidualBlock3d):  # the identity
        nn.init.zeros_(module.conv2.weight)
    elif isinstance(module, DenseMotion):
        nn.init.normal_(module.mask.weight, std=0.01)
        assert module.mask.bias is not None and module.occlusion.bias is not None
        with torch.no_grad():
            module.mask.bias[0] += STAYS
        nn.init.normal_(module.occlusion.weight, std=1e-3)  # thousands of inputs: wider would saturate the sigmoid
        nn.init.constant_(module.occlusion.bias, VISIBLE)
    elif isinstance(module, KeypointDetector):
        module.blur.copy_(anti_aliasing_filter())
    for name, parameter in module.named_parameters(recurse=False):
        if name == "style_latent":
            nn.init.normal_(parameter)


def anti_aliasing_filter() -> Tensor:
    """Return the Gaussian before a shrinkage, for three channels: [3, 1, taps, taps]."""
    sigma = (SHRINK - 1) / 2
    taps = torch.arange(BLUR_TAPS) - BLUR_TAPS // 2
    gaussian = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = torch.outer(gaussian, gaussian)
    return (kernel / kernel.sum()).expand(3, 1, -1, -1).clone()


@torch.no_grad()
def iterate_spectral_norm(module: nn.Module) -> None:
    """Do one power iteration in every spectrally normalised convolution: u and v follow their weight."""
    for conv in module.modules():
        if isinstance(conv, SpectralConv2d):
            w = conv.weight_orig.flatten(1)
            conv.weight_v.copy_(_unit(w.T @ conv.weight_u))
            conv.weight_u.copy_(_unit(w @ conv.weight_v))


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=0)
