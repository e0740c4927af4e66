"""Recordings in every encoding, made with PyAV."""

import io

import av
import numpy as np

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def tone(rate: int, seconds: float, channels: int = 1, amplitude: float = 0.5, hertz: float = 300) -> np.ndarray:
    """Return float32 [channels, samples]: the same sine in every channel."""
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    return np.tile(wave, (channels, 1)).astype(np.float32)


def recording(samples: np.ndarray, rate: int, codec: str = "pcm_s16le", container: str = "wav") -> bytes:
    """Return an audio file with `samples` [channels, n]."""
    file = io.BytesIO()
    layout = LAYOUTS[len(samples)]
    with av.open(file, "w", format=container) as muxer:
        stream = muxer.add_stream(codec, rate=rate, layout=layout)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, layout, rate, frame_size=context.frame_size or 1024)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32), format="fltp", layout=layout)
        frame.sample_rate = rate
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            muxer.mux(stream.encode(block))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def silent_film() -> bytes:
    """Return an MP4 file with a picture and no sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as muxer:
        stream = muxer.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        for _ in range(5):
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        muxer.mux(stream.encode(None))
    return file.getvalue()
