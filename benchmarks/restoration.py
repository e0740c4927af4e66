"""Seconds per frame of restoring and pasting faces: this server's way and SadTalker's, in one run, official sizes.

SadTalker pastes every frame into the picture with OpenCV's seamlessClone, and then lets GFPGAN's helper work on each
whole picture: find the face (RetinaFace), align it, restore it (GFP-GAN), parse it (ParseNet) and paste it into the
enlarged picture, one after the other in PyTorch. The server restores a chunk of five frames in one graph, as
model_repository/face_enhancer runs it, and blends the chunk's rectangles into the picture, which is never enlarged.
Weights are synthetic: they take the same time. The ways take turns; times are medians over the turns, `wall` on the
clock and `cpu` of all threads of the process. Writes benchmarks/results/restoration.json.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import blending
import cv2
import numpy as np
import numpy.typing as npt
import torch
from blending import seconds
from google.protobuf import json_format, text_format
from hardware import describe
from sadtalker_export.checkpoint import loading
from sadtalker_export.networks.frame_enhancer import FACE, TEMPLATE
from sadtalker_export.onnx.graph import export, sample
from sadtalker_export.presets import PRESETS
from sadtalker_export.restoration_specs import PICTURE, RESTORATION_SPECS
from sadtalker_runtime.onnx_backend.session import open_session
from torch import nn
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).parents[1]

Bytes = npt.NDArray[np.uint8]
NETWORKS = {"face_enhancer", "face_detector", "face_parser"}
UPSCALE = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="official")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "restoration.json")
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)  # whatever the environment says: the server's graph takes all, too
    networks = loading.synthetic_networks(PRESETS[args.preset], NETWORKS)
    report = {
        "what": "seconds per frame, this server's way against SadTalker's",
        "preset": args.preset,
        "machine": describe(),
        "turns": args.turns,
        "enhancing": enhancing(networks, args.turns),
        "blending": [blending.measure(height, width, 3 * args.turns) for height, width in blending.RECTANGLES],
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(args.output.read_text())


def enhancing(networks: Mapping[str, nn.Module], turns: int) -> dict[str, object]:
    """Restore frames of 256 pixels by the server's graph, and one by one: found, restored, parsed and pasted."""
    spec = RESTORATION_SPECS["face_enhancer"]
    feed = {tensor.name: sample(spec, tensor, 1) for tensor in spec.inputs}
    frames = feed["frames"][0]
    with tempfile.TemporaryDirectory(prefix="sadtalker-restoration-") as folder:
        path = Path(folder) / "model.onnx"
        export(spec, spec.build(networks), path)
        config = text_format.Parse(
            (ROOT / "model_repository" / "face_enhancer" / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
        )
        described = json_format.MessageToDict(
            config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        session = open_session(path, described, "CPU", "0")
        times: dict[str, list[tuple[float, float]]] = {"ours": [], "original": []}
        session.run(None, feed)  # warm-up
        for _ in range(turns):
            times["ours"].append(seconds(lambda: session.run(None, feed), len(frames)))
            times["original"].append(seconds(lambda: original(networks, frames[0]), 1))
    result: dict[str, object] = {"frames_per_chunk": len(frames)}
    for i, clock in enumerate(("wall", "cpu")):
        ours, theirs = (statistics.median(t[i] for t in times[who]) for who in ("ours", "original"))
        result[clock] = {"ours": ours, "original": theirs, "times_faster": round(theirs / ours, 2)}
    return result


@torch.inference_mode()
def original(networks: Mapping[str, nn.Module], frame: Bytes) -> Bytes:
    """Restore one frame as GFPGAN's helper does; where the synthetic detector finds no face, one is assumed."""
    square = cv2.resize(frame, (PICTURE, PICTURE), interpolation=cv2.INTER_LINEAR)
    networks["face_detector"](_tensor(square))
    landmarks = (np.array(TEMPLATE) / FACE * frame.shape[0]).astype(np.float32)
    matrix, _ = cv2.estimateAffinePartial2D(landmarks, np.array(TEMPLATE, np.float32), method=cv2.LMEDS)
    face = cv2.warpAffine(frame, matrix, (FACE, FACE), borderMode=cv2.BORDER_CONSTANT)
    restored = networks["face_enhancer"](_tensor(face) / 127.5 - 1).clamp(-1, 1)
    classes = networks["face_parser"](restored).argmax(1)[0].numpy()
    restored_face = ((restored[0].permute(1, 2, 0).numpy() + 1) * 127.5).astype(np.uint8)
    mask = np.where((classes > 0) & (classes < 14), np.float32(255), np.float32(0))
    for _ in range(2):
        mask = cv2.GaussianBlur(mask, (101, 101), 11)
    large = cv2.resize(frame, None, fx=UPSCALE, fy=UPSCALE, interpolation=cv2.INTER_LANCZOS4).astype(np.float32)
    back = cv2.invertAffineTransform(matrix) * UPSCALE
    size = large.shape[1], large.shape[0]
    weight = cv2.warpAffine(mask / 255, back, size)[..., None]
    pasted = weight * cv2.warpAffine(restored_face, back, size) + (1 - weight) * large
    return pasted.round().clip(0, 255).astype(np.uint8)


def _tensor(picture: Bytes) -> torch.Tensor:
    return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]


if __name__ == "__main__":
    main()
