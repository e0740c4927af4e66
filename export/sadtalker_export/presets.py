"""The layer widths of a whole set of networks, by preset name."""

from dataclasses import dataclass, field

from .networks.appearance_encoder import AppearanceEncoderSize
from .networks.audio2exp import Audio2ExpSize
from .networks.audio2pose import Audio2PoseSize
from .networks.audio_encoder import AudioEncoderSize
from .networks.background_enhancer import BackgroundEnhancerSize
from .networks.dense_motion import DenseMotionSize
from .networks.face_alignment import FaceAlignmentSize
from .networks.face_detector import FaceDetectorSize
from .networks.face_enhancer import FaceEnhancerSize
from .networks.face_parser import FaceParserSize
from .networks.face_reconstruction import FaceReconstructionSize
from .networks.face_renderer import FaceRendererSize
from .networks.keypoint_detector import KeypointDetectorSize
from .networks.motion import MotionSize
from .networks.resnet import ResNetSize
from .networks.restoreformer import RestoreFormerSize
from .networks.spade_decoder import SpadeDecoderSize


@dataclass(frozen=True)
class Preset:
    """The sizes of all networks; `official` fits the published checkpoints, every preset has the same interfaces."""

    name: str
    audio2exp: Audio2ExpSize = field(default_factory=Audio2ExpSize)
    audio2pose: Audio2PoseSize = field(default_factory=Audio2PoseSize)
    face_reconstruction: FaceReconstructionSize = field(default_factory=FaceReconstructionSize)
    keypoint_detector: KeypointDetectorSize = field(default_factory=KeypointDetectorSize)
    face_renderer: FaceRendererSize = field(default_factory=FaceRendererSize)
    motion: MotionSize = field(default_factory=MotionSize)
    face_enhancer: FaceEnhancerSize = field(default_factory=FaceEnhancerSize)
    restoreformer: RestoreFormerSize = field(default_factory=RestoreFormerSize)
    background_enhancer: BackgroundEnhancerSize = field(default_factory=BackgroundEnhancerSize)
    face_detector: FaceDetectorSize = field(default_factory=FaceDetectorSize)
    face_alignment: FaceAlignmentSize = field(default_factory=FaceAlignmentSize)
    face_parser: FaceParserSize = field(default_factory=FaceParserSize)


_TINY_RESNET = ResNetSize(width=8, blocks=(1, 1, 1, 1))
_TINY_AUDIO = AudioEncoderSize(widths=(4, 8, 16, 32, 64))
_DEMO_AUDIO = AudioEncoderSize(widths=(16, 32, 64, 96, 128))

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("official"),
        Preset(
            "tiny",  # same topology, small widths, synthetic weights: seconds on a CPU, for tests
            audio2exp=Audio2ExpSize(_TINY_AUDIO),
            audio2pose=Audio2PoseSize(_TINY_AUDIO, hidden=32, unet_widths=(4, 8, 16, 32)),
            face_reconstruction=FaceReconstructionSize(_TINY_RESNET),
            keypoint_detector=KeypointDetectorSize(width=4, max_width=32),
            face_renderer=FaceRendererSize(
                AppearanceEncoderSize(width=8, residual_blocks=1),
                DenseMotionSize(compressed=1, width=4, max_width=32, mask_kernel=3),
                SpadeDecoderSize(features=32, middle=32, middle_blocks=1, up=(16, 8), hidden=(16, 8, 8)),
            ),
            motion=MotionSize(width=64),
            face_enhancer=FaceEnhancerSize(latent=16, widths=(16, 16, 16, 16, 16, 8, 8, 8)),
            restoreformer=RestoreFormerSize(width=4, heads=2, latent=16, codes=32, groups=4),
            background_enhancer=BackgroundEnhancerSize(features=8, growth=4, blocks=1),
            face_detector=FaceDetectorSize(_TINY_RESNET, width=16),
            face_alignment=FaceAlignmentSize(width=16, stacks=2),
            face_parser=FaceParserSize(widths=(8, 8, 8, 8, 8), blocks=1),
        ),
        Preset(
            "demo",  # narrow but trained, by `sadtalker-train`; see demo/README.md
            audio2exp=Audio2ExpSize(_DEMO_AUDIO),
            audio2pose=Audio2PoseSize(_TINY_AUDIO, hidden=64, unet_widths=(8, 16, 32, 64)),
            face_reconstruction=FaceReconstructionSize(ResNetSize(width=12, blocks=(1, 1, 1, 1))),
            keypoint_detector=KeypointDetectorSize(width=6, max_width=96),
            face_renderer=FaceRendererSize(
                AppearanceEncoderSize(width=12, residual_blocks=1, carries_picture=True),
                DenseMotionSize(compressed=1, width=4, max_width=64, mask_kernel=1, mask_floor=0.0),
                SpadeDecoderSize(features=32, middle=48, middle_blocks=2, up=(24, 12), hidden=(16, 12, 8)),
            ),
            motion=MotionSize(width=96),
        ),
    )
}
