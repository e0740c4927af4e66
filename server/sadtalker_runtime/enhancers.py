"""The networks that restore faces or enlarge pictures: values of the options `enhance` and `background`, and models.

To serve one that restores faces, an entry and the network's own configuration suffice: the option's values, the
ensembles that render restored frames (`make generate` writes them), the variants for GPUs and the exporter's specs
follow from it. Nothing but the standard library is imported here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Enhancer:
    """A network that restores the face in rendered frames, and enlarges them."""

    name: str
    """The value of the option `enhance`."""
    model: str
    """The model that runs the network."""
    suffix: str
    """The end of the names of the ensembles that render frames and restore them."""
    weights: str
    """The checkpoint file that it is exported from."""
    scale: int = 2
    """How much larger a frame becomes."""

    def renderer(self, full: bool) -> str:
        """Return the name of the ensemble that renders restored frames, for whole pictures or for crops."""
        return f"{FULL_RENDERER if full else RENDERER}_{self.suffix}"


@dataclass(frozen=True)
class Background:
    """A network that enlarges the picture around the face, tile by tile."""

    name: str
    """The value of the option `background`."""
    model: str
    """The model that runs the network."""
    weights: str
    """The checkpoint file that it is exported from."""
    scale: int = 2
    """How much larger the picture becomes."""
    tile: int = 256
    """Width and height of a tile, pixels."""


RENDERER, FULL_RENDERER = "render_frames", "render_frames_full"
"""The ensembles that render frames and leave them, of crops and of whole pictures."""
ENHANCERS = {
    enhancer.name: enhancer
    for enhancer in (
        Enhancer("gfpgan", "face_enhancer", "enhanced", "GFPGANv1.4.pth"),
        Enhancer("restoreformer", "face_enhancer_restoreformer", "restoreformer", "RestoreFormer.pth"),
    )
}
"""Face restorers by the value of `enhance`. The ensembles of the first are written by hand; the others' follow it."""
BACKGROUNDS = {
    background.name: background
    for background in (Background("realesrgan", "background_enhancer", "RealESRGAN_x2plus.pth"),)
}
"""Networks for whole pictures by the value of `background`."""
