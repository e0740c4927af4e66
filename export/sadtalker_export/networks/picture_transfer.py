"""The portrait's own pixels in every frame: sharp where they were visible, decoded where they were not.

A narrow decoder cannot redraw a face in detail. So the volume carries the picture in its last three channels, whose
depth slices are the 4 x 4 pixels of every cell, and pixels that stay visible are copied from there.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .convolution import inclusive_grid

COLOURS = 3
CELL = 4  # pixels a side of the picture that a cell of the volume stands for
DECODED, COPIED = 0.3, 0.7  # occlusion up to which a pixel is decoded, and from which it is copied


def carry(volume: Tensor, picture: Tensor) -> Tensor:
    """Put a picture [B, 3, 4H, 4W] in the place of the last channels of a volume [B, C, 16, H, W]."""
    pixels = F.pixel_unshuffle(picture, CELL)
    pixels = pixels.reshape(-1, COLOURS, CELL * CELL, *pixels.shape[2:])
    return torch.cat([volume[:, :-COLOURS], pixels], 1)


def carried(volume: Tensor) -> Tensor:
    """Return the picture [B, 3, 4H, 4W] in a volume."""
    b, _, _, h, w = volume.shape
    pixels = volume[:, -COLOURS:].reshape(b, COLOURS, CELL, CELL, h, w)
    # `F.pixel_shuffle`, in operators that TensorRT has
    return pixels.permute(0, 1, 4, 2, 5, 3).reshape(b, COLOURS, h * CELL, w * CELL)


def transfer(frames: Tensor, picture: Tensor, flow: Tensor, occlusion: Tensor) -> Tensor:
    """Return decoded frames [B, 3, 4H, 4W] with the portrait's pixels wherever they were visible."""
    shift = planar_shift(flow, inclusive_grid((1, *flow.shape[2:4]), flow))
    # In reduced precision a mixture of two pictures in [0, 1] can leave it, and bytes would wrap around.
    return blend(frames, warp(picture, shift, pixel_centres(picture)), occlusion).clamp(0, 1)


def blend(decoded: Tensor, copied: Tensor, occlusion: Tensor) -> Tensor:
    """Blend decoded and copied pixels, both [B, 3, 4H, 4W], by the occlusion map [B, 1, H, W]."""
    visible = F.interpolate(occlusion, scale_factor=float(CELL), mode="bilinear", align_corners=False)
    return decoded + ((visible - DECODED) / (COPIED - DECODED)).clamp(0, 1) * (copied - decoded)


def planar_shift(flow: Tensor, grid: Tensor) -> Tensor:
    """Return the mean over depth of a flow's [B, D, H, W, 3] distance from its grid, in x and y: [B, 2, H, W]."""
    return (flow - grid)[..., :2].mean(1).permute(0, 3, 1, 2)


def warp(picture: Tensor, shift: Tensor, centres: Tensor) -> Tensor:
    """Sample a picture [B, 3, H, W] at pixel `centres` [1 or B, h, w, 2] after a shift [B, 2, h/4, w/4]."""
    rows, columns = (enlargement(n, shift) for n in shift.shape[-2:])
    # bilinearly; in operators that ONNX Runtime has in float64, too, in which bf16 exports keep positions
    shift = (rows @ shift @ columns.T).permute(0, 2, 3, 1)
    # A step of the flow's grid, which includes both ends, is a cell; here the frame's edges are at -1 and 1.
    width, height = picture.shape[3] // CELL, picture.shape[2] // CELL
    shift = shift * shift.new_tensor([(width - 1) / width, (height - 1) / height])
    return F.grid_sample(picture, centres + shift, padding_mode="border", align_corners=False)


def enlargement(count: int, like: Tensor) -> Tensor:
    """Return the share of each value in each pixel of a bilinear enlargement by CELL: [CELL * count, count]."""
    values = torch.arange(count, dtype=like.dtype, device=like.device)
    pixels = torch.arange(CELL * count, dtype=like.dtype, device=like.device)
    positions = ((pixels + 0.5) / CELL - 0.5).clamp(0, count - 1)
    return (1 - (positions.unsqueeze(1) - values).abs()).clamp(min=0)


def pixel_centres(picture: Tensor) -> Tensor:
    """Return the coordinates (x, y) of the pixels of [..., H, W], the frame's edges at -1 and 1: [1, H, W, 2]."""
    y, x = ((torch.arange(n, dtype=picture.dtype, device=picture.device) * 2 + 1) / n - 1 for n in picture.shape[-2:])
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y], -1).unsqueeze(0)
