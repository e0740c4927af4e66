"""The specs of the networks that find and restore faces; unlike those in `specs.SPECS` they are optional.

Each needs its own checkpoint file; `checkpoint.loading.load_restoration` loads those that are there.
"""

from torch import nn

from .networks.face_detector import LANDMARKS
from .networks.face_enhancer import FaceEnhancer
from .networks.face_parser import CLASSES
from .networks.frame_enhancer import SCALE, FrameEnhancer
from .specs import FRAMES, KEYPOINTS, SPECS, BatchProfile, Networks, NetworkSpec, TensorSpec

FRAME = 256
PICTURE = 640  # side of the square that a picture is fitted into for the detector
CANDIDATES = 16800  # in that square


def _frame_enhancer(networks: Networks) -> nn.Module:
    enhancer = networks["face_enhancer"]
    assert isinstance(enhancer, FaceEnhancer)
    return FrameEnhancer(enhancer)


RESTORATION_SPECS = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            "face_enhancer",
            frozenset({"face_enhancer"}),
            (
                TensorSpec("frames", (FRAMES, FRAME, FRAME, 3), "uint8", low=0, high=256),
                TensorSpec("landmarks", (LANDMARKS, 2), low=FRAME / 4, high=3 * FRAME / 4),
                TensorSpec("source_keypoints", (KEYPOINTS, 3), low=-0.5, high=0.5),
                TensorSpec("driving_keypoints", (FRAMES, KEYPOINTS, 3), low=-0.5, high=0.5),
            ),
            (TensorSpec("enhanced_frames", (FRAMES, SCALE * FRAME, SCALE * FRAME, 3), "uint8"),),
            _frame_enhancer,
            tolerance=1,  # grey level: where rounding falls the other way
            tensorrt=BatchProfile(1, 4, 4),
            half=("enhancer",),
            half_tolerance=8,  # of any pixel: no frame turns black or into one colour
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
        ),
        NetworkSpec(
            "face_alignment",
            frozenset({"face_alignment"}),
            (TensorSpec("face", (3, 256, 256), low=0),),
            (TensorSpec("landmarks", (68, 2), low=0, high=256),),
            lambda networks: networks["face_alignment"],
            tolerance=1e-3,
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
