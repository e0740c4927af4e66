"""The specs of the networks that find and restore faces; unlike those in `specs.SPECS` they are optional.

Each needs its own checkpoint file; `checkpoint.loading.load_restoration` loads those that are there.
"""

from dataclasses import dataclass

from sadtalker_runtime.enhancers import BACKGROUNDS, ENHANCERS, Enhancer
from torch import nn

from .networks.background_enhancer import BackgroundEnhancer, TileEnhancer
from .networks.face_detector import LANDMARKS
from .networks.face_parser import CLASSES
from .networks.frame_enhancer import FrameEnhancer
from .specs import FRAMES, KEYPOINTS, SPECS, BatchProfile, Networks, NetworkSpec, TensorSpec

FRAME = 256
PICTURE = 640  # side of the square that a picture is fitted into for the detector
CANDIDATES = 16800  # in that square
REALESRGAN = BACKGROUNDS["realesrgan"]


@dataclass(frozen=True)
class EnhancerForm:
    """One of the networks that restore faces: its name in a checkpoint's networks, and how exactly it is exported."""

    network: str
    samples: int = 1
    half: tuple[str, ...] = ()
    half_tolerance: float = 0.0


FORMS = {
    "gfpgan": EnhancerForm("face_enhancer", half=("enhancer",), half_tolerance=8),  # no frame in black or one colour
    # Float32 throughout: in float16 it would choose other parts. Where two are about equally near, rounding chooses.
    "restoreformer": EnhancerForm("restoreformer", samples=5),
}
"""By the names of `sadtalker_runtime.enhancers.ENHANCERS`."""


def _frame_enhancer(enhancer: Enhancer) -> NetworkSpec:
    form = FORMS[enhancer.name]
    side = enhancer.scale * FRAME
    return NetworkSpec(
        enhancer.model,
        frozenset({form.network}),
        (
            TensorSpec("frames", (FRAMES, FRAME, FRAME, 3), "uint8", low=0, high=256),
            TensorSpec("landmarks", (LANDMARKS, 2), low=FRAME / 4, high=3 * FRAME / 4),
            TensorSpec("source_keypoints", (KEYPOINTS, 3), low=-0.5, high=0.5),
            TensorSpec("driving_keypoints", (FRAMES, KEYPOINTS, 3), low=-0.5, high=0.5),
        ),
        (TensorSpec("enhanced_frames", (FRAMES, side, side, 3), "uint8"),),
        lambda networks: FrameEnhancer(networks[form.network]),
        tolerance=1,  # grey level: where rounding falls the other way
        samples=form.samples,
        tensorrt=BatchProfile(1, 4, 4),
        half=form.half,
        half_tolerance=form.half_tolerance,
    )


def _tile_enhancer(networks: Networks) -> nn.Module:
    enhancer = networks["background_enhancer"]
    assert isinstance(enhancer, BackgroundEnhancer)
    return TileEnhancer(enhancer)


RESTORATION_SPECS = {
    spec.name: spec
    for spec in (
        *map(_frame_enhancer, ENHANCERS.values()),
        NetworkSpec(
            REALESRGAN.model,
            frozenset({"background_enhancer"}),
            (TensorSpec("tiles", (REALESRGAN.tile, REALESRGAN.tile, 3), "uint8", low=0, high=256),),
            (TensorSpec("enlarged_tiles", (2 * REALESRGAN.tile, 2 * REALESRGAN.tile, 3), "uint8"),),
            _tile_enhancer,
            tolerance=1,  # grey level: where rounding falls the other way
            tensorrt=BatchProfile(1, 4, 4),
        ),
        NetworkSpec(
            "face_detector",
            frozenset({"face_detector"}),
            (TensorSpec("picture", (3, PICTURE, PICTURE), low=0, high=255),),
            (
                TensorSpec("boxes", (CANDIDATES, 4), low=0, high=PICTURE),
                TensorSpec("scores", (CANDIDATES,), low=0),
                TensorSpec("landmarks", (CANDIDATES, LANDMARKS, 2), low=0, high=PICTURE),
            ),
            lambda networks: networks["face_detector"],
            tolerance=1,  # pixel of boxes up to 55 times as large as their priors
            tensorrt=BatchProfile(1, 1, 8),
        ),
        NetworkSpec(
            "face_alignment",
            frozenset({"face_alignment"}),
            (TensorSpec("face", (3, 256, 256), low=0),),
            (TensorSpec("landmarks", (68, 2), low=0, high=256),),
            lambda networks: networks["face_alignment"],
            tolerance=1e-3,
            tensorrt=BatchProfile(1, 1, 8),
        ),
        NetworkSpec(
            "face_parser",
            frozenset({"face_parser"}),
            (TensorSpec("face", (3, 512, 512)),),
            (TensorSpec("logits", (CLASSES, 512, 512), low=-50, high=50),),
            lambda networks: networks["face_parser"],
            tolerance=1e-2,
        ),
    )
}

# Everything a model repository may hold: all of SadTalker, and restoration where its weights are. No model calls
# the parser.
SERVED_SPECS = {**SPECS, **{name: spec for name, spec in RESTORATION_SPECS.items() if name != "face_parser"}}
