"""A portrait rendered under given coefficients by the networks in their exported form, in PyTorch."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from sadtalker_export.networks.motion import WINDOW
from sadtalker_export.specs import SPECS
from torch import nn

from ..coefficients import COEFFICIENTS, Floats
from .measures import Frame, Values

HALF = WINDOW // 2


class ClipRenderer:
    """A renderer of one portrait, uint8 [256, 256, 3]; its own coefficients are given or taken for a face at rest."""

    def __init__(self, networks: Mapping[str, nn.Module], portrait: Frame, coefficients: Floats | None = None) -> None:
        build = {name: SPECS[name].build(networks).eval() for name in ("appearance_encoder", "face_renderer")}
        self.motion, self.renderer = networks["motion"], build["face_renderer"]
        image = torch.from_numpy(portrait).permute(2, 0, 1).unsqueeze(0).float() / 255
        with torch.no_grad():
            self.appearance, self.canonical = build["appearance_encoder"](image)
            own = np.zeros(COEFFICIENTS, np.float32) if coefficients is None else coefficients
            self.source = self._keypoints(np.tile(own, (1, 1)))[:, 0]

    @property
    def keypoints(self) -> Values:
        """Return the portrait's keypoints: [15, 3]."""
        found: Values = self.source[0].numpy()
        return found

    def frames(self, coefficients: Floats) -> npt.NDArray[np.uint8]:
        """Render a clip [T, 256, 256, 3] from its coefficients [T, 70]."""
        with torch.no_grad():
            driving = self._keypoints(coefficients)
            clip = [
                self.renderer(self.appearance, self.source, driving[:, i : i + 1])[0, 0]
                for i in range(driving.shape[1])
            ]
        frames: npt.NDArray[np.uint8] = torch.stack(clip).numpy()
        return frames

    def poses(self, coefficients: Floats) -> npt.NDArray[np.uint8]:
        """Render unrelated frames [T, 256, 256, 3]: each row of the coefficients [T, 70] holds for its whole window."""
        return np.concatenate([self.frames(one[None]) for one in coefficients])

    def _keypoints(self, coefficients: Floats) -> torch.Tensor:
        indices = np.clip(np.arange(len(coefficients))[:, None] + np.arange(-HALF, HALF + 1), 0, len(coefficients) - 1)
        windows = torch.from_numpy(coefficients[indices].transpose(0, 2, 1).copy()).unsqueeze(0)
        keypoints: torch.Tensor = self.motion(self.canonical, windows)
        return keypoints
