"""Fragmented MP4, H.264 and AAC, written chunk by chunk: every fragment can be played as soon as it is there.

FFmpeg's muxer closes a fragment only when the packet after it arrives, which would hold back the frames of every
chunk. So each fragment is a file of its own, numbered and timed as a continuation, of which only the first keeps
its header; what comes out is one fragmented file (ISO/IEC 14496-12, 8.8).
"""

import io
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.media.provenance import marked
from sadtalker_runtime.timing import FRAME_RATE

SOUND_RATE = 48_000  # Hz
SOUND_PER_FRAME = SOUND_RATE // FRAME_RATE  # samples
AAC_BLOCK = 1024  # samples
KEY_INTERVAL = 50  # frames, 2 s: how far a player may seek
BT709 = 1  # number of that standard among FFmpeg's primaries, transfer functions and matrices
BITEXACT = 1 << 23  # AV_CODEC_FLAG_BITEXACT: no library versions in the stream
SOUND_BIT_RATE = 96_000  # per channel
ENCODER_THREADS = 1  # per video: videos run in parallel anyway, and one slice per thread costs bytes
BORDER = 8  # pixels converted around a moving rectangle: the scaler's filter reads those beside it
# FFmpeg's default AAC search mistakes tones for noise now and then, for 40 ms; this one is 6 dB nearer to speech.
SOUND_OPTIONS = {"aac_coder": "fast"}
VIDEO_OPTIONS = {
    "preset": "veryfast",  # 1.7 ms per frame; "medium" takes 4.4 ms to save a tenth of the bytes
    "tune": "zerolatency",  # every frame leaves the encoder at once
    "crf": "18",
    "g": str(KEY_INTERVAL),
}
MUXER_OPTIONS = {
    "movflags": "empty_moov+default_base_moof+frag_custom+frag_discont+skip_trailer",
    "use_editlist": "0",
    "avoid_negative_ts": "disabled",
    "fflags": "+bitexact",
}


class FragmentedMp4:
    """Writes one video with its sound.

    Args:
        frames: of the whole video.
        width, height: of every frame, pixels, even.
        channels: of the sound, 1 or 2.
        read_sound: gives the next n samples of the sound, float32 [channels, n], 48 kHz, silence after its end.
        pixel_aspect: width of a pixel by its height; players stretch the picture by it.
        moving: left, top, right and bottom of the rectangle outside of which all pictures are the same, pixels. What
            stays is converted once. The bytes are the same without it.

    The same input gives the same bytes. The sound ends within 11 ms of the picture.
    """

    def __init__(
        self,
        frames: int,
        width: int,
        height: int,
        channels: int,
        read_sound: Callable[[int], Array],
        pixel_aspect: Fraction = Fraction(1),
        moving: tuple[int, int, int, int] | None = None,
    ) -> None:
        self._frames = frames
        self._converter = _Converter(moving or (0, 0, width, height))
        self._read_sound = read_sound
        self._encoders = av.open(io.BytesIO(), "w", format="mp4")  # only its streams are used
        video = self._encoders.add_stream("libx264", rate=FRAME_RATE, options=VIDEO_OPTIONS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = ENCODER_THREADS
        video.codec_context.sample_aspect_ratio = pixel_aspect
        video.codec_context.color_range = ColorRange.MPEG
        video.codec_context.color_primaries = video.codec_context.color_trc = video.codec_context.colorspace = BT709
        self._layout = "stereo" if channels == 2 else "mono"
        sound = self._encoders.add_stream("aac", rate=SOUND_RATE, layout=self._layout, options=SOUND_OPTIONS)
        sound.bit_rate = channels * SOUND_BIT_RATE
        for stream in (video, sound):
            stream.codec_context.flags |= BITEXACT
        self._encoders.start_encoding()
        self._video, self._sound = video, sound
        self._shown = 0  # frames written
        self._heard = 0  # AAC blocks written
        self._fragments = 0
        # The encoder's first block is a lead-in that plays as (almost) silence. It takes the place of the sound's
        # first block, which is left out: then no player needs to know about the lead-in to be in step.
        read_sound(AAC_BLOCK)
        self._sound_packets: list[av.Packet] = []
        self._sound_fed = 0  # blocks

    @property
    def _sound_blocks(self) -> int:
        """AAC blocks of the whole sound, at least 2."""
        return round(self._frames * SOUND_PER_FRAME / AAC_BLOCK)

    def write(self, pictures: Iterable[Array]) -> bytes:
        """Return the fragment of the next frames and their sound.

        Args:
            pictures: of uint8 [height, width, 3], RGB; none is needed any more when the next one is asked for.
        """
        packets = []
        for picture in pictures:
            frame = self._converter.convert(picture)
            frame.pts, frame.time_base = self._shown, self._video.codec_context.time_base
            packets += self._video.encode(frame)
            self._shown += 1
        last = self._shown >= self._frames
        if last:
            packets += self._video.encode(None)
        for packet in packets:
            packet.duration = 1
        return self._mux(packets, self._sound_until(self._sound_blocks if last else None))

    def close(self) -> None:
        """Release the encoders."""
        self._encoders.close()

    def _sound_until(self, blocks: int | None) -> list[av.Packet]:
        """Return sound packets up to the end of the frames written, or up to so many blocks."""
        if blocks is None:
            blocks = min(self._shown * SOUND_PER_FRAME // AAC_BLOCK, self._sound_blocks)
        packets = self._sound_packets
        while self._heard + len(packets) < blocks:
            if self._sound_fed < self._sound_blocks - 1:
                frame = av.AudioFrame.from_ndarray(self._read_sound(AAC_BLOCK), format="fltp", layout=self._layout)
                frame.sample_rate, frame.pts = SOUND_RATE, self._sound_fed * AAC_BLOCK
                packets += self._sound.encode(frame)
                self._sound_fed += 1
            else:
                packets += self._sound.encode(None)
        self._sound_packets = packets[blocks - self._heard :]
        packets = packets[: blocks - self._heard]
        for packet in packets:
            packet.pts = packet.dts = self._heard * AAC_BLOCK
            packet.duration = AAC_BLOCK
            self._heard += 1
        return packets

    def _mux(self, video: list[av.Packet], sound: list[av.Packet]) -> bytes:
        file = io.BytesIO()
        self._fragments += 1
        options = {**MUXER_OPTIONS, "fragment_index": str(self._fragments)}
        with av.open(file, "w", format="mp4", options=options) as muxer:
            for encoder, packets in ((self._video, video), (self._sound, sound)):
                stream = muxer.add_stream_from_template(encoder)
                for packet in packets:
                    packet.stream = stream
            muxer.mux(video)
            muxer.mux(sound)
        return self._opening(file.getvalue()) if self._fragments == 1 else _without_header(file.getvalue())

    def _opening(self, fragment: bytes) -> bytes:
        """Return the first fragment as it is sent: marked, and with the length of the whole video."""
        return marked(_with_duration(fragment, Fraction(self._frames, FRAME_RATE)))


class _Converter:
    """A converter of pictures from RGB to 4:2:0, of which only a rectangle changes."""

    def __init__(self, moving: tuple[int, int, int, int]) -> None:
        self._moving = moving
        self._frame: av.VideoFrame | None = None

    def convert(self, picture: Array) -> av.VideoFrame:
        """Return the picture uint8 [height, width, 3] in 4:2:0; the next call may overwrite it."""
        height, width = picture.shape[:2]
        left, top, right, bottom = self._moving
        left, top = (max(0, edge - edge % 2 - BORDER) for edge in (left, top))
        right, bottom = min(width, right + right % 2 + BORDER), min(height, bottom + bottom % 2 + BORDER)
        if self._frame is None or (right - left, bottom - top) == (width, height):
            self._frame = _converted(picture)
            return self._frame
        part = _converted(picture[top:bottom, left:right])
        # Pixels at the edge of a cut lack their neighbours; at the picture's own edge there are none.
        cut = (
            (left and BORDER // 2, top and BORDER // 2),
            (right < width and BORDER // 2, bottom < height and BORDER // 2),
        )
        for index, (into, source) in enumerate(zip(_planes(self._frame), _planes(part), strict=True)):
            step = 2 if index else 1  # colours have half the lines
            (x, y), (less_x, less_y) = ((a // step, b // step) for a, b in cut)
            source = source[y : source.shape[0] - less_y, x : source.shape[1] - less_x]
            y, x = y + top // step, x + left // step
            into[y : y + source.shape[0], x : x + source.shape[1]] = source
        return self._frame


def _converted(picture: Array) -> av.VideoFrame:
    # No copy, which would be made under the GIL.
    lent = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="rgb24")
    return lent.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


def _planes(frame: av.VideoFrame) -> list[Array]:
    """Return a frame's planes, uint8 [height, width] each, which can be written."""
    return [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width] for p in frame.planes]


def _without_header(file: bytes) -> bytes:
    """Return what follows the `ftyp` and `moov` boxes."""
    return b"".join(file[start:end] for kind, start, end in _boxes(file) if kind not in (b"ftyp", b"moov"))


def _with_duration(file: bytes, seconds: Fraction) -> bytes:
    """Write into the header of `file` that the whole video lasts `seconds`.

    A header written before the frames says 0, and players then show the length of what has arrived. `mehd` (ISO/IEC
    14496-12, 8.8.2), which is added, is read by browsers and GStreamer; FFmpeg reads the older headers while it
    streams. Fragments count their bytes from their own start, so the header may grow.
    """
    header = bytearray(file)
    moov_start, moov_end = next((start, end) for kind, start, end in _boxes(file) if kind == b"moov")
    time_scale = mvex = 0
    for kind, start, _ in _boxes(file, moov_start + 8, moov_end, inside=(b"trak", b"mdia")):
        if kind in (b"mvhd", b"mdhd"):  # of the movie, then of each track's media
            (scale,) = struct.unpack_from(">I", file, start + 20)
            time_scale = time_scale or scale
            struct.pack_into(">I", header, start + 24, math.ceil(seconds * scale))
        elif kind == b"tkhd":
            struct.pack_into(">I", header, start + 28, math.ceil(seconds * time_scale))
        elif kind == b"mvex":
            mvex = start
    mehd = struct.pack(">I4sII", 16, b"mehd", 0, math.ceil(seconds * time_scale))
    for start in (moov_start, mvex):
        (length,) = struct.unpack_from(">I", file, start)
        struct.pack_into(">I", header, start, length + len(mehd))
    return bytes(header[: mvex + 8] + mehd + header[mvex + 8 :])


def _boxes(
    data: bytes, start: int = 0, end: int | None = None, inside: tuple[bytes, ...] = ()
) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the boxes between two offsets of `data`, and of those in boxes of kind `inside`."""
    end = len(data) if end is None else end
    while start < end:
        length, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + length
        if kind in inside:
            yield from _boxes(data, start + 8, start + length, inside)
        start += length
