"""C2PA: finished videos signed as made by a trained algorithm, with the operator's certificate.

The server itself marks every MP4 as AI-generated (IPTC DigitalSourceType in XMP); a signature on top says who made it
and that nobody changed it. Specification: C2PA 2, https://c2pa.org; EU AI Act, Article 50.
"""

import json
from pathlib import Path

import c2pa

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


class VideoSigner:
    """Signs MP4 files.

    Args:
        certificate: PEM chain, the signer's own first.
        private_key: PEM (PKCS 8).
        algorithm: one of es256, es384, es512, ps256, ps384, ps512, ed25519.
        timestamp_url: RFC 3161 authority, or None.

    Raises:
        OSError: a file cannot be read.
        c2pa.C2paError: they are not a certificate and key for that algorithm.
    """

    def __init__(
        self, certificate: Path, private_key: Path, algorithm: str = "es256", timestamp_url: str | None = None
    ) -> None:
        self._info = c2pa.C2paSignerInfo(
            algorithm.encode(),
            certificate.read_bytes(),
            private_key.read_bytes(),
            timestamp_url.encode() if timestamp_url else None,
        )
        c2pa.Signer.from_info(self._info).close()  # so that a wrong key is found when the gateway starts

    def sign(self, source: Path, target: Path, title: str) -> None:
        """Write a signed copy of an MP4 file; `title` is shown by viewers. Takes time: call it in a thread."""
        manifest = {
            "claim_generator_info": [{"name": "sadtalker-gateway"}],
            "title": title,
            "format": "video/mp4",
            "assertions": [
                {
                    "label": "c2pa.actions",
                    "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}]},
                }
            ],
        }
        with (
            c2pa.Signer.from_info(self._info) as signer,
            c2pa.Builder(json.dumps(manifest)) as builder,
            source.open("rb") as unsigned,
            target.open("w+b") as signed,
        ):
            builder.sign(signer, "video/mp4", unsigned, signed)
