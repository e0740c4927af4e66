"""The arrays of SadTalker's networks, from inputs with the names and shapes of the figures."""

import torch
from sadtalker_runtime.speech.pose import pose_chunks, smooth
from torch import Tensor

from ..networks.appearance_encoder import AppearanceEncoder
from ..networks.audio2exp import EXPRESSION, Audio2Exp
from ..networks.audio2pose import LATENT, POSE, Audio2Pose
from ..networks.face_reconstruction import FaceReconstruction
from ..networks.face_renderer import FaceRenderer
from ..networks.keypoint_detector import KeypointDetector
from ..networks.motion import LARGEST_GIVEN, WINDOW, HeadMotion, Motion
from .bench import Bench
from .registry import Values, producer

COEFFICIENTS = EXPRESSION + POSE
CHUNK = 5  # frames that the exported motion and renderer networks take at once
POSE_STYLE = 3
NO_ANGLE = 2 * LARGEST_GIVEN  # degrees: leaves the angle to the network
GREY_LEVEL = 1 / 255  # exported frames are bytes
RENDERING = {"appearance_encoder", "face_renderer"}  # the networks behind a frame, given the keypoints


@producer(r"mapping\.(yaw|pitch|roll|t|exp)", networks={"motion"})
def mapping(bench: Bench) -> Values:
    return _head_motion_values("mapping", _head_motion(bench))


@producer(r"mapping_full\.(yaw|pitch|roll|t|exp)", networks={"motion_full"})
def mapping_full(bench: Bench) -> Values:
    motion = bench.network("motion_full", Motion)
    return _head_motion_values("mapping_full", motion.mapping(bench.input("mapping_full", (2, 73, WINDOW))))


@producer(r"keypoints\.canonical", networks={"keypoint_detector"}, exported={"appearance_encoder"})
def canonical_keypoints(bench: Bench) -> Values:
    image = _source(bench)
    if bench.onnx:
        return {"keypoints.canonical": bench.run("appearance_encoder", image=image)[1]}
    return {"keypoints.canonical": bench.network("keypoint_detector", KeypointDetector)(image)}


@producer(r"keypoints\.transformed", networks={"motion"}, exported={"motion"})
def transformed_keypoints(bench: Bench) -> Values:
    return {"keypoints.transformed": _moved_keypoints(bench, torch.full((2, 3), NO_ANGLE))}


@producer(r"keypoints\.transformed_fixed_pose", networks={"motion"}, exported={"motion"})
def posed_keypoints(bench: Bench) -> Values:
    yaw_pitch_roll = torch.tensor([[20.0, 5.0, -8.0], [-15.0, 0.0, 3.0]])
    return {"keypoints.transformed_fixed_pose": _moved_keypoints(bench, yaw_pitch_roll)}


@producer(r"audio2exp\.exp", networks={"audio2exp"}, exported={"audio2exp"})
def audio2exp(bench: Bench) -> Values:
    frames = bench.frames("audio2exp.")
    mel = _mel_windows(bench, frames)
    reference = bench.input("ref", (1, 1, COEFFICIENTS))[0, :, :EXPRESSION].repeat(frames, 1)
    blink = bench.input("blink", (1, frames, 1), 0, 1)[0]
    if bench.onnx:
        (expression,) = bench.run("audio2exp", mel=mel, reference_expression=reference, blink=blink)
    else:
        expression = bench.network("audio2exp", Audio2Exp)(mel, reference, blink)
    return {"audio2exp.exp": expression[None]}


@producer(r"audio2pose\.pose(_smoothed)?", networks={"audio2pose"}, exported={"audio2pose"})
def audio2pose(bench: Bench) -> Values:
    frames = bench.frames("audio2pose.")
    mel = _mel_windows(bench, frames)
    reference = bench.input("ref", (1, 1, COEFFICIENTS))[0, :, EXPRESSION:]
    style = torch.tensor([[POSE_STYLE]])
    pose = [reference]
    for chunk in pose_chunks(0, frames, frames):
        heard, latent = mel[torch.from_numpy(chunk.heard)][None], bench.input(f"z{chunk.index}", (1, LATENT))
        if bench.onnx:
            inputs = {"mel": heard, "latent": latent, "pose_style": style, "reference_pose": reference}
            (motion,) = bench.run("audio2pose", **inputs)
        else:
            motion = bench.network("audio2pose", Audio2Pose)(heard, latent, style, reference)
        pose.append(reference + motion[0, chunk.start - chunk.stop :])
    whole = torch.cat(pose)
    return {"audio2pose.pose": whole[None], "audio2pose.pose_smoothed": smooth(whole.numpy())[None]}


@producer(r"reconstruction\.coeffs", networks={"face_reconstruction"}, exported={"face_reconstruction"})
def reconstruction(bench: Bench) -> Values:
    image = bench.input("recon", (1, 3, 224, 224), 0, 1)
    if bench.onnx:
        return {"reconstruction.coeffs": bench.run("face_reconstruction", image=image)[0]}
    return {"reconstruction.coeffs": bench.network("face_reconstruction", FaceReconstruction)(image)}


@producer(r"renderer\.feature", networks={"appearance_encoder"}, exported={"appearance_encoder"})
def appearance(bench: Bench) -> Values:
    return {"renderer.feature": _appearance(bench, _source(bench))[:, ::4, ::4, ::4, ::4]}


@producer(r"renderer\.(occlusion|deformation)", networks=RENDERING)
def dense_motion(bench: Bench) -> Values:
    volume = bench.network("appearance_encoder", AppearanceEncoder)(_source(bench))
    flow, occlusion = bench.network("face_renderer", FaceRenderer).dense_motion(volume, *_keypoint_pair(bench))
    return {"renderer.occlusion": occlusion, "renderer.deformation": flow[:, ::2, ::4, ::4]}


@producer(r"renderer\.frame", networks=RENDERING, exported=RENDERING, onnx_tolerance=GREY_LEVEL)
def frame(bench: Bench) -> Values:
    return {"renderer.frame": _frames(bench, _appearance(bench, _source(bench)), *_keypoint_pair(bench))}


@producer(r"renderer512\.frame", networks=RENDERING, exported=RENDERING, onnx_tolerance=GREY_LEVEL)
def frame512(bench: Bench) -> Values:
    image, (source, driving) = bench.input("source512", (1, 3, 512, 512), 0, 1), _keypoint_pair(bench)
    if bench.onnx:
        volume = bench.run("appearance_encoder", 512, image=image)[0]
        keypoints = {"source_keypoints": source, "driving_keypoints": driving[None]}
        (frames,) = bench.run("face_renderer", 512, appearance=volume, **keypoints)
        frame = frames[0].permute(0, 3, 1, 2) / 255
    else:
        volume = bench.network("appearance_encoder", AppearanceEncoder)(image)
        frame = bench.network("face_renderer", FaceRenderer)(volume, source, driving[None])
    return {"renderer512.frame": frame[:, :, ::4, ::4]}


@producer(
    r"animation\.frames",
    networks={"keypoint_detector", "motion", *RENDERING},
    exported={"motion", *RENDERING},
    onnx_tolerance=GREY_LEVEL,
)
def animation(bench: Bench) -> Values:
    image = _source(bench)
    source_window = 0.2 * bench.input("srcsem", (1, COEFFICIENTS, 1)).repeat(1, 1, WINDOW)
    windows = 0.2 * bench.input("target", (1, bench.frames("animation."), COEFFICIENTS, WINDOW))[0]
    canonical = canonical_keypoints(bench)["keypoints.canonical"]
    assert isinstance(canonical, Tensor)
    source, driving = _driven(bench, canonical, source_window), _driven(bench, canonical, windows)
    return {"animation.frames": _frames(bench, _appearance(bench, image), source, driving)[None, ..., ::2, ::2]}


def _source(bench: Bench) -> Tensor:
    return bench.input("source", (1, 3, 256, 256), 0, 1)


def _mel_windows(bench: Bench, frames: int) -> Tensor:
    """Return the mel windows of so many frames: [frames, 80, 16]."""
    return bench.input("mels", (1, frames, 1, 80, 16), -4, 4)[0, :, 0]


def _moved_keypoints(bench: Bench, angles: Tensor) -> Tensor:
    """Return the keypoints of the figures' two cases under head angles [2, 3], degrees: [2, 15, 3]."""
    keypoints, windows = 0.3 * bench.input("kp", (2, 15, 3)), bench.input("mapping", (2, COEFFICIENTS, WINDOW))
    cases = zip(keypoints, windows, angles, strict=True)
    return torch.cat([_driven(bench, kp[None], window[None], angle[None]) for kp, window, angle in cases])


def _keypoint_pair(bench: Bench) -> tuple[Tensor, Tensor]:
    """Return the source and driving keypoints of the renderer's figures."""
    source = 0.3 * bench.input("kp_source", (1, 15, 3))
    return source, source + 0.05 * bench.input("kp_move", (1, 15, 3))


def _head_motion(bench: Bench) -> HeadMotion:
    head_motion: HeadMotion = bench.network("motion", Motion).mapping(bench.input("mapping", (2, COEFFICIENTS, WINDOW)))
    return head_motion


def _head_motion_values(group: str, motion: HeadMotion) -> Values:
    return {
        f"{group}.yaw": motion.yaw,
        f"{group}.pitch": motion.pitch,
        f"{group}.roll": motion.roll,
        f"{group}.t": motion.translation,
        f"{group}.exp": motion.expression.flatten(1),
    }


def _appearance(bench: Bench, image: Tensor) -> Tensor:
    if bench.onnx:
        return bench.run("appearance_encoder", image=image)[0]
    volume: Tensor = bench.network("appearance_encoder", AppearanceEncoder)(image)
    return volume


def _driven(bench: Bench, canonical: Tensor, windows: Tensor, angles: Tensor | None = None) -> Tensor:
    """Return keypoints [N, K, 3]: canonical [1, K, 3] under windows [N, coefficients, 27], angles [N, 3] if given."""
    if angles is None:
        angles = torch.full((len(windows), 3), NO_ANGLE)
    if not bench.onnx:
        keypoints: Tensor = bench.network("motion", Motion)(canonical, windows[None], angles[None])[0]
        return keypoints
    chunks = [
        bench.run(
            "motion",
            canonical_keypoints=canonical,
            coefficient_windows=_padded(chunk),
            head_angles=_padded(chunk_angles),
        )[0][0, : len(chunk)]
        for chunk, chunk_angles in zip(torch.split(windows, CHUNK), torch.split(angles, CHUNK), strict=True)
    ]
    return torch.cat(chunks)


def _frames(bench: Bench, volume: Tensor, source: Tensor, driving: Tensor) -> Tensor:
    """Return frames [N, 3, H, W] in [0, 1] of one portrait under driving keypoints [N, K, 3]."""
    if not bench.onnx:
        renderer = bench.network("face_renderer", FaceRenderer)
        return torch.cat([renderer(volume, source, keypoints[None]) for keypoints in driving])
    portrait = {"appearance": volume, "source_keypoints": source}
    chunks = [
        bench.run("face_renderer", **portrait, driving_keypoints=_padded(chunk))[0][0, : len(chunk)]
        for chunk in torch.split(driving, CHUNK)
    ]
    return torch.cat(chunks).permute(0, 3, 1, 2) / 255


def _padded(chunk: Tensor) -> Tensor:
    """Return one item of a batch: the chunk with its last frame repeated to full length."""
    return torch.cat([chunk, chunk[-1:].expand(CHUNK - len(chunk), *[-1] * (chunk.dim() - 1))])[None]
