"""The original algorithm, for comparison: SadTalker's pipeline in PyTorch on our plain networks, same weights.

As the published code runs it: two frames at a time, the whole generator for every frame (the portrait's encoder
included), ten frames at a time through the expression network, no reuse of anything between frames.
"""

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import torch
from sadtalker_runtime.animation import windows
from sadtalker_runtime.media import mp4
from sadtalker_runtime.media.audio import Track, decode, track_blocks
from sadtalker_runtime.portrait import finder, preparation
from sadtalker_runtime.speech import blinks, pose
from sadtalker_runtime.speech.clip import Clip
from torch import Tensor, nn

BATCH = 2  # frames per pass of the renderer
EXPRESSION_BATCH = 10


def render(networks: Mapping[str, nn.Module], face: Tensor, source: Tensor, driving: Tensor) -> Tensor:
    """Run the generator for every frame: face [1, 3, H, W], keypoints [1, K, 3], [B, K, 3] -> uint8 [B, H, W, 3]."""
    volume = networks["appearance_encoder"](face.expand(len(driving), -1, -1, -1))
    images = networks["face_renderer"](volume, source.expand(len(driving), -1, -1), driving)
    frames: Tensor = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return frames


class Reference:
    """Animates with PyTorch; `seconds` adds up what each stage took."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._networks = networks
        self._finder = finder.cascade_finder()
        self.seconds: dict[str, float] = {}

    @torch.inference_mode()
    def animate(self, image: bytes, audio: bytes) -> bytes:
        """Animate one portrait with one recording: an MP4."""
        networks = self._networks
        recording = decode(audio, 600)
        with self._stage("portrait"):
            portrait = preparation.prepare(image, self._finder)
            face, aligned = (torch.from_numpy(a)[None] for a in (portrait.face, portrait.aligned_face))
            source = windows.source_coefficients(networks["face_reconstruction"](aligned)[0].numpy())
            canonical = networks["keypoint_detector"](face)
            source_keypoints = self._keypoints(canonical, windows.source_windows(source)[:1])
        with self._stage("coefficients"):
            coefficients = self._coefficients(recording, source)
        frames = []
        with self._stage("render"):
            for start in range(0, recording.frames, BATCH):
                chunk, first = divmod(start, windows.CHUNK)
                pair = [windows.chunk_windows(coefficients, chunk, recording.frames)[first]]
                chunk, second = divmod(start + 1, windows.CHUNK)
                pair.append(windows.chunk_windows(coefficients, chunk, recording.frames)[second])
                driving = self._keypoints(canonical, np.stack(pair))
                frames.append(render(networks, face, source_keypoints, driving))
        with self._stage("encode"):
            return self._encode(torch.cat(frames)[: recording.frames].numpy(), recording)

    def _keypoints(self, canonical: Tensor, windows: np.ndarray) -> Tensor:
        return self._networks["motion"](canonical, torch.from_numpy(windows)[None])[0]

    def _coefficients(self, recording, source: np.ndarray) -> np.ndarray:
        clip = Clip(recording.waveform, source, 0, 0)
        guides = clip.guides(clip.frames, blinks.blink_curve(clip.frames, 0))
        inputs = {k: torch.from_numpy(v) for k, v in clip.expression_inputs(0, clip.frames, guides).items()}
        expression = [
            self._networks["audio2exp"](*(v[i : i + EXPRESSION_BATCH] for v in inputs.values()))
            for i in range(0, clip.frames, EXPRESSION_BATCH)
        ]
        chunks = pose.pose_chunks(*pose.smoothing_range(0, clip.frames, clip.frames), clip.frames)
        motion = [
            self._networks["audio2pose"](*(torch.from_numpy(v) for v in clip.pose_inputs([chunk]).values()))
            for chunk in chunks
        ]
        poses = clip.pose(0, clip.frames, chunks, torch.cat(motion).numpy())
        return np.concatenate([torch.cat(expression).numpy(), poses], axis=1)

    def _encode(self, frames: np.ndarray, recording) -> bytes:
        sound = recording.sound
        track = Track(sound, track_blocks(sound.data, sound.channels))
        height, width = frames.shape[1:3]
        writer = mp4.FragmentedMp4(recording.frames, width, height, recording.sound.channels, track.read, Fraction(1))
        out = io.BytesIO()
        for start in range(0, len(frames), 5):
            out.write(writer.write(frames[start : start + 5]))
        writer.close()
        track.close()
        return out.getvalue()

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
