"""The picture of a procedural face with closed eyes and a closed mouth, painted on the canonical plane."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..coefficients import Floats
from .painting import blur, colour, fallen_leaves, noise, polygon
from .shape import FaceShape, smooth_step

SIDE = 288  # pixels of the canvas
EXTENT = 1.12  # it covers [-EXTENT, EXTENT], a little more than the frame
_axis = np.linspace(-EXTENT, EXTENT, SIDE, dtype=np.float32)
CANVAS_X, CANVAS_Y = np.meshgrid(_axis, _axis)
_ROUND = np.linspace(0, 2 * np.pi, 72, dtype=np.float32)


@dataclass(frozen=True)
class Complexion:
    """The colours of a person, RGB in [0, 1]."""

    skin: Floats
    hair: Floats
    lips: Floats
    cloth: Floats
    iris: Floats
    mouth: Floats  # the dark inside
    teeth: Floats
    teeth_shown: float  # how much of the teeth is seen in an open mouth, 0 to 1
    light: Floats  # direction in the plane [2]
    ambient: float

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Complexion":
        u = rng.uniform
        skin = colour(u(8, 36), u(0.15, 0.6), u(0.35, 1))
        if rng.random() < 0.06:  # a painter's licence
            skin = colour(u(0, 360), u(0, 0.5), u(0.3, 1))
        hair = colour(u(0, 50), u(0.1, 0.8), u(0.03, 0.7))
        if rng.random() < 0.15:
            hair = colour(u(0, 360), u(0, 0.9), u(0.05, 0.95))
        return cls(
            skin=skin,
            hair=hair,
            lips=np.clip(skin * np.array([1, u(0.5, 0.85), u(0.5, 0.9)]) * u(0.65, 1.02), 0, 1).astype(np.float32),
            cloth=colour(u(0, 360), u(0, 0.9), u(0.05, 1)),
            iris=colour(u(20, 240), u(0.2, 0.8), u(0.1, 0.6)),
            mouth=np.clip(np.array([0.16, 0.05, 0.05], np.float32) * u(0.4, 1.8), 0, 1),
            teeth=np.array([0.95, 0.92, 0.85], np.float32) * u(0.7, 1),
            teeth_shown=u(0.7, 1) if rng.random() < 0.95 else 0.0,
            light=u(-1, 1, 2).astype(np.float32),
            ambient=u(0.4, 0.9),
        )


class FacePainter:
    """The painting of one face, layer over layer; `paint` is called once."""

    def __init__(self, shape: FaceShape, complexion: Complexion, rng: np.random.Generator) -> None:
        self.shape, self.look, self.rng, self.u = shape, complexion, rng, rng.uniform
        self.x, self.y = CANVAS_X - shape.centre_x, CANVAS_Y - shape.centre_y
        self.picture = np.empty((SIDE, SIDE, 3), np.float32)
        self.alpha = np.zeros((SIDE, SIDE), np.float32)
        self.fine, self.coarse = noise(rng, 72, SIDE), noise(rng, 9, SIDE)
        strands = rng.random((6, 90) if rng.random() < 0.7 else (40, 40), dtype=np.float32)
        strands = cv2.resize(strands, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        self.hair = complexion.hair * (0.55 + 0.9 * (0.6 * strands + 0.4 * self.coarse))[..., None]

    def paint(self) -> Floats:
        """Paint RGB and the mask of the person: [SIDE, SIDE, 4]."""
        self.picture[:] = self.look.hair
        bald = self.rng.random() < 0.07
        if not bald and self.rng.random() < 0.85:
            self.hair_behind()
        self.body()
        shade = self.head()
        self.nose()
        self.lids()
        self.brows()
        lips = self.lips(shade)
        self.lines_and_beard(lips)
        if not bald:
            self.fringe()
        if self.rng.random() < 0.06:
            self.glasses()
        if self.rng.random() < 0.35:  # strokes of a brush
            stroke = noise(self.rng, int(self.u(20, 110)), SIDE, 3) - 0.5
            self.picture *= 1 + self.u(0.05, 0.25) * stroke
        return np.dstack([np.clip(self.picture, 0, 1.2), self.alpha]).astype(np.float32)

    def put(self, mask: Floats, colours: Floats) -> None:
        m = mask[..., None]
        self.picture[:] = self.picture * (1 - m) + colours * m
        np.maximum(self.alpha, mask, out=self.alpha)

    def outline(self, points: Floats, softness: float) -> Floats:
        """Return the mask of a polygon whose points [N, 2] count from the face's centre."""
        centre = np.array([self.shape.centre_x, self.shape.centre_y], np.float32)
        return polygon(np.asarray(points, np.float32) + centre, SIDE, EXTENT, softness)

    def darken(self, amount: Floats) -> None:
        self.picture *= 1 - amount[..., None]

    def hair_behind(self) -> None:
        u, s, shape = self.u, self.shape.scale, self.shape
        width, top = shape.half_width * u(1.12, 1.55), u(0.55, 0.75) * s
        waves = cv2.resize(self.rng.random((1, 9), dtype=np.float32), (72, 1), interpolation=cv2.INTER_CUBIC)[0]
        waves = 1 + 0.05 * waves
        bottom = u(0.1, 0.45) * s if self.rng.random() < 0.55 else u(0.6, 1.1) * s
        height = np.where(np.sin(_ROUND) < 0, top, bottom) * np.sin(_ROUND)
        points = np.stack([width * np.cos(_ROUND) * waves, height * waves - 0.05 * s], 1)
        self.put(self.outline(points, u(0.8, 2.5)), self.hair)

    def body(self) -> None:
        u, s, shape = self.u, self.shape.scale, self.shape
        shoulder, top = u(0.62, 0.95) * s, shape.chin + u(0.14, 0.3) * s
        neck = shape.half_width * u(0.55, 0.8)
        right = [(neck * 1.15, top), (shoulder * 0.75, top + 0.1 * s), (shoulder, top + 0.22 * s), (shoulder, 2.0)]
        points = np.array([(-x, y) for x, y in right[::-1]] + right)
        cloth = self.look.cloth * (0.6 + 0.6 * self.coarse + 0.25 * self.fine)[..., None]
        if self.rng.random() < 0.35:
            cloth = fallen_leaves(self.rng, SIDE) * u(0.4, 1)
        self.put(self.outline(points, 1.2), cloth)
        right = [(neck * 1.3, top + 0.03 * s), (neck, top - 0.02 * s), (neck, 0.1 * s)]
        points = np.array([(-x, y) for x, y in right[::-1]] + [(0.0, top + u(0.05, 0.4) * s)] + right)
        shade = 0.55 + 0.45 * smooth_step((self.y - shape.chin) / (0.35 * s))
        shade = shade * (1 - 0.3 * (self.x / neck * 0.8) ** 2 * (np.abs(self.x) < neck))
        self.put(self.outline(points, 1.2), self.look.skin * np.clip(shade, 0.3, 1)[..., None])

    def head(self) -> Floats:
        """Paint ears and the lit skin; return the shading [SIDE, SIDE]."""
        u, s, shape, look, x, y = self.u, self.shape.scale, self.shape, self.look, self.x, self.y
        for side in (-1, 1):
            ear = [side * shape.half_width + 0.055 * s * np.cos(_ROUND), 0.03 * s + 0.12 * s * np.sin(_ROUND)]
            self.put(self.outline(np.stack(ear, 1), 1), look.skin * u(0.75, 0.95))
        shade = self.shading()
        grain = 0.94 + 0.06 * self.coarse + 0.05 * u(0, 1) * (self.fine - 0.5)
        skin = look.skin * (np.clip(shade, 0.1, 1.5) * grain)[..., None]
        blush = u(0, 0.25)
        for side in (-1, 1):
            spot = blush * np.exp(-0.5 * (((x - side * 0.2 * s) / (0.07 * s)) ** 2 + ((y - 0.1 * s) / (0.06 * s)) ** 2))
            skin = skin * (1 - spot[..., None] * np.array([0, 0.5, 0.4], np.float32))
        if self.rng.random() < 0.15:
            texture = fallen_leaves(self.rng, SIDE)
            skin = skin * (1 + u(0.1, 0.5) * (texture - texture.mean()))
        cosine, sine = np.cos(_ROUND), np.sin(_ROUND)
        width = np.sign(cosine) * np.abs(cosine) ** (2 / u(2.0, 2.6)) * shape.half_width
        width = width * np.where(sine > 0, 1 - u(0.12, 0.3) * sine**2, 1)
        height = np.where(sine < 0, 0.56 * s * sine, shape.chin * sine)
        self.put(self.outline(np.stack([width, height], 1), u(0.7, 1.4)), skin)
        return shade

    def shading(self) -> Floats:
        """Return diffuse light on the head, its nose, eye sockets, cheeks and chin."""
        u, s, shape, x, y = self.u, self.shape.scale, self.shape, self.x, self.y

        def bump(cx: float, cy: float, wide: float, high: float) -> Floats:
            spot: Floats = np.exp(-0.5 * (((x - cx) / (wide * s)) ** 2 + ((y - cy) / (high * s)) ** 2))
            return spot

        ridge = np.exp(-0.5 * (x / (0.035 * s)) ** 2) * (y < shape.nose_y + 0.02 * s)
        ridge = ridge * smooth_step((y - shape.eye_y + 0.02 * s) / (shape.nose_y - shape.eye_y))
        ridge = ridge + 1.3 * bump(0, shape.nose_y, 0.045, 0.035)
        z = shape.dome * bump(0, -0.02 * s, 0.30, 0.42)
        z = z + 0.055 * s * u(0.6, 1.4) * blur(ridge.astype(np.float32), 2)
        for side in (-1, 1):
            z = z - 0.03 * s * bump(side * shape.eye_x, shape.eye_y, 0.08, 0.05)
            z = z + 0.03 * s * bump(side * 0.2 * s, 0.1 * s, 0.08, 0.08)
        z = z + 0.02 * s * bump(0, shape.chin - 0.06 * s, 0.05, 0.04)
        density = SIDE / (2 * EXTENT)
        dy, dx = (d * density for d in np.gradient(z))
        lx, ly = self.look.light
        lit = (1 - dx * lx - dy * (ly - 0.4)) / np.sqrt(1 + dx**2 + dy**2)
        gloss = u(0, 0.1) * np.clip(lit - 0.95, 0, 1) * 4
        shade: Floats = self.look.ambient + (1 - self.look.ambient) * np.clip(lit, 0, 1.6) + gloss
        return shade

    def nose(self) -> None:
        u, s, y0, x, y = self.u, self.shape.scale, self.shape.nose_y, self.x, self.y
        for side in (-1, 1):
            nostril = ((x - side * 0.034 * s) / (0.016 * s)) ** 2 + ((y - y0 - 0.028 * s) / (0.009 * s)) ** 2
            self.darken(u(0.4, 0.75) * np.exp(-nostril))
            wing = ((x - side * 0.055 * s) / (0.009 * s)) ** 2 + ((y - y0 - 0.008 * s) / (0.022 * s)) ** 2
            self.darken(u(0.05, 0.3) * np.exp(-wing))
        self.darken(u(0.05, 0.3) * np.exp(-((x / (0.05 * s)) ** 2) - ((y - y0 - 0.05 * s) / (0.02 * s)) ** 2))

    def lids(self) -> None:
        u, s = self.u, self.shape.scale
        across = self.shape.across_eye(CANVAS_X)
        lens = np.clip(1.25 - across * across, 0, 1)
        below = CANVAS_Y - self.shape.lid_line(CANVAS_X)
        tint = np.array([1, u(0.8, 1), u(0.8, 1)], np.float32) * u(0.7, 1)
        self.picture *= 1 - (np.exp(-(((below + 0.02 * s) / (0.03 * s)) ** 2)) * lens)[..., None] * (1 - tint)
        self.darken(u(0.2, 0.6) * lens * np.exp(-(((below + 0.045 * s) / (0.006 * s)) ** 2)))
        thickness = u(0.006, 0.011) * s
        lashes = np.clip(1.1 - across * across, 0, 1) ** 0.5 * np.exp(-(((below + 0.006 * s) / thickness) ** 2))
        self.darken(u(0.55, 0.95) * lashes)
        self.darken(u(0.05, 0.35) * lens * np.exp(-(((below - 0.008 * s) / (0.006 * s)) ** 2)))

    def brows(self) -> None:
        u, s, shape = self.u, self.shape.scale, self.shape
        thickness, arch, tilt = u(0.010, 0.028) * s, u(0.0, 0.04) * s, u(-0.02, 0.03) * s
        along = np.clip((np.abs(self.x) - shape.eye_x) / (u(0.09, 0.12) * s), -1.4, 1.4)
        line = shape.eye_y - u(0.10, 0.14) * s - arch * (1 - along**2) + tilt * along
        mask = np.exp(-(((self.y - line) / thickness) ** 4)) * smooth_step((1.15 - np.abs(along)) * 4)
        mask = mask * u(0.4, 1) * (0.6 + 0.5 * self.fine) * (self.alpha > 0.5)
        self.put(np.clip(mask, 0, 1), self.look.hair * u(0.4, 1))

    def lips(self, shade: Floats) -> Floats:
        """Paint the lips around their line and return their mask."""
        u, s, shape = self.u, self.shape.scale, self.shape
        across = self.x / shape.mouth_half_width
        lens = np.clip(1 - across * across, 0, 1)
        below = CANVAS_Y - shape.lip_line(CANVAS_X)
        high, low = u(0.022, 0.045) * s, u(0.03, 0.06) * s
        bow = 1 - 0.3 * np.exp(-((across / 0.18) ** 2))
        upper = smooth_step((high * lens**0.8 * bow + below) / (0.010 * s) + 0.5) * (below <= 0)
        lower = smooth_step((low * lens**0.7 - below) / (0.010 * s) + 0.5) * (below > 0)
        mask = (upper + lower) * smooth_step((1.03 - np.abs(across)) * 12) * u(0.5, 1)
        value = u(0.75, 1)
        gloss = value * (1 + 0.25 * np.exp(-(((below - 0.4 * low) / (0.3 * low)) ** 2)))
        tone = np.where(below <= 0, 0.82 * value, gloss) * np.clip(shade, 0.3, 1.3)
        self.put(np.where(self.alpha > 0.5, np.clip(mask, 0, 1), 0), self.look.lips * tone[..., None])
        line = np.exp(-((below / (u(0.004, 0.009) * s)) ** 2)) * smooth_step((1.06 - np.abs(across)) * 8)
        self.darken(u(0.3, 0.85) * line)
        shadow = np.exp(-((across / 0.7) ** 2) - ((below - low - 0.018 * s) / (0.013 * s)) ** 2)
        self.darken(u(0.05, 0.3) * shadow)
        return np.clip(mask, 0, 1).astype(np.float32)

    def lines_and_beard(self, lips: Floats) -> None:
        u, s, shape, x, y = self.u, self.shape.scale, self.shape, self.x, self.y
        from_fold = np.abs(x) - (0.075 * s + 0.55 * (y - shape.nose_y))
        fold = np.exp(-((from_fold / (0.008 * s)) ** 2)) * smooth_step((y - shape.nose_y) / (0.04 * s))
        self.darken(u(0, 0.25) * fold * (1 - smooth_step((y - shape.mouth_y + 0.02 * s) / (0.03 * s))))
        if self.rng.random() < 0.15:
            beard = smooth_step((y - shape.mouth_y + 0.06 * s) / (0.08 * s)) * (1 - np.clip(lips * 2, 0, 1))
            inside = (x / shape.half_width) ** 2 + (y / (shape.chin * 1.08)) ** 2 < 1.0
            beard = beard * inside * (0.4 + 0.6 * self.fine) * u(0.2, 0.95)
            beard = beard * (np.abs(CANVAS_Y - shape.lip_line(CANVAS_X)) > 0.008 * s)
            self.put(np.clip(blur(beard.astype(np.float32), 1), 0, 1), self.look.hair * 0.8)

    def fringe(self) -> None:
        u, s, shape = self.u, self.shape.scale, self.shape
        across = np.linspace(-1.08, 1.08, 24, dtype=np.float32)
        line = -u(0.24, 0.42) * s + u(0, 0.35) * s * np.abs(across - u(-0.2, 0.2)) ** u(1.2, 3)
        line = line + 0.03 * s * self.rng.standard_normal(24) * u(0, 0.6)
        hairline = np.stack([across * shape.half_width, line], 1)
        over = _ROUND[:37]
        skull = np.stack([shape.half_width * 1.14 * np.cos(over), -0.62 * s * np.sin(over)], 1)
        self.put(self.outline(np.concatenate([hairline, skull]), u(0.8, 3)), self.hair * u(0.8, 1.2))

    def glasses(self) -> None:
        u, s, shape = self.u, self.shape.scale, self.shape
        radius = np.sqrt(((np.abs(self.x) - shape.eye_x) / 1.15) ** 2 + (self.y - shape.eye_y) ** 2)
        rim = smooth_step(1.5 - np.abs(radius - 0.1 * s) / (0.008 * s))
        bridge = (np.abs(self.y - shape.eye_y) < 0.008 * s) & (np.abs(self.x) < shape.eye_x - 0.1 * s)
        self.put(np.where(bridge, np.float32(1), rim), colour(u(0, 60), u(0, 0.6), u(0, 0.4)))
