"""The official checkpoint files, key by key; no other module knows their names.

A rule pairs an official key with ours; on both sides `{n}` stands for a number and `*` for the rest of the key. Every
key of a file is mapped by one rule or listed as unused; anything else is an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]


class CheckpointError(Exception):
    """A checkpoint file that does not fit; the message names the file, the keys, and both shapes."""


@dataclass(frozen=True)
class Rule:
    """A pair of key patterns: the official one, and ours in a network."""

    official: str
    network: str
    ours: str


@dataclass(frozen=True)
class CheckpointFile:
    """One checkpoint file: its name, the entry its tensors lie under, and the network each of them belongs to."""

    name: str
    rules: tuple[Rule, ...]
    entry: str | None = None  # key in a pickled dictionary; None where the tensors are at the top level
    synthetic_prefix: str = ""  # prefix of the keys in the names that seed synthetic values
    other_entry: str | None = None  # that some copies of the file have instead
    unused: tuple[str, ...] = ()  # for training only: in the file, not in our networks

    def ours(self, official_key: str) -> tuple[str, str] | None:
        """Return (network, our key) of an official key; None where the file carries it for training only."""
        for rule in self.rules:
            if match := _pattern(rule.official).fullmatch(official_key):
                return rule.network, _fill(rule.ours, match.groups())
        if any(_pattern(unused).fullmatch(official_key) for unused in self.unused):
            return None
        raise CheckpointError(f"{self.name}: unexpected key {official_key!r}")

    def official(self, network: str, our_key: str) -> str:
        """Return the official key of one of our tensors."""
        for rule in self.rules:
            if rule.network == network and (match := _pattern(rule.ours).fullmatch(our_key)):
                return _fill(rule.official, match.groups())
        raise KeyError(f"{self.name} has no rule for {network}:{our_key}")

    def networks(self) -> set[str]:
        """Return the names of the networks whose tensors the file holds."""
        return {rule.network for rule in self.rules}

    def check(self, found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
        """Raise `CheckpointError` unless both hold the same keys with the same shapes."""
        problems = [f"missing key {k!r} {list(expected[k])}" for k in expected if k not in found]
        problems += [f"unexpected key {k!r} {list(found[k])}" for k in found if k not in expected]
        problems += [
            f"key {k!r}: expected {list(expected[k])}, got {list(found[k])}"
            for k in expected
            if k in found and found[k] != expected[k]
        ]
        if problems:
            more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
            raise CheckpointError(f"{self.name} does not fit:\n  " + "\n  ".join(problems[:10]) + more)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{n\}", r"(\d+)").replace(r"\*", "(.+)"))


def _fill(template: str, groups: tuple[str, ...]) -> str:
    values = iter(groups)
    return re.sub(r"\{n\}|\*", lambda _: next(values), template)


def rules(network: str, prefix: str, table: dict[str, str]) -> tuple[Rule, ...]:
    """Return the rules of one network from official key -> ours; `prefix` comes before every official one."""
    return tuple(Rule(prefix + official, network, ours) for official, ours in table.items())


def _audio_encoder(official: str, ours: str) -> dict[str, str]:
    return {
        f"{official}.{{n}}.conv_block.0.*": f"{ours}.layers.{{n}}.conv.*",
        f"{official}.{{n}}.conv_block.1.*": f"{ours}.layers.{{n}}.norm.*",
    }


def resnet(official: str, ours: str) -> dict[str, str]:
    """Return the rules of a ResNet with torchvision's names."""
    layers = {f"conv{n}": f"conv{n}" for n in (1, 2, 3)} | {f"bn{n}": f"norm{n}" for n in (1, 2, 3)}
    layers |= {"downsample.0": "skip", "downsample.1": "skip_norm"}
    return {f"{official}.conv1.*": f"{ours}.stem.*", f"{official}.bn1.*": f"{ours}.stem_norm.*"} | {
        f"{official}.layer{i + 1}.{{n}}.{layer}.*": f"{ours}.stages.{i}.{{n}}.{our_layer}.*"
        for i in range(4)
        for layer, our_layer in layers.items()
    }


_UNET_BLOCKS = {
    "residual_conv_1": "down.0",
    "residual_conv_2": "down.1",
    "bridge": "down.2",
    "up_residual_conv1": "up.0",
    "up_residual_conv2": "up.1",
    "up_residual_conv3": "up.2",
}
_UNET_LAYERS = {
    "conv_block.0": "norm1",
    "conv_block.2": "conv1",
    "conv_block.3": "norm2",
    "conv_block.5": "conv2",
    "conv_skip.0": "skip",
    "conv_skip.1": "skip_norm",
}
_POSE_DECODER = {
    "classbias": "style_latent",
    "linear_audio.*": "audio_head.*",
    "MLP.L0.*": "hidden.*",
    "MLP.L1.*": "rough.*",
    "pose_linear.*": "pose_head.*",
    "resunet.input_layer.0.*": "unet.stem1.*",
    "resunet.input_layer.1.*": "unet.stem_norm.*",
    "resunet.input_layer.3.*": "unet.stem2.*",
    "resunet.input_skip.0.*": "unet.stem_skip.*",
    "resunet.upsample_1.upsample.*": "unet.upsample.0.*",
    "resunet.upsample_2.upsample.*": "unet.upsample.1.*",
    "resunet.upsample_3.upsample.*": "unet.upsample.2.*",
    "resunet.output_layer.0.*": "unet.head.*",
} | {
    f"resunet.{block}.{layer}.*": f"unet.{our_block}.{our_layer}.*"
    for block, our_block in _UNET_BLOCKS.items()
    for layer, our_layer in _UNET_LAYERS.items()
}

_RECONSTRUCTION = resnet("backbone", "backbone") | {"final_layers.{n}.*": "heads.{n}.*"}

_KEYPOINTS = {
    "down.weight": "blur",
    "predictor.down_blocks.down{n}.*": "down.{n}.*",
    "predictor.conv.*": "lift.*",
    "predictor.up_blocks.up{n}.*": "up.{n}.*",
    "kp.*": "heatmaps.*",
}

_APPEARANCE = {
    "first.*": "stem.*",
    "down_blocks.{n}.*": "down.{n}.*",
    "second.*": "lift.*",
    "resblocks_3d.3dr{n}.*": "residual.{n}.*",
}

_RENDERER = {
    "dense_motion_network.hourglass.encoder.down_blocks.{n}.*": "dense_motion.hourglass.down.{n}.*",
    "dense_motion_network.hourglass.decoder.up_blocks.{n}.*": "dense_motion.hourglass.up.{n}.*",
    "dense_motion_network.hourglass.decoder.conv.*": "dense_motion.hourglass.merge.conv.*",
    "dense_motion_network.hourglass.decoder.norm.*": "dense_motion.hourglass.merge.norm.*",
    "dense_motion_network.compress.*": "dense_motion.compress.*",
    "dense_motion_network.norm.*": "dense_motion.norm.*",
    "dense_motion_network.mask.*": "dense_motion.mask.*",
    "dense_motion_network.occlusion.*": "dense_motion.occlusion.*",
    "third.*": "flatten.*",
    "fourth.*": "project.*",
    "decoder.fc.*": "decoder.stem.*",
    "decoder.conv_img.*": "decoder.to_rgb.*",
} | {
    f"decoder.{block}.{layer}.*": f"decoder.{our_block}.{our_layer}.*"
    for block, our_block in {"G_middle_{n}": "middle.{n}", "up_{n}": "up.{n}"}.items()
    for layer, our_layer in (
        {"conv_0": "conv0", "conv_1": "conv1", "conv_s": "conv_skip"}
        | {
            f"norm_{i}.{part}": f"spade{ours}.{our_part}"
            for i, ours in {"0": "0", "1": "1", "s": "_skip"}.items()
            for part, our_part in {"mlp_shared.0": "shared", "mlp_gamma": "gamma", "mlp_beta": "beta"}.items()
        }
    ).items()
}

_MAPPING = {"first.0.*": "mapping.stem.*", "fc_t.*": "mapping.translation.*", "fc_exp.*": "mapping.expression.*"}
_MAPPING |= {"encoder{n}.1.*": "mapping.layers.{n}.*"} | {
    f"fc_{a}.*": f"mapping.{a}.*" for a in ("yaw", "pitch", "roll")
}


def _sadtalker(image_size: int) -> CheckpointFile:
    return CheckpointFile(
        f"SadTalker_V0.0.2_{image_size}.safetensors",
        rules("audio2exp", "audio2exp.", _audio_encoder("audio_encoder", "encoder") | {"mapping1.*": "head.*"})
        + rules("audio2pose", "audio2pose.audio_encoder.", _audio_encoder("audio_encoder", "encoder"))
        + rules("audio2pose", "audio2pose.netG.decoder.", _POSE_DECODER)
        + rules("face_reconstruction", "face_3drecon.", _RECONSTRUCTION)
        + rules("keypoint_detector", "kp_extractor.", _KEYPOINTS)
        + rules("appearance_encoder", "generator.", _APPEARANCE)
        + rules("face_renderer", "generator.", _RENDERER),
        unused=("audio2pose.netG.encoder.*", "audio2pose.netD_motion.*"),
    )


def _mapping(number: str, network: str) -> CheckpointFile:
    return CheckpointFile(
        f"mapping_{number}-model.pth.tar",
        rules(network, "", _MAPPING),
        entry="mapping",
        synthetic_prefix=f"mapping_{number}.",
    )


SADTALKER = {size: _sadtalker(size) for size in (256, 512)}
MAPPING_CROP = _mapping("00229", "motion")
MAPPING_FULL = _mapping("00109", "motion_full")
