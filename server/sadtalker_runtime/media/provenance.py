"""The machine-readable mark that a video is AI-generated: IPTC's digital source type, in XMP, in the MP4's header.

Terms: IPTC NewsCodes, Digital Source Type. Place: XMP Specification Part 3, "MPEG-4": a `uuid` box beside `moov`.
"""

import struct

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP_BOX = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")  # the box's extended type

_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
   Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>""".encode()
_BOX = struct.pack(">I4s", 24 + len(_PACKET), b"uuid") + XMP_BOX + _PACKET


def marked(header: bytes) -> bytes:
    """Return the first bytes of an MP4 with the mark right after its `moov` box.

    Args:
        header: whole boxes from the start of the file on, `moov` among them; nothing in them may be found by its
            offset from the start of the file, as in fragmented files with `default_base_moof`.
    """
    offset, kind = 0, b""
    while kind != b"moov":
        length, kind = struct.unpack_from(">I4s", header, offset)
        offset += length
    return header[:offset] + _BOX + header[offset:]
