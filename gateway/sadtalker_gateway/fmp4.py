"""Fragmented MP4 (ISO/IEC 14496-12, 8.8): several videos become one by renumbering and retiming their fragments.

No picture is touched: a fragment's number (`mfhd`) and the time at which each of its tracks begins (`tfdt`) are
rewritten, and the header of every video but the first is left out.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

_INDEXES = (b"sidx", b"ssix", b"mfra")  # byte positions, which joining changes
_CONTAINERS = (b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"traf")

# Bits of the flags of `tfhd` and `trun` (8.8.7 and 8.8.8).
_BASE_DATA_OFFSET, _SAMPLE_DESCRIPTION, _DEFAULT_DURATION = 0x1, 0x2, 0x8
_DATA_OFFSET, _FIRST_FLAGS, _DURATION, _SIZE, _FLAGS, _TIME_OFFSET = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800


class Fmp4Error(ValueError):
    """The bytes are not a fragmented MP4, or not one that continues the videos before it."""


@dataclass(frozen=True)
class Track:
    """The facts that a header states about one track.

    `kind` is "vide" or "soun"; `timescale` is in units per second; `default_duration` of a sample is in these units;
    `width` and `height` are in pixels, 0 for sound; `description` is the whole sample description box.
    """

    id: int
    kind: str
    timescale: int
    default_duration: int
    width: int
    height: int
    description: bytes


class BoxReader:
    """Cuts a stream of bytes, which may arrive in any pieces, into top-level boxes."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield each box that is now complete as its type and all of its bytes, header included."""
        self._pending += data
        while len(self._pending) >= 8:
            length, kind = struct.unpack_from(">I4s", self._pending)
            if length == 1 and len(self._pending) >= 16:
                (length,) = struct.unpack_from(">Q", self._pending, 8)
            elif length < 8:
                if length == 1:
                    return  # the 64-bit length is still to come
                raise Fmp4Error(f"expected a box of 8 bytes or more, got one of {length}")
            if len(self._pending) < length:
                return
            box, self._pending = self._pending[:length], self._pending[length:]
            yield kind, box

    @property
    def empty(self) -> bool:
        """Whether no box is left incomplete."""
        return not self._pending


class FragmentJoiner:
    """Turns videos of equal format, one after the other, into one continuous fragmented MP4.

    Every video begins when the longest track before it has ended, so sound and picture stay in step; where a video's
    tracks do not end together, the shorter one pauses for the difference (up to half an AAC block, 11 ms, for
    videos of the model `sadtalker`, and not at all if their number of frames is a multiple of 8).
    """

    def __init__(self) -> None:
        self._reader = BoxReader()
        self._tracks: dict[int, Track] | None = None  # of the first video, which all others must match
        self._has_header = False  # of the present video
        self._in_fragments = False  # of the present video
        self._fragments = 0
        self._start = self._end = Fraction(0)  # of the present video, seconds

    @property
    def seconds(self) -> float:
        """Length of what has been joined so far."""
        return float(self._end)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, known once a header has come."""
        for track in (self._tracks or {}).values():
            if track.kind == "vide":
                return track.width, track.height
        return None

    def feed(self, data: bytes) -> bytes:
        """Return what `data`, the next bytes of the present video, add to the joined file.

        Raises:
            Fmp4Error: no fragmented MP4, or its tracks are not those of the first video.
        """
        try:
            return b"".join(self._rewritten(kind, box) for kind, box in self._reader.feed(data))
        except struct.error as error:
            raise Fmp4Error(f"expected a fragmented MP4, got a box that is too short: {error}") from error

    def end_video(self) -> None:
        """Tell that the present video is complete; what is fed from now on is the next one."""
        if not self._reader.empty:
            raise Fmp4Error("expected a whole video, got one that ends in the middle of a box")
        self._start, self._has_header, self._in_fragments = self._end, False, False

    def _rewritten(self, kind: bytes, box: bytes) -> bytes:
        if kind == b"moov":
            return self._header(box)
        if kind == b"moof":
            return self._fragment(box)
        if not self._in_fragments:  # file type, marks and the like belong to the file once
            return box if self._fragments == 0 and kind not in _INDEXES else b""
        return b"" if kind in _INDEXES else box

    def _header(self, moov: bytes) -> bytes:
        tracks = read_tracks(moov)
        self._has_header = True
        if self._tracks is None:
            self._tracks = tracks
            return moov
        if tracks != self._tracks:
            raise Fmp4Error("expected a video of the same size and format as the ones before it, got another")
        return b""

    def _fragment(self, moof: bytes) -> bytes:
        if not self._has_header or self._tracks is None:
            raise Fmp4Error("expected a header before the first fragment, got none")
        self._fragments += 1
        self._in_fragments = True
        fragment = bytearray(moof)
        for kind, start, end in _boxes(moof, 8, len(moof)):
            if kind == b"mfhd":
                struct.pack_into(">I", fragment, start + 4, self._fragments)
            elif kind == b"traf":
                self._retime(fragment, start, end)
        return bytes(fragment)

    def _retime(self, fragment: bytearray, start: int, end: int) -> None:
        assert self._tracks is not None
        track: Track | None = None
        time = duration = default_duration = 0
        for kind, at, _ in _boxes(fragment, start, end):
            if kind == b"tfhd":
                track, default_duration = self._track_header(fragment, at)
            elif kind == b"tfdt":
                if track is None:
                    raise Fmp4Error("expected a track's header before its time, got none")
                wide = fragment[at] == 1
                (time,) = struct.unpack_from(">Q" if wide else ">I", fragment, at + 4)
                time += round(self._start * track.timescale)
                struct.pack_into(">Q" if wide else ">I", fragment, at + 4, time)
            elif kind == b"trun":
                duration += _run_duration(fragment, at, default_duration)
        if track is not None:
            self._end = max(self._end, Fraction(time + duration, track.timescale))

    def _track_header(self, fragment: bytearray, at: int) -> tuple[Track, int]:
        flags, track_id = struct.unpack_from(">II", fragment, at)
        track = (self._tracks or {}).get(track_id)
        if track is None:
            raise Fmp4Error(f"expected fragments of the header's tracks, got one of track {track_id}")
        if not flags & _DEFAULT_DURATION:
            return track, track.default_duration
        at += 8 + 8 * bool(flags & _BASE_DATA_OFFSET) + 4 * bool(flags & _SAMPLE_DESCRIPTION)
        (duration,) = struct.unpack_from(">I", fragment, at)
        return track, duration


def read_tracks(moov: bytes) -> dict[int, Track]:
    """Return the tracks that a `moov` box declares, by their number."""
    defaults = {}
    found = []
    for kind, start, end in _boxes(moov, 8, len(moov)):
        if kind == b"mvex":
            for inner, at, _ in _boxes(moov, start, end):
                if inner == b"trex":
                    track_id, _, duration = struct.unpack_from(">III", moov, at + 4)
                    defaults[track_id] = duration
        elif kind == b"trak":
            found.append(dict(_leaves(moov, start, end)))
    tracks = {}
    for boxes in found:
        header, media, handler = boxes[b"tkhd"], boxes[b"mdhd"], boxes[b"hdlr"]
        (track_id,) = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)
        (timescale,) = struct.unpack_from(">I", media, 20 if media[0] == 1 else 12)
        width, height = (number >> 16 for number in struct.unpack(">II", header[-8:]))
        media_kind = handler[8:12].decode("latin-1")
        default = defaults.get(track_id, 0)
        tracks[track_id] = Track(track_id, media_kind, timescale, default, width, height, boxes[b"stsd"])
    return tracks


def _leaves(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    for kind, at, stop in _boxes(data, start, end):
        if kind in _CONTAINERS:
            yield from _leaves(data, at, stop)
        else:
            yield kind, data[at:stop]


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, first and last position of the content of each box between two positions."""
    while start < end:
        length, kind = struct.unpack_from(">I4s", data, start)
        if length < 8 or start + length > end:
            raise Fmp4Error(f"expected a box within {end - start} bytes, got one of {length}")
        yield kind, start + 8, start + length
        start += length


def _run_duration(data: bytearray, at: int, default_duration: int) -> int:
    flags, samples = struct.unpack_from(">II", data, at)
    if not flags & _DURATION:
        return int(samples * default_duration)
    at += 8 + 4 * bool(flags & _DATA_OFFSET) + 4 * bool(flags & _FIRST_FLAGS)
    step = 4 + 4 * bool(flags & _SIZE) + 4 * bool(flags & _FLAGS) + 4 * bool(flags & _TIME_OFFSET)
    durations = (data[at + index * step : at + index * step + 4] for index in range(samples))
    return sum(int.from_bytes(duration, "big") for duration in durations)
