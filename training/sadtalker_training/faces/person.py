"""A procedural person: frames under any expression and pose, with the exact motion between any two of them."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..coefficients import Floats, Pose
from .painting import background, blur
from .shape import GRID, GRID_X, GRID_Y, Branch, FaceShape, smooth_step
from .texture import EXTENT, SIDE, Complexion, FacePainter

SIZE = 256  # pixels a side of a frame
HALF_PIXEL = np.float32(0.5 * 2 / (GRID - 1) * GRID / SIZE)  # from a cell's sampled pixel to the cell's centre
STILL_OPEN = 0.8  # of an opening's cells: with more of them, neither lids nor lips have slid over it
_BESIDE = np.ones((3, 3), np.uint8)
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """A frame, and the surface that each cell of the 64 x 64 grid shows."""

    picture: Bytes  # [256, 256, 3]
    blendshapes: Floats
    pose: Pose
    canonical: Floats  # position on the canonical plane: [64, 64, 2]
    behind: Floats  # the same behind open eyes and mouth, moved by the head alone
    branch: npt.NDArray[np.int64]  # of the skin
    eyes: Flags  # cells that show an eye
    mouth: Flags  # cells that show the inside of the mouth
    person: Flags  # cells that do not show the background
    interior: Flags  # pixels that show the inside of the mouth: [256, 256]
    coverage: Floats  # how much of a pixel the person covers: [256, 256]


@dataclass(frozen=True)
class Photo:
    """A change of the colours by a camera or a painter's hand."""

    mix: Floats  # [3, 3]
    offset: float
    gamma: float
    softness: float
    grain: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Photo":
        u = rng.uniform
        mix = np.eye(3) * u(0.85, 1.1) * u(0.94, 1.06, 3)
        if rng.random() < 0.12:  # black and white, or sepia
            tint = np.array([u(0.8, 1.1), u(0.75, 1), u(0.6, 1)])
            mix = tint[:, None] * np.array([[0.3, 0.59, 0.11]])
        return cls(
            mix=mix.astype(np.float32),
            offset=u(-0.05, 0.06),
            gamma=u(0.7, 1.4),
            softness=u(0.3, 1.2) if rng.random() < 0.4 else 0.0,
            grain=u(0, 0.03) if rng.random() < 0.3 else 0.0,
        )

    def develop(self, picture: Floats, rng: np.random.Generator) -> Bytes:
        developed = np.clip(picture @ self.mix.T + np.float32(self.offset), 0, 1) ** np.float32(self.gamma)
        if self.softness:
            developed = blur(developed, self.softness)
        if self.grain:
            developed = developed + self.grain * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
        return (np.clip(developed, 0, 1) * 255 + 0.5).astype(np.uint8)


class Person:
    """A procedural person: all that stays the same between their frames follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = FaceShape.random(self.rng)
        self.look = Complexion.random(self.rng)
        self.texture = FacePainter(self.shape, self.look, self.rng).paint()
        self.background = background(self.rng, SIZE)
        self.photo = Photo.random(self.rng)

    def view(self, blendshapes: Floats, pose: Pose) -> View:
        """Paint one frame of this person."""
        shape = self.shape
        behind = shape.from_frame(blendshapes, pose, Branch.RIGID, iterations=5)
        middle = shape.from_frame(blendshapes, pose, Branch.MIDDLE, behind)
        above = shape.from_frame(blendshapes, pose, Branch.ABOVE_LIDS, middle, 5)
        below = shape.from_frame(blendshapes, pose, Branch.BELOW_LIPS, middle)
        grids = np.dstack([*behind, *above, *middle, *below]).astype(np.float32)
        fine = cv2.resize(grids, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        xr, yr, xa, ya, xm, ym, xb, yb = (fine[..., i] for i in range(8))

        sharp = np.float32(SIZE / 2)  # edges half a pixel soft
        upper_half = yr < shape.centre_y + 0.5 * (shape.eye_y + shape.mouth_y)
        on_upper_lid = np.clip((shape.lid_line(xa) - ya) * sharp + 0.5, 0, 1)
        on_lower_lid = np.clip((ym - shape.lid_line(xm)) * sharp + 0.5, 0, 1)
        on_upper_lip = np.clip((shape.lip_line(xm) - ym) * sharp + 0.5, 0, 1)
        on_lower_lip = np.clip((yb - shape.lip_line(xb)) * sharp + 0.5, 0, 1)
        is_above, is_below = upper_half & (on_upper_lid >= 0.5), ~upper_half & (on_lower_lip >= 0.5)
        x = np.where(is_above, xa, np.where(is_below, xb, xm))
        y = np.where(is_above, ya, np.where(is_below, yb, ym))
        # Where lids or lips meet, each covers half of a pixel.
        in_eye = upper_half & (np.abs(shape.across_eye(xm)) < 1.1)
        eye_hole = np.where(in_eye, np.clip(1 - on_upper_lid - on_lower_lid, 0, 1), 0)
        aside = np.abs(xm - shape.centre_x) > shape.mouth_half_width * 1.1
        mouth_hole = np.where(upper_half | aside, 0, np.clip(1 - on_upper_lip - on_lower_lip, 0, 1))

        to_canvas = np.float32((SIDE - 1) / (2 * EXTENT))
        sampled = cv2.remap(
            self.texture,
            ((x + EXTENT) * to_canvas).astype(np.float32),
            ((y + EXTENT) * to_canvas).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        picture, alpha = sampled[..., :3], sampled[..., 3]
        if eye_hole.max() > 0:
            rows = _span(eye_hole)
            _cover(picture, eye_hole, rows, self._eyes(xr[rows], yr[rows]))
        if mouth_hole.max() > 0:
            rows = _span(mouth_hole)
            _cover(picture, mouth_hole, rows, self._mouth(xr[rows], yr[rows], xb[rows], yb[rows]))
        picture = self.background + (picture - self.background) * alpha[..., None]

        cells = (slice(1, None, SIZE // GRID),) * 2
        branch = np.where(is_above, Branch.ABOVE_LIDS, np.where(is_below, Branch.BELOW_LIPS, Branch.MIDDLE))
        return View(
            picture=self.photo.develop(picture, self.rng),
            blendshapes=blendshapes,
            pose=pose,
            canonical=np.dstack([x[cells], y[cells]]) + HALF_PIXEL,
            behind=np.dstack([xr[cells], yr[cells]]) + HALF_PIXEL,
            branch=branch[cells].astype(np.int64),
            eyes=eye_hole[cells] > 0.5,
            mouth=mouth_hole[cells] > 0.5,
            person=alpha[cells] > 0.5,
            interior=mouth_hole > 0.5,
            coverage=alpha,
        )

    def _eyes(self, x: Floats, y: Floats) -> Floats:
        shape, look = self.shape, self.look
        x = np.abs(x - shape.centre_x) - shape.eye_x
        y = y - shape.centre_y - shape.eye_y + 0.1 * shape.eye_height
        radius = np.sqrt(x**2 + y**2) / (shape.eye_height * 0.8)
        colours = np.array([0.92, 0.89, 0.87], np.float32) * (0.75 + 0.25 * smooth_step(radius * 0.5))[..., None]
        lid_shadow = np.exp(-np.maximum(y + shape.eye_height * 0.8, 0) / (shape.eye_height * 0.5))
        colours = colours * (1 - 0.45 * lid_shadow)[..., None] * min(1.0, look.ambient + 0.35)
        iris = smooth_step((1 - radius) * 6)[..., None]
        colours = colours * (1 - iris) + iris * look.iris * (0.6 + 0.6 * radius[..., None])
        colours = colours * (1 - 0.92 * smooth_step((0.45 - radius) * 8))[..., None]
        size = 0.16 * shape.eye_height
        glint = np.exp(-((x + 0.25 * shape.eye_height) ** 2 + (y + 0.3 * shape.eye_height) ** 2) / size**2)[..., None]
        lit: Floats = colours * (1 - glint) + glint
        return lit

    def _mouth(self, x: Floats, y: Floats, lower_x: Floats, lower_y: Floats) -> Floats:
        """Paint the inside of the mouth: tongue, upper teeth (fixed to the skull), lower teeth (moved by the lip)."""
        s, shape, look = self.shape.scale, self.shape, self.look
        below_line, above_lip = y - shape.lip_line(x), lower_y - shape.lip_line(lower_x)
        x = x - shape.centre_x
        u = x / shape.mouth_half_width
        colours = look.mouth * (1.15 - 0.5 * np.clip(np.abs(u), 0, 1))[..., None]
        tongue = smooth_step((above_lip + 0.05 * s) / (0.03 * s)) * np.exp(-((u / 0.55) ** 4))
        colours = colours + tongue[..., None] * look.lips * 0.45
        gaps = 1 - 0.18 * np.exp(-((((x / (0.026 * s)) % 1 - 0.5) / 0.08) ** 2))
        light = (look.ambient * 0.5 + 0.5) * (1 - 0.4 * u * u) * gaps
        upper = smooth_step((0.028 * s - below_line) / (0.006 * s)) * smooth_step((0.85 - np.abs(u)) * 6)
        lower = smooth_step((above_lip + 0.018 * s) / (0.008 * s)) * smooth_step((0.7 - np.abs(u)) * 6)
        for mask, amount in ((upper, 1.0), (lower * 0.6, 0.7)):
            m = (mask * look.teeth_shown)[..., None]
            colours = colours * (1 - m) + m * look.teeth * (light * amount)[..., None]
        lip_shadow = np.exp(-np.clip(below_line / (0.012 * s), 0, None)) * (1 - look.ambient)
        colours = colours * (1 - 0.6 * lip_shadow)[..., None]
        lit: Floats = np.clip(colours, 0, 1)
        return lit

    def flow(self, driving: View, source: View) -> tuple[Floats, Floats]:
        """Return the origin of every driving cell in the source, and whether it was visible there.

        Origins are [64, 64, 2] in units of the frame, visibilities [64, 64] of 0 and 1. The inside of a mouth or an eye
        was visible where the source's is open; the background, where nobody stood. A lid or a lip that has slid over
        what was an open eye or mouth counts as hidden, with the cells beside it: it lay folded in a photograph, and its
        few pixels cannot be stretched over the opening.
        """
        flow = np.empty((GRID, GRID, 2), np.float32)
        x, y = driving.canonical[..., 0], driving.canonical[..., 1]
        for branch in (Branch.ABOVE_LIDS, Branch.MIDDLE, Branch.BELOW_LIPS):
            there = driving.branch == branch
            moved = self.shape.to_frame(x[there], y[there], source.blendshapes, source.pose, branch)
            flow[there] = np.stack(moved, -1)
        holes = driving.eyes | driving.mouth
        rigid = np.dstack(
            self.shape.to_frame(
                driving.behind[..., 0], driving.behind[..., 1], source.blendshapes, source.pose, Branch.RIGID
            )
        )
        flow[holes] = rigid[holes]
        flow[~driving.person] = np.stack([GRID_X, GRID_Y], -1)[~driving.person]

        column, row = _cells(flow)
        visible = np.ones((GRID, GRID), np.float32)
        visible[driving.mouth & ~source.mouth[row, column]] = 0
        visible[driving.eyes & ~source.eyes[row, column]] = 0
        visible[~driving.person & source.person[row, column]] = 0
        column, row = _cells(rigid)
        for opened, was_open in ((driving.eyes, source.eyes), (driving.mouth, source.mouth)):
            if opened.sum() > STILL_OPEN * was_open.sum():
                continue
            covered = was_open[row, column] & ~opened
            beside = cv2.dilate(covered.astype(np.uint8), _BESIDE) > 0
            visible[beside & ~opened & driving.person] = 0
        return flow, visible


def _cells(positions: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the columns and rows of the cells nearest to positions [64, 64, 2]."""
    cell = np.clip(((positions + 1) * 0.5 * (GRID - 1)).round().astype(np.int64), 0, GRID - 1)
    return cell[..., 0], cell[..., 1]


def _span(mask: Floats) -> slice:
    """Return the rows that a mask touches."""
    rows = np.flatnonzero((mask > 0).any(1))
    return slice(int(rows[0]), int(rows[-1]) + 1)


def _cover(picture: Floats, mask: Floats, rows: slice, colours: Floats) -> None:
    m = mask[rows][..., None]
    picture[rows] = picture[rows] * (1 - m) + colours * m
