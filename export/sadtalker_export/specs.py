"""The list of exported networks: their names, their tensors, and how each module is put together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from .networks.audio2exp import EXPRESSION
from .networks.audio2pose import CHUNK_FRAMES, LATENT, POSE, POSE_STYLES
from .networks.face_reconstruction import GROUPS
from .networks.face_renderer import FaceRenderer
from .networks.motion import WINDOW
from .rewrites.for_cpu import for_cpu
from .rewrites.parts import Choice
from .rewrites.renderer import FrameBytes

SIZES = (256, 512)  # pixels, of the portrait and the frames; the checkpoints are made for one each
SIZE = SIZES[0]
SIZED = frozenset({"appearance_encoder", "face_renderer"})  # networks whose tensors grow with it
FRAMES = 5  # per chunk: 0.2 s at 25 frames per second
CHUNKED = frozenset({"driving_keypoints", "frames"})  # the renderer's tensors with one entry for each of them
KEYPOINTS = 15
COEFFICIENTS = EXPRESSION + POSE
PLACEMENT = 3  # further coefficients of a face in a whole picture: scale and position of its 3-D alignment
VOLUME = (32, 16, 64, 64)
MEL = (80, 16)

Networks = Mapping[str, nn.Module]
ForCpu = Callable[[nn.Module, str, Choice | None], nn.Module]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor at a network's boundary; `shape` is without the batch axis.

    `low` and `high` bound the values that exports are checked with, as the network meets them in use.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float = -1.0
    high: float = 1.0


@dataclass(frozen=True)
class BatchProfile:
    """Batch sizes of a TensorRT engine: it takes `min` to `max`, and its kernels are chosen at `opt`."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class NetworkSpec:
    """One exported network: `build` makes the module to export from the plain `networks` it names.

    `tensorrt` is set for networks that gain from an engine; its `max` is the `max_batch_size` of the model's
    configuration. `half` and `position_inputs` name what reduced precision may and may not touch, see
    `precision.forms`.
    """

    name: str
    networks: frozenset[str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    build: Callable[[Networks], nn.Module]
    tolerance: float  # max abs difference between eager and exported, in units of the output
    samples: int = 1  # of inputs that the export may try: one that agrees in every value suffices
    tensorrt: BatchProfile | None = None
    half: tuple[str, ...] = ()  # submodules of what `build` makes that compute in float16 in an fp16 export
    half_tolerance: float = 0.0  # as `tolerance`, of the fp16 export against the float32 module
    position_inputs: frozenset[str] = frozenset()  # which bf16 must not round
    for_cpu: ForCpu | None = None  # exact rewrite that pays on CPUs only, by precision; None: the portable choice


class EncodePortrait(nn.Module):
    """Appearance volume and canonical keypoints: everything the renderer needs to know about a portrait."""

    def __init__(self, appearance_encoder: nn.Module, keypoint_detector: nn.Module) -> None:
        super().__init__()
        self.appearance_encoder, self.keypoint_detector = appearance_encoder, keypoint_detector

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.appearance_encoder(image), self.keypoint_detector(image)


def _frame_bytes(networks: Networks) -> nn.Module:
    renderer = networks["face_renderer"]
    assert isinstance(renderer, FaceRenderer)
    return FrameBytes(renderer)


def _only(name: str) -> Callable[[Networks], nn.Module]:
    return lambda networks: networks[name]


_CANONICAL = TensorSpec("canonical_keypoints", (KEYPOINTS, 3), low=-0.5, high=0.5)

SPECS = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            "face_reconstruction",
            frozenset({"face_reconstruction"}),
            (TensorSpec("image", (3, 224, 224), low=0),),
            (TensorSpec("coefficients", (sum(GROUPS),)),),
            _only("face_reconstruction"),
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 1, 8),
        ),
        NetworkSpec(
            "appearance_encoder",
            frozenset({"appearance_encoder", "keypoint_detector"}),
            (TensorSpec("image", (3, 256, 256), low=0),),
            (TensorSpec("appearance", VOLUME), _CANONICAL),
            lambda n: EncodePortrait(n["appearance_encoder"], n["keypoint_detector"]),
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 1, 8),
            half=("appearance_encoder",),
            half_tolerance=1e-2,
        ),
        NetworkSpec(
            "audio2exp",
            frozenset({"audio2exp"}),
            (
                TensorSpec("mel", MEL, low=-4, high=4),
                TensorSpec("reference_expression", (EXPRESSION,)),
                TensorSpec("blink", (1,), low=0),
            ),
            (TensorSpec("expression", (EXPRESSION,)),),
            _only("audio2exp"),
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 32, 128),
        ),
        NetworkSpec(
            "audio2pose",
            frozenset({"audio2pose"}),
            (
                TensorSpec("mel", (CHUNK_FRAMES, *MEL), low=-4, high=4),
                TensorSpec("latent", (LATENT,)),
                TensorSpec("pose_style", (1,), "int64", low=0, high=POSE_STYLES),
                TensorSpec("reference_pose", (POSE,)),
            ),
            (TensorSpec("pose_motion", (CHUNK_FRAMES, POSE)),),
            _only("audio2pose"),
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 1, 8),
        ),
        NetworkSpec(
            "motion",
            frozenset({"motion"}),
            (
                _CANONICAL,
                TensorSpec("coefficient_windows", (FRAMES, COEFFICIENTS, WINDOW)),
                TensorSpec("head_angles", (FRAMES, 3), low=-360, high=360),  # half of these values mean: no angle given
            ),
            (TensorSpec("keypoints", (FRAMES, KEYPOINTS, 3)),),
            _only("motion"),
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 4, 8),
        ),
        NetworkSpec(
            "motion_full",
            frozenset({"motion_full"}),
            (
                _CANONICAL,
                TensorSpec("coefficient_windows", (FRAMES, COEFFICIENTS + PLACEMENT, WINDOW)),
                TensorSpec("head_angles", (FRAMES, 3), low=-360, high=360),
            ),
            (TensorSpec("keypoints", (FRAMES, KEYPOINTS, 3)),),
            _only("motion_full"),
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 4, 8),
        ),
        NetworkSpec(
            "face_renderer",
            frozenset({"face_renderer"}),
            (
                TensorSpec("appearance", VOLUME),
                TensorSpec("source_keypoints", (KEYPOINTS, 3), low=-0.5, high=0.5),
                TensorSpec("driving_keypoints", (FRAMES, KEYPOINTS, 3), low=-0.5, high=0.5),
            ),
            (TensorSpec("frames", (FRAMES, 256, 256, 3), "uint8"),),
            _frame_bytes,
            tolerance=1,  # grey level: where rounding falls the other way
            tensorrt=BatchProfile(1, 4, 4),
            half=(
                "renderer.dense_motion.hourglass",
                "renderer.dense_motion.mask",
                "renderer.up",
                "renderer.occlusion",
                "renderer.flatten",
                "renderer.project",
                "renderer.decoder",
            ),
            half_tolerance=4,
            position_inputs=frozenset({"source_keypoints", "driving_keypoints"}),
            for_cpu=lambda module, precision, choice: for_cpu(module, FRAMES, precision, choice),
        ),
    )
}


def at_size(spec: NetworkSpec, size: int) -> NetworkSpec:
    """Return the spec of a network for pictures of another size; the spec itself if the network sees no pictures."""
    if spec.name not in SIZED or size == SIZE:
        return spec
    sides = {side: side * size // SIZE for side in (SIZE, VOLUME[-1])}

    def scaled(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(replace(tensor, shape=tuple(sides.get(n, n) for n in tensor.shape)) for tensor in tensors)

    return replace(spec, inputs=scaled(spec.inputs), outputs=scaled(spec.outputs))


def with_frames(spec: NetworkSpec, frames: int) -> NetworkSpec:
    """Return the renderer's spec with chunks of another length; any other network's spec as it is."""

    def resized(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return tuple(
            replace(tensor, shape=(frames, *tensor.shape[1:])) if tensor.name in CHUNKED else tensor
            for tensor in tensors
        )

    return replace(spec, inputs=resized(spec.inputs), outputs=resized(spec.outputs))
