"""The variants of the model configurations: what each is for, and how it differs from `config.pbtxt`.

`config.pbtxt` is written by hand, for a CPU with OpenVINO. A variant is `configs/<name>.pbtxt` of the models that it
changes, chosen by `sadtalker-server --model-config-name <name>`; Triton loads the others from `config.pbtxt`. To change
one, change it here and run `make generate`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sadtalker_runtime.configurations.pbtxt import ConfigText
from sadtalker_runtime.enhancers import BACKGROUNDS, ENHANCERS

Edit = Callable[[str, ConfigText], ConfigText | None]
"""A function that makes a model's variant from its name and its `config.pbtxt`; None where nothing changes."""


@dataclass(frozen=True)
class Network:
    """How a network runs on a GPU."""

    batches: tuple[int, ...]
    """Batch sizes that are captured as CUDA graphs and run once before the model is ready, in increasing order; the
    largest is `max_batch_size`."""
    choice: str
    """The reason for these sizes."""
    overlap: bool = False
    """Whether its tensors are so large that copying them should overlap with computing."""
    alone: bool = False
    """Whether its engine has a second profile, for the first chunk of a video, which travels alone."""


_EVERY = "A CUDA graph for every batch size."
_COMMON = "A CUDA graph for the batch sizes that are common; other sizes run without."
_RANGES = (
    "A CUDA graph for every length of the ranges that a video asks for, its last one apart; other sizes run without."
)

NETWORKS = {
    "face_detector": Network((1, 2, 4, 8), _COMMON),
    "face_alignment": Network((1, 2, 4, 8), _COMMON),
    "face_reconstruction": Network((1, 2, 4, 8), _COMMON),
    "appearance_encoder": Network((1, 2, 4, 8), _COMMON),
    "audio2exp": Network((27, 32, 64, 128), _RANGES),
    "audio2pose": Network((1, 2, 4, 8), _COMMON),
    "motion": Network((1, 2, 3, 4, 5, 6, 7, 8), _EVERY, alone=True),
    "motion_full": Network((1, 2, 3, 4, 5, 6, 7, 8), _EVERY, alone=True),
    "face_renderer": Network((1, 2, 3, 4), _EVERY, overlap=True, alone=True),
}
NETWORKS |= {enhancer.model: Network((1, 2, 3, 4), _EVERY, overlap=True, alone=True) for enhancer in ENHANCERS.values()}
NETWORKS |= {background.model: Network((1, 2, 3, 4), _EVERY) for background in BACKGROUNDS.values()}

SIZED = ("appearance_encoder", "face_renderer")
"""Networks with an exported file of their own for pictures of 512 pixels."""
PICTURES = {
    "appearance_encoder": ("image", "appearance"),
    "encode_portrait": ("appearance",),
    "face_renderer": ("appearance", "frames"),
    "portrait_crop": ("face",),
    "render_frames": ("appearance", "frames"),
    "render_frames_full": ("appearance", "frames"),
    "sadtalker": (),
    "sadtalker_live": (),
}
"""Models that know the size of pictures, with the tensors that are twice as wide and high for 512 pixels."""

_DOUBLED = (64, 256)  # width and height of an appearance volume and of a picture


def at_512(model: str, config: ConfigText) -> ConfigText | None:
    """Render pictures of 512 pixels."""
    if model not in PICTURES:
        return None
    config = config.with_doubled(PICTURES[model], _DOUBLED)
    if model in ("sadtalker", "sadtalker_live"):
        return config.put("parameters.size", 'parameters { key: "size" value: { string_value: "512" } }')
    return config.put("default_model_filename", _filename("model_512.onnx"), "backend") if model in SIZED else config


def in_bf16(model: str, config: ConfigText) -> ConfigText | None:
    """Compute in bf16 in OpenVINO, where the time goes."""
    if model not in SIZED:
        return None
    if model == "face_renderer":
        comment = (
            "# By `sadtalker-export onnx --precision bf16`. Its keypoints and grids are float64: OpenVINO would round\n"
            "# them to bf16 with all of float32, to half a pixel and more, and leaves them to ONNX Runtime instead.\n"
        )
        config = config.put("default_model_filename", comment + _filename("model_bf16.onnx"), "backend")
    return config.put(
        "optimization",
        """
optimization {
  execution_accelerators {
    cpu_execution_accelerator [ { name: "openvino" parameters { key: "precision" value: "BF16" } } ]
  }
}
""",
    )


def on_native_cpu(model: str, config: ConfigText) -> ConfigText | None:
    """Run on the CPU by Triton's own ONNX Runtime backend, every request alone.

    Every batch size would be a shape of its own there, with memory of its own; a chunk fills the cores anyway.
    """
    if model not in NETWORKS:
        return None
    return _without_openvino(config).drop("dynamic_batching")


def on_cuda(model: str, config: ConfigText) -> ConfigText | None:
    """Run the exported file on a GPU by ONNX Runtime."""
    if model not in NETWORKS:
        return None
    return _warmed_up(model, _on_gpu(_without_openvino(config), 1))


def as_engine(instances: int) -> Edit:
    """Run a TensorRT engine; `instances` of the networks whose copies should overlap with computing."""

    def edit(model: str, config: ConfigText) -> ConfigText | None:
        if model not in NETWORKS:
            return None
        network, file = NETWORKS[model], "model_512.plan" if config.has("default_model_filename") else "model.plan"
        config = _on_gpu(_without_openvino(config), instances if network.overlap else 1, network.alone)
        config = config.put("backend", 'platform: "tensorrt_plan"')
        config = config.put("default_model_filename", _filename(file), "backend")
        # Two instances overlap; one prepares its next batch while it computes. (A stream for outputs and CUDA graphs
        # exclude each other.)
        eager = "  # The next batch is copied in while this one is computed.\n  eager_batching: true\n"
        graphs = ", ".join(f"{{ batch_size: {size} }}" for size in network.batches)
        optimization = f"""
# {network.choice}
optimization {{
{eager if network.overlap and instances == 1 else ""}  cuda {{
    graphs: true
    graph_spec [ {graphs} ]
  }}
}}"""
        return _warmed_up(model, config.put("optimization", optimization))

    return edit


def alone(edit: Edit) -> Edit:
    """Change an edit so that every request runs alone: its bytes do not depend on what else the server does."""

    def edited(model: str, config: ConfigText) -> ConfigText | None:
        changed = edit(model, config)
        return None if changed is None else changed.drop("dynamic_batching")

    return edited


def both(first: Edit, second: Edit) -> Edit:
    """Combine edits, in this order."""

    def edited(model: str, config: ConfigText) -> ConfigText | None:
        changed = first(model, config)
        return second(model, changed or config) or changed

    return edited


@dataclass(frozen=True)
class Variant:
    """A named set of model configurations."""

    name: str
    purpose: str
    """One or two sentences for the comment on top of its files."""
    edit: Edit
    export: str = ""
    """Options of `sadtalker-export onnx` that make the files it serves."""


_CARDS = ("a100", "h100", "h200")
_FP16 = "--precision fp16"
_PLAIN = (
    Variant(
        "bf16",
        "In bf16, for processors that compute in it (avx512_bf16, amx_bf16), by the embedded server.",
        in_bf16,
        "--precision bf16",
    ),
    Variant(
        "native",
        "By Triton's own ONNX Runtime backend on a CPU, without OpenVINO (arm64 and plain builds lack it). Every\n"
        "request runs alone: same seed, same bytes, also under load.",
        on_native_cpu,
    ),
    Variant("cuda", "By ONNX Runtime on any NVIDIA GPU, without engines to build.", on_cuda, _FP16),
    Variant(
        "tensorrt",
        "By the TensorRT engines that `sadtalker-export tensorrt` builds, one instance of each on any NVIDIA GPU.",
        as_engine(1),
        _FP16,
    ),
    Variant(
        "tensorrt-alone",
        "As tensorrt, but every request runs alone: same seed, same bytes, also under load; no gain of batches.",
        alone(as_engine(1)),
        _FP16,
    ),
    *(
        Variant(
            name, f"TensorRT engines on a whole {name.upper()}: two instances of what copies much.", as_engine(2), _FP16
        )
        for name in _CARDS
    ),
    *(
        Variant(
            f"{name}-mig",
            f"TensorRT engines on a MIG slice of an {name.upper()}: one instance of each.",
            as_engine(1),
            _FP16,
        )
        for name in _CARDS
    ),
)
_SIZE = "Pictures of 512 pixels, by `sadtalker-export onnx --size 512`."
_COMBINED = ("native", "cuda", "tensorrt", *_CARDS)

VARIANTS = {
    variant.name: variant
    for variant in (
        *_PLAIN,
        Variant("512", _SIZE, at_512, "--size 512"),
        *(
            Variant(
                f"512-{plain.name}",
                f"{_SIZE}\n{plain.purpose}",
                both(at_512, plain.edit),
                f"--size 512 {plain.export}".rstrip(),
            )
            for plain in _PLAIN
            if plain.name in _COMBINED
        ),
    )
}


def variants_of(model: str, config: ConfigText) -> dict[str, ConfigText | str]:
    """Return the variants of a model, by name: a text, or the name of the variant that means the same."""
    made: dict[str, ConfigText | str] = {}
    first: dict[str, str] = {}
    for variant in VARIANTS.values():
        if (changed := variant.edit(model, config)) is None:
            continue
        if changed.body in first:
            made[variant.name] = first[changed.body]
            continue
        first[changed.body] = variant.name
        comment = "".join(f"# {line}\n" for line in f"Variant {variant.name}. {variant.purpose}".splitlines())
        generated = "# Generated by `make generate` from config.pbtxt: do not edit.\n"
        made[variant.name] = replace(changed, header=changed.header + comment + generated)
    return made


def _filename(name: str) -> str:
    return f'default_model_filename: "{name}"'


def _without_openvino(config: ConfigText) -> ConfigText:
    return config.drop("optimization", "parameters.one_item_per_run")


def _on_gpu(config: ConfigText, instances: int, alone: bool = False) -> ConfigText:
    profiles = ' profile: [ "0", "1" ]' if alone else ""
    text = f"instance_group [ {{ kind: KIND_GPU count: {instances}{profiles} }} ]"
    if alone:
        text = f"# Of the engine's two profiles Triton takes the nearer one: 1 is for a batch of one.\n{text}"
    if instances == 2:
        text = f"# Two: while one copies its frames out, the other computes.\n{text}"
    return config.put("instance_group", text)


def _warmed_up(model: str, config: ConfigText) -> ConfigText:
    """Run every batch size once before the model counts as ready."""
    warmups = []
    for size in NETWORKS[model].batches:
        inputs = "".join(
            f'    inputs {{ key: "{tensor.name}" value {{ data_type: TYPE_{tensor.datatype} '
            f"dims: [ {', '.join(map(str, tensor.dims))} ] zero_data: true }} }}\n"
            for tensor in config.tensors("input")
        )
        warmups.append(f'  {{\n    name: "{size}"\n    batch_size: {size}\n{inputs}  }}')
    text = ",\n".join(warmups)
    return config.put(
        "model_warmup", f"\n# The model is ready when each of these sizes has run once.\nmodel_warmup [\n{text}\n]"
    )
