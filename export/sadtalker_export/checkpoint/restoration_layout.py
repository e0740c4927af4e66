"""The official files of networks that restore faces (GFP-GAN, RestoreFormer), pictures (Real-ESRGAN), or find faces.

They are mapped key by key.
"""

from .layout import CheckpointFile, resnet, rules

Table = dict[str, str]


def _each(blocks: Table, parts: Table) -> Table:
    """Return the rules of several blocks that are made of the same parts."""
    return {f"{block}.{k}": f"{ours}.{v}" for block, ours in blocks.items() for k, v in parts.items()}


_DOUBLINGS = 7  # of the generator, from 4x4 to 512x512
_MODULATION = {"modulated_conv.weight": "weight", "modulated_conv.modulation.*": "style.*", "bias": "bias"}
_STYLE_CONVS = {"style_conv1": "convs.0"} | {f"style_convs.{i}": f"convs.{i + 1}" for i in range(2 * _DOUBLINGS)}
_TO_RGB = {"to_rgb1": "to_rgb.0"} | {f"to_rgbs.{i}": f"to_rgb.{i + 1}" for i in range(_DOUBLINGS)}
_GENERATOR = (
    {"constant_input.weight": "constant", "noises.noise{n}": "convs.{n}.noise"}
    | _each(_STYLE_CONVS, _MODULATION | {"weight": "noise_strength"})
    | _each(_TO_RGB, _MODULATION)
)
_DEGRADATION_REMOVAL = {
    "conv_body_first.*": "stem.*",
    "conv_body_down.{n}.*": "down.{n}.*",
    "final_conv.*": "bottleneck.*",
    "final_linear.*": "to_latents.*",
    "conv_body_up.{n}.*": "up.{n}.*",
} | _each(
    {"condition_scale.{n}": "scales.{n}", "condition_shift.{n}": "shifts.{n}"}, {"0.*": "conv1.*", "2.*": "conv2.*"}
)

_CONV_NORM = {"0.*": "conv.*", "1.*": "norm.*"}
_PYRAMID = {f"output{i + 1}": f"lateral.{i}" for i in range(3)} | {f"merge{i + 1}": f"merge.{i}" for i in range(2)}
_CONTEXT = {
    "conv3X3": "window3",
    "conv5X5_1": "shared",
    "conv5X5_2": "window5",
    "conv7X7_2": "window7.0",
    "conv7x7_3": "window7.1",
}
_DETECTOR = (
    resnet("body", "backbone")
    | _each({"fpn": "pyramid"}, _each(_PYRAMID, _CONV_NORM))
    | _each({f"ssh{i + 1}": f"context.{i}" for i in range(3)}, _each(_CONTEXT, _CONV_NORM))
    | _each({"BboxHead": "boxes", "ClassHead": "scores", "LandmarkHead": "landmarks"}, {"{n}.conv1x1.*": "{n}.*"})
)

_DEPTH = 4  # of an hourglass, which official keys count from the bottom up
_HOURGLASS = (
    {f"b1_{_DEPTH - i}": f"across.{i}" for i in range(_DEPTH)}
    | {f"b2_{_DEPTH - i}": f"down.{i}" for i in range(_DEPTH)}
    | {f"b3_{i + 1}": f"up.{i}" for i in range(_DEPTH)}
    | {"b2_plus_1": "bottom"}
)
_PYRAMID_BLOCKS = (
    {f"conv{i + 2}": f"head.{i}" for i in range(3)}
    | {"top_m_{n}": "stacks.{n}.block"}
    | _each({"m{n}": "stacks.{n}.hourglass"}, _HOURGLASS)
)
_PYRAMID_BLOCK = {
    "bn1.*": "norm1.*",
    "conv1.*": "conv1.*",
    "bn2.*": "norm2.*",
    "conv2.*": "conv2.*",
    "bn3.*": "norm3.*",
    "conv3.*": "conv3.*",
    "downsample.0.*": "skip_norm.*",
    "downsample.2.*": "skip.*",
}
_ALIGNMENT = {
    "conv1.conv.*": "stem.conv.*",
    "bn1.*": "norm.*",
    "m{n}.coordconv.conv.*": "stacks.{n}.coordinates.conv.*",
    "conv_last{n}.*": "stacks.{n}.conv.*",
    "bn_end{n}.*": "stacks.{n}.norm.*",
    "l{n}.*": "stacks.{n}.heatmaps.*",
    "bl{n}.*": "merge_features.{n}.*",
    "al{n}.*": "merge_heatmaps.{n}.*",
} | _each(_PYRAMID_BLOCKS, _PYRAMID_BLOCK)

_PARSER_BLOCKS = {f"encoder.{i + 1}": f"down.{i}" for i in range(4)} | {"body.{n}": "body.{n}", "decoder.{n}": "up.{n}"}
_PARSER_BLOCK = _each({"conv{n}": "conv{n}"}, {"conv2d.*": "conv.*", "norm.norm.*": "norm.*"})
_PARSER_BLOCK |= {"shortcut_func.conv2d.*": "skip.conv.*"}
_PARSER = {"encoder.0.conv2d.*": "stem.conv.*", "out_mask_conv.conv2d.*": "head.conv.*"}
_PARSER |= _each(_PARSER_BLOCKS, _PARSER_BLOCK)

_RESIDUAL = {f"{kind}{n}.*": f"{kind}{n}.*" for kind in ("norm", "conv") for n in (1, 2)}
_RESIDUAL |= {"nin_shortcut.*": "skip.*"}
_ATTENTION = {"norm1.*": "norm.*", "norm2.*": "guide_norm.*", "q.*": "query.*", "k.*": "key.*", "v.*": "value.*"}
_ATTENTION |= {"proj_out.*": "merge.*"}
_RESOLUTIONS = 6  # of RestoreFormer, from 512x512 to 16x16; official keys count from the finest in both halves
_DOWN = {f"encoder.down.{i}": f"encoder.levels.{i}" for i in range(_RESOLUTIONS)}
_UP = {f"decoder.up.{i}": f"decoder.levels.{_RESOLUTIONS - 1 - i}" for i in range(_RESOLUTIONS)}
_LEVELS = _DOWN | _UP
_HALVES = {"encoder": "encoder", "decoder": "decoder"}
_RESTOREFORMER = (
    {"quant_conv.*": "to_dictionary.*", "quantize.embedding.*": "dictionary.entries.*"}
    | {"post_quant_conv.*": "from_dictionary.*"}
    | _each(_HALVES, {"conv_in.*": "stem.*", "norm_out.*": "norm.*", "conv_out.*": "head.*"})
    | _each(_HALVES, _each({"mid.block_{n}": "middle.block{n}"}, _RESIDUAL))
    | _each(_HALVES, _each({"mid.attn_1": "middle.attention"}, _ATTENTION))
    | _each(_LEVELS, _each({"block.{n}": "blocks.{n}"}, _RESIDUAL))
    | _each(_LEVELS, _each({"attn.{n}": "attention.{n}"}, _ATTENTION))
    | _each(_DOWN, {"downsample.conv.*": "resample.*"})
    | _each(_UP, {"upsample.conv.*": "resample.*"})
)

_ENLARGER = {f"conv_{official}.*": f"{ours}.*" for official, ours in {"first": "stem", "body": "merge"}.items()}
_ENLARGER |= {"conv_up{n}.*": "up{n}.*", "conv_hr.*": "fine.*", "conv_last.*": "head.*"}
_ENLARGER |= {
    f"body.{{n}}.rdb{i + 1}.conv{j + 1}.*": f"body.{{n}}.blocks.{i}.convs.{j}.*" for i in range(3) for j in range(5)
}

GFPGAN = CheckpointFile(
    "GFPGANv1.4.pth",
    rules("face_enhancer", "stylegan_decoder.", {k: f"generator.{v}" for k, v in _GENERATOR.items()})
    + rules("face_enhancer", "", {k: f"degradation_removal.{v}" for k, v in _DEGRADATION_REMOVAL.items()}),
    entry="params_ema",
    synthetic_prefix="gfpgan.",
    # the generator's latents come from the U-Net, so its mapping network is not used
    unused=("stylegan_decoder.style_mlp.*", "toRGB.*"),
)
RESTOREFORMER = CheckpointFile(
    "RestoreFormer.pth",
    rules("restoreformer", "", _RESTOREFORMER),
    entry="params_ema",
    synthetic_prefix="restoreformer.",
    other_entry="params",
)
REALESRGAN = CheckpointFile(
    "RealESRGAN_x2plus.pth",
    rules("background_enhancer", "", _ENLARGER),
    entry="params_ema",
    synthetic_prefix="realesrgan_x2plus.",
    other_entry="params",
)
RETINAFACE = CheckpointFile(
    "detection_Resnet50_Final.pth", rules("face_detector", "", _DETECTOR), synthetic_prefix="retinaface."
)
ALIGNMENT = CheckpointFile(
    "alignment_WFLW_4HG.pth", rules("face_alignment", "", _ALIGNMENT), entry="state_dict", synthetic_prefix="fan."
)
PARSENET = CheckpointFile(
    "parsing_parsenet.pth",
    rules("face_parser", "", _PARSER),
    synthetic_prefix="parsenet.",
    unused=("out_img_conv.*",),
)
RESTORATION = GFPGAN, RESTOREFORMER, REALESRGAN, RETINAFACE, ALIGNMENT, PARSENET
