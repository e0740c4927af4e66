"""The geometry of a procedural head: a height field, lids and lips that part, the path of every point to the frame.

A face is a picture with closed eyes and a closed mouth over the canonical plane. Expression shifts its points, pose
rotates them. Skin above the lids, between lids and lips, and below the lips moves separately, one `Branch` each; the
eyes and the inside of the mouth behind it move rigidly with the head.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..coefficients import BLINK, BROWS, CORNERS, JAW, ROUND, UPPER_LIP, WIDTH, Floats, Pose

GRID = 64  # cells a side of the coarse grid on which positions are inverted, and of the networks' flow
axis = np.linspace(-1, 1, GRID, dtype=np.float32)
GRID_X, GRID_Y = np.meshgrid(axis, axis)


class Branch(IntEnum):
    ABOVE_LIDS = 0
    MIDDLE = 1
    BELOW_LIPS = 2
    RIGID = 3


@dataclass(frozen=True)
class FaceShape:
    """Lengths in units of the frame ([-1, 1]); y of features counts from `centre_y` downwards."""

    scale: float
    centre_x: float
    centre_y: float
    half_width: float
    chin: float
    eye_x: float
    eye_y: float
    eye_half_width: float
    eye_height: float
    eye_opening: float  # of `eye_height`, when the blink coefficient is 0
    nose_y: float
    mouth_y: float
    mouth_half_width: float
    mouth_curve: float
    dome: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> "FaceShape":
        """Draw a face as the portrait crop frames them: eyes a little above the middle, about half a unit apart."""
        u = rng.uniform
        scale = u(1.25, 1.75)
        eye_y = u(-0.15, -0.08) * scale
        return cls(
            scale=scale,
            centre_x=u(-0.1, 0.1),
            centre_y=u(-0.17, 0.0) - eye_y,
            half_width=u(0.29, 0.38) * scale,
            chin=u(0.43, 0.53) * scale,
            eye_x=u(0.145, 0.185) * scale,
            eye_y=eye_y,
            eye_half_width=u(0.06, 0.085) * scale,
            eye_height=u(0.034, 0.06) * scale,
            eye_opening=u(0.7, 1.0),
            nose_y=u(0.06, 0.12) * scale,
            mouth_y=u(0.22, 0.28) * scale,
            mouth_half_width=u(0.10, 0.155) * scale,
            mouth_curve=u(-0.25, 0.25),
            dome=u(0.38, 0.52) * scale,
        )

    def depth(self, x: Floats, y: Floats) -> Floats:
        """Return z of the surface over the canonical plane."""
        x, y, s = x - self.centre_x, y - self.centre_y, self.scale
        head = (x / (0.36 * s)) ** 2 + ((y + 0.05 * s) / (0.52 * s)) ** 2
        nose = (x / (0.05 * s)) ** 2 + ((y - self.nose_y + 0.02 * s) / (0.09 * s)) ** 2
        z: Floats = self.dome * np.exp(-0.5 * head) + 0.10 * s * np.exp(-0.5 * nose) - 0.12 * s
        return z

    def lip_line(self, x: Floats) -> Floats:
        """Return y where the closed lips meet."""
        u = np.clip((x - self.centre_x) / self.mouth_half_width, -1, 1)
        line: Floats = self.centre_y + self.mouth_y + self.mouth_curve * 0.06 * self.scale * u * u
        return line

    def across_eye(self, x: Floats) -> Floats:
        """Return the position across either eye, -1 to 1 from one corner to the other."""
        u: Floats = (np.abs(x - self.centre_x) - self.eye_x) / self.eye_half_width
        return u

    def lid_line(self, x: Floats) -> Floats:
        """Return y where the closed lids meet."""
        u = np.clip(self.across_eye(x), -1, 1)
        line: Floats = self.centre_y + self.eye_y + 0.35 * self.eye_height * (1 - u * u)
        return line

    def expression(self, x: Floats, y: Floats, blendshapes: Floats, branch: Branch) -> tuple[Floats, Floats]:
        """Return the shift of canonical points under an expression."""
        if branch == Branch.RIGID:
            return np.zeros_like(x), np.zeros_like(y)
        s, b = self.scale, blendshapes
        canonical_x, canonical_y = x, y
        x, y = x - self.centre_x, y - self.centre_y
        from_mouth = y - self.mouth_y

        # The jaw takes the chin along, the lower lip opens more than it, the upper lip hardly.
        falls = smooth_step((from_mouth + 0.08 * s) / (0.30 * s)) * np.exp(-((x / (0.42 * s)) ** 2))
        falls = falls * (1 - smooth_step((y - self.chin - 0.03 * s) / (0.35 * s)))
        dy = b[JAW] * 0.12 * s * falls
        u = x / self.mouth_half_width
        lens = np.clip(1 - u * u, 0, 1)
        fade = np.exp(-((from_mouth / (0.11 * s)) ** 2))
        if branch == Branch.BELOW_LIPS:
            dy = dy + b[JAW] * 0.105 * s * lens * np.where(from_mouth > 0, fade, 1)
        else:
            lift = (0.015 * b[JAW] + 0.045 * b[UPPER_LIP]) * s
            dy = dy - lift * lens * np.where(from_mouth < 0, fade, 1)

        near = np.exp(-((u / 1.7) ** 2) - (from_mouth / (0.13 * s)) ** 2)
        dx = (0.035 * b[WIDTH] - 0.05 * b[ROUND] + 0.02 * b[CORNERS]) * s * u * near
        dy = dy + (0.35 * b[ROUND] * from_mouth - 0.035 * b[CORNERS] * s * np.minimum(u * u, 1.5)) * near

        brow = np.exp(-(((np.abs(x) - self.eye_x) / (0.12 * s)) ** 2) - ((y - self.eye_y + 0.13 * s) / (0.06 * s)) ** 2)
        dy = dy - b[BROWS] * 0.05 * s * brow
        if branch == Branch.ABOVE_LIDS:
            across = self.across_eye(canonical_x)
            above = self.centre_y + self.eye_y - canonical_y
            opening = self.eye_opening * (1 - b[BLINK]) * self.eye_height * 1.35
            rolled = np.where(above > 0, np.exp(-((above / (0.095 * s)) ** 2)), 1)
            dy = dy - opening * np.clip(1 - across * across, 0, 1) * rolled
        return dx, dy

    def to_frame(self, x: Floats, y: Floats, blendshapes: Floats, pose: Pose, branch: Branch) -> tuple[Floats, Floats]:
        """Return where canonical points of a branch lie in the frame; below the chin the rotation fades out."""
        dx, dy = self.expression(x, y, blendshapes, branch)
        px, py, pz = x + dx, y + dy, self.depth(x, y)
        r = pose.rotation()
        head = 1 - smooth_step((y - self.centre_y - self.chin) / (0.5 * self.scale))
        qx = r[0, 0] * px + r[0, 1] * py + r[0, 2] * pz
        qy = r[1, 0] * px + r[1, 1] * py + r[1, 2] * pz + np.float32(pose.shift)
        return px + head * (qx - px), py + head * (qy - py)

    def from_frame(
        self,
        blendshapes: Floats,
        pose: Pose,
        branch: Branch,
        start: tuple[Floats, Floats] | None = None,
        iterations: int = 6,
    ) -> tuple[Floats, Floats]:
        """Return the canonical points seen at the cells of the grid, by fixed-point iteration: two [64, 64]."""
        x, y = (GRID_X.copy(), GRID_Y.copy()) if start is None else (start[0].copy(), start[1].copy())
        for _ in range(iterations):
            fx, fy = self.to_frame(x, y, blendshapes, pose, branch)
            x -= 0.9 * (fx - GRID_X)
            y -= 0.9 * (fy - GRID_Y)
        return x, y

    def keypoints(self) -> Floats:
        """Return the canonical keypoints [15, 3], in the order of `coefficients.KEYPOINTS`."""
        s = self.scale
        brow, side = self.eye_y - 0.13 * s, self.mouth_y - 0.02 * s
        points = [(0.0, self.nose_y), (-self.eye_x, self.eye_y), (self.eye_x, self.eye_y)]
        points += [(-self.eye_x, brow), (self.eye_x, brow)]
        points += [(-self.mouth_half_width, self.mouth_y), (self.mouth_half_width, self.mouth_y)]
        points += [(0.0, self.mouth_y - 0.025 * s), (0.0, self.mouth_y + 0.035 * s), (0.0, self.chin)]
        points += [(-self.half_width * 0.8, side), (self.half_width * 0.8, side), (0.0, -0.38 * s)]
        points += [(-self.half_width * 1.02, 0.02 * s), (self.half_width * 1.02, 0.02 * s)]
        plane = np.array(points, np.float32) + np.array([self.centre_x, self.centre_y], np.float32)
        z = self.depth(plane[:, 0], plane[:, 1])
        points_in_space: Floats = np.concatenate([plane, z[:, None]], 1).astype(np.float32)
        return points_in_space


def smooth_step(x: Floats) -> Floats:
    """Return 0 below 0, 1 above 1, and between them a curve with level ends."""
    x = np.clip(x, 0, 1)
    y: Floats = x * x * (3 - 2 * x)
    return y
