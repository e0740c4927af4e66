"""Writes perf_analyzer's input file for the model `sadtalker` from a portrait and a speech recording.

Usage: make_input.py PORTRAIT SPEECH OUTPUT
"""

import base64
import json
import struct
import sys
from pathlib import Path


def bytes_tensor(element: bytes) -> dict[str, object]:
    """Return a BYTES tensor of one element as perf_analyzer reads it: little-endian length, then content, in base64."""
    return {"content": {"b64": base64.b64encode(struct.pack("<I", len(element)) + element).decode()}, "shape": [1]}


def main(portrait: str, speech: str, output: str) -> None:
    request = {"image": bytes_tensor(Path(portrait).read_bytes()), "audio": bytes_tensor(Path(speech).read_bytes())}
    Path(output).write_text(json.dumps({"data": [request]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
