"""A contact sheet: portraits as a server would cut them out, blinking, speaking and turned."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from sadtalker_runtime.portrait.finder import cascade_finder
from sadtalker_runtime.portrait.preparation import prepare
from torch import nn

from ..coefficients import BLINK, JAW, ROUND, UPPER_LIP, YAW, Floats
from ..tasks.reconstruction import motion_coefficients
from .clips import ClipRenderer

SPEECHLESS = {JAW: 0.0, ROUND: 0.0, UPPER_LIP: 0.0}
TURN = float(np.deg2rad(15))
COLUMNS = (
    SPEECHLESS | {BLINK: 1.0},
    SPEECHLESS | {JAW: 1.0},  # a
    SPEECHLESS | {JAW: 0.75, ROUND: 0.6},  # o
    SPEECHLESS,  # m
    {YAW: -TURN},
    {YAW: TURN},
)


def contact_sheet(
    networks: Mapping[str, nn.Module], pictures: Sequence[bytes], advance: Callable[[], None]
) -> npt.NDArray[np.uint8]:
    """Return a row per picture: its portrait, then a blink, a, o, m, and the head turned to either side by 15 degrees.

    Args:
        networks: of the demo preset, whose coefficients are known.
        pictures: files in a format that the server takes.
        advance: called after each.

    Returns:
        [256 * pictures, 256 * 7, 3], RGB.

    Raises:
        InputError: a picture shows no usable face.
    """
    finder, rows = cascade_finder(), []
    for data in pictures:
        prepared = prepare(data, finder)
        with torch.no_grad():
            answer = networks["face_reconstruction"](torch.from_numpy(prepared.aligned_face).unsqueeze(0))
        own: Floats = motion_coefficients(answer)[0].numpy()
        coefficients = np.tile(own, (len(COLUMNS), 1))
        for row, changes in zip(coefficients, COLUMNS, strict=True):
            for index, value in changes.items():
                row[index] = value
        portrait = (prepared.face.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
        rows.append(np.concatenate([portrait, *ClipRenderer(networks, portrait, own).poses(coefficients)], 1))
        advance()
    return np.concatenate(rows)
