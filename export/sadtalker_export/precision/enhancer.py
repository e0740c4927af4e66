"""The judgement of faces that were restored in single and in reduced precision (`precision --enhancer`).

Careless float16 makes GFPGAN return black or single-coloured faces for some portraits. So each picture is judged on its
own, also a little darker and brighter than it is, and only where a frame shows the restored face alone.
"""

import numpy as np
import numpy.typing as npt
import torch

from ..networks.frame_enhancer import SCALE, TEMPLATE, fading, pixels, similarity, transform
from ..restoration_specs import FRAME, RESTORATION_SPECS
from ..specs import FRAMES, KEYPOINTS
from .engines import Engine
from .metrics import Frames, compare_faces

ENHANCER = {"face_enhancer": RESTORATION_SPECS["face_enhancer"]}
EXPOSURES = (1.0, 0.8, 0.9, 1.1, 1.25)  # of the frames of a chunk


def judge(exact: Engine, reduced: Engine, face: torch.Tensor, landmarks: torch.Tensor) -> dict[str, float]:
    """Return a value for each of `FACE_LIMITS` of one portrait, as `portraits.portrait` returns it."""
    frames = [restore(engine, face, landmarks) for engine in (exact, reduced)]
    return compare_faces(frames[0], frames[1], restored_part(landmarks))


def restore(engine: Engine, face: torch.Tensor, landmarks: torch.Tensor) -> Frames:
    """Restore a chunk of a portrait that does not move, at all `EXPOSURES`: uint8 [F, 512, 512, 3]."""
    exposures = torch.tensor(EXPOSURES).reshape(FRAMES, 1, 1, 1)
    frames = (255 * exposures * face.permute(0, 2, 3, 1)).round().clamp(0, 255).to(torch.uint8)
    keypoints = torch.linspace(-0.5, 0.5, KEYPOINTS * 3).reshape(1, KEYPOINTS, 3)
    driving = keypoints[:, None].expand(-1, FRAMES, -1, -1)
    restored: Frames = engine("face_enhancer", (frames[None], landmarks, keypoints, driving))[0][0].numpy()
    return restored


def restored_part(landmarks: torch.Tensor) -> npt.NDArray[np.bool_]:
    """Return the pixels of a restored frame that show nothing of the frame it was made from: [512, 512]."""
    alignment = similarity(landmarks, landmarks.new_tensor(TEMPLATE))
    positions = transform(alignment, (pixels(SCALE * FRAME, SCALE * FRAME, alignment) + 0.5) / SCALE - 0.5)
    part: npt.NDArray[np.bool_] = (fading(positions)[0, 0] == 1).numpy()
    return part
