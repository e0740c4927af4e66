"""The mark that a video is AI-generated: where players pass it by and readers of metadata find it."""

import io
import struct
import xml.etree.ElementTree as ElementTree

import av
import numpy as np
import pytest
from sadtalker_runtime.media import mp4, provenance

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
XMP = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")


@pytest.fixture(scope="module")
def fragments() -> list[bytes]:
    """Return a video of 7 frames in two fragments."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    writer = mp4.FragmentedMp4(7, 64, 64, 1, lambda samples: np.zeros((1, samples), np.float32))
    try:
        return [writer.write([picture] * 5), writer.write([picture] * 2)]
    finally:
        writer.close()


def _boxes(data: bytes) -> list[tuple[str, bytes]]:
    boxes, offset = [], 0
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        boxes.append((kind.decode(), data[offset + 8 : offset + length]))
        offset += length
    assert offset == len(data)
    return boxes


def test_the_first_fragment_says_that_the_video_is_generated(fragments: list[bytes]) -> None:
    boxes = _boxes(fragments[0])
    assert [kind for kind, _ in boxes] == ["ftyp", "moov", "uuid", "moof", "mdat"]
    extended_type, packet = boxes[2][1][:16], boxes[2][1][16:]
    assert extended_type == XMP
    assert packet.startswith(b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith(b'<?xpacket end="r"?>')
    description = ElementTree.fromstring(packet.decode()).find(f"{RDF}RDF/{RDF}Description")
    assert description is not None
    assert description.get(f"{RDF}about") == ""
    assert description.get(f"{IPTC}DigitalSourceType") == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )


def test_later_fragments_carry_no_second_mark(fragments: list[bytes]) -> None:
    assert [kind for kind, _ in _boxes(fragments[1])] == ["moof", "mdat"]


def test_a_marked_video_decodes_like_an_unmarked_one(fragments: list[bytes]) -> None:
    marked = b"".join(fragments)
    box = provenance.marked(struct.pack(">I4s", 8, b"moov"))[8:]
    assert marked.count(box) == 1
    shown = []
    for video in (marked, marked.replace(box, b"")):
        with av.open(io.BytesIO(video)) as file:
            shown.append(
                [(picture.pts, picture.to_ndarray(format="rgb24").tobytes()) for picture in file.decode(video=0)]
            )
    assert len(shown[0]) == 7
    assert shown[0] == shown[1]
