"""The arrays of the steps before the networks, made by the code that the Triton models run."""

import re

import numpy as np
from sadtalker_runtime.portrait import alignment as face_alignment
from sadtalker_runtime.portrait import crop
from sadtalker_runtime.speech import mel

from .bench import Bench
from .registry import Values, producer

ALIGNED_PICTURE = 256  # pixels; its pixel (x, y) is (x, y, (x + y) / 2 mod 256)


@producer(r"audio\.mel", inputs=r"audio\.wav")
def mel_spectrogram(bench: Bench) -> Values:
    return {"audio.mel": mel.mel_spectrogram(bench.figure("audio.wav"))}


@producer(
    r"crop\d+\.(resized_wh|crop|quad)",
    inputs=r"crop\d+\.(landmarks|image_size_wh)",
)
def crop_geometry(bench: Bench) -> Values:
    values = {}
    for case in sorted({match[0] for name in bench.figures if (match := re.match(r"crop\d+", name))}):
        points = crop.eyes_and_mouth(bench.figure(f"{case}.landmarks"))
        width, height = (int(side) for side in bench.figure(f"{case}.image_size_wh"))
        cut = crop.crop_geometry(points, width, height)
        values[f"{case}.resized_wh"] = np.array(cut.resized)
        values[f"{case}.crop"] = np.array(cut.rectangle)
        values[f"{case}.quad"] = np.array(cut.quad)
    return values


@producer(r"align\.(trans_params|image)", inputs=r"align\.landmarks")
def alignment(bench: Bench) -> Values:
    y, x = np.mgrid[:ALIGNED_PICTURE, :ALIGNED_PICTURE]
    picture = np.stack([x, y, (x + y) // 2 % 256], 2).astype(np.uint8)
    camera, image = face_alignment.align(picture, face_alignment.five_landmarks(bench.figure("align.landmarks")))
    return {"align.trans_params": camera, "align.image": image[::2, ::2]}
