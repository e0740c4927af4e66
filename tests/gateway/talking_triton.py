"""A fake Triton that animates: an MP4 as long as the recording it is given, in fragments, at a pace of choice."""

import io
import struct
import threading
import time
import wave
from fractions import Fraction
from functools import lru_cache

import av
import numpy as np
from fake_triton import FakeTriton, error, final, fragment
from tritonclient.grpc import service_pb2

FACE = b"\x89PNG a picture with a face"
NO_FACE = b"\x89PNG a picture of a wall"
POSTER = b"\x89PNG the poster"
NO_FACE_ERROR = "INVALID_ARGUMENT: portrait: expected a picture with a face, got one without"
EDGE = 64  # pixels
FRAMES_PER_FRAGMENT = 5
SOUND_RATE = 48_000


@lru_cache
def talking_video(frames: int, edge: int = EDGE) -> bytes:
    """Return a fragmented MP4 of so many frames, from grey to white, and a tone."""
    file = io.BytesIO()
    options = {
        "movflags": "empty_moov+default_base_moof+skip_trailer",
        "frag_duration": str(FRAMES_PER_FRAGMENT * 40_000),
        "use_editlist": "0",
        "fflags": "+bitexact",
    }
    with av.open(file, "w", format="mp4", options=options) as muxer:
        video = muxer.add_stream("libx264", rate=25, options={"tune": "zerolatency", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = edge, edge, "yuv420p"
        video.codec_context.thread_count = 1
        sound = muxer.add_stream("aac", rate=SOUND_RATE, layout="mono")
        blocks = round(frames * SOUND_RATE / 25 / 1024)
        packets = []
        for index in range(blocks):
            samples = np.sin(np.arange(1024, dtype=np.float32) * 0.05)[None] * 0.1
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = SOUND_RATE, index * 1024
            packets += sound.encode(frame)
        packets = (packets + sound.encode(None))[1:]  # without the encoder's lead-in, as the server does
        for index, packet in enumerate(packets[:blocks]):
            packet.pts = packet.dts = index * 1024
        for index in range(frames):
            picture = np.full((edge, edge, 3), 40 + 150 * index // frames, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in video.encode(frame):
                packet.duration = 1
                muxer.mux(packet)
            while packets and packets[0].pts / SOUND_RATE < (index + 1) / 25:
                muxer.mux(packets.pop(0))
    return file.getvalue()


def sound_frames(wav: bytes) -> int:
    """Return how many video frames a WAV file fills, as the server counts."""
    with wave.open(io.BytesIO(wav)) as recording:
        return recording.getnframes() * 25 // recording.getframerate()


def inputs_of(request) -> dict[str, bytes]:
    """Return the content of each input tensor, strings without their length."""
    found = {}
    for tensor, content in zip(request.inputs, request.raw_input_contents, strict=True):
        found[tensor.name] = content[4:] if tensor.datatype == "BYTES" else content
    return found


class TalkingTriton(FakeTriton):
    """Animates every picture but NO_FACE. `pace` is in seconds per fragment; `options` are the model's inputs."""

    def __init__(self, options=("image", "audio", "idle", "seed", "enhance", "poster")):
        super().__init__()
        self.pace = 0.0
        self.options = options
        self.restores = False
        self.at_once = self.most_at_once = self.finished = 0
        self.lock = threading.Lock()
        self.answer = self.animate

    def animate(self, request):
        """Yield the responses to one request."""
        inputs = inputs_of(request)
        if inputs["image"] == NO_FACE:
            yield error(NO_FACE_ERROR)
            return
        if "poster" in inputs:
            yield fragment(POSTER, 1, 1)
            yield final()
            return
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield from self._paced(inputs)
        finally:
            with self.lock:
                self.at_once -= 1

    def _paced(self, inputs):
        if "audio" not in inputs:
            frames = int(struct.unpack("<f", inputs["idle"])[0] * 25)
        elif inputs["audio"][:4] == b"RIFF":
            frames = sound_frames(inputs["audio"])
        else:
            frames = 25
        edge = 2 * EDGE if inputs.get("enhance") == b"gfpgan" else EDGE
        data = talking_video(frames, edge)
        pieces = -(-frames // FRAMES_PER_FRAGMENT)
        step = -(-len(data) // pieces)
        for index in range(pieces):
            time.sleep(self.pace)
            done = min((index + 1) * FRAMES_PER_FRAGMENT, frames)
            yield fragment(data[index * step : (index + 1) * step], done, frames)
        with self.lock:
            self.finished += 1
        yield final()

    def ModelMetadata(self, request, context):  # noqa: N802
        answer = service_pb2.ModelMetadataResponse(name=request.name)
        for name in self.options:
            answer.inputs.add(name=name)
        return answer

    def ModelReady(self, request, context):  # noqa: N802
        if request.name == "face_enhancer":
            return service_pb2.ModelReadyResponse(ready=self.restores)
        return super().ModelReady(request, context)
