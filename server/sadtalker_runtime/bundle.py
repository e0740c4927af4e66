"""A bundle: the files of one export, packed small, for a wheel or a checkout to carry.

It holds the manifest and, for each of its models, `<model>.xz`: the model's graphs one after the other, in the
manifest's order, without the record of what they were made from, which is in the manifest, too. A graph in bf16 has the
same weights as the one in fp32 before it, and together they compress to the size of one. When the exporter's sources
change but its graphs do not, a line of text changes here and no packed file. Unpacking appends the record again and
gives back the exported files, byte for byte.
"""

import hashlib
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .manifest import METADATA, ExportedFile, Manifest, read_manifest, write_manifest

# Weights are floats of 4 bytes: with `lp` and `pb` the preset's result shrinks by another 6 %.
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 2, "lp": 2, "pb": 2}]
_METADATA_PROPS = 14  # number of the field in ONNX's ModelProto


class BundleError(Exception):
    """A file that cannot be packed, or a damaged bundle; the message says which file and why."""


class BundledFile(NamedTuple):
    """One file of a bundle, unpacked."""

    model: str
    name: str
    content: bytes


def pack(repository: Path, bundle: Path) -> Manifest:
    """Pack the files that a repository's manifest lists; return the manifest.

    A model whose graphs the bundle already holds is left alone, so that its file stays the same for version control.

    Raises `ManifestError` where there is no manifest, `BundleError` where a file is not the one that it describes.
    """
    manifest = read_manifest(repository)
    wanted = set()
    for model, files in manifest.models.items():
        graphs = b""
        for name, entry in files.items():
            path = repository / model / "1" / name
            content, record = path.read_bytes(), _record(manifest, name)
            _check(path, content, entry)
            if not content.endswith(record):
                raise BundleError(f"{path} does not end with the record of its export")
            graphs += content.removesuffix(record)
        packed = bundle / f"{model}.xz"
        if not packed.is_file() or lzma.decompress(packed.read_bytes()) != graphs:
            packed.write_bytes(lzma.compress(graphs, lzma.FORMAT_XZ, filters=_FILTERS))
        wanted.add(packed)
    for packed in set(bundle.glob("*.xz")) - wanted:
        packed.unlink()
    write_manifest(bundle, manifest)
    return manifest


def unpack(bundle: Path, manifest: Manifest) -> Iterator[BundledFile]:
    """Yield the files of a bundle, given its manifest, as they were exported.

    Raises `BundleError` at a file that is missing or damaged.
    """
    for model, files in manifest.models.items():
        packed = bundle / f"{model}.xz"
        try:
            graphs = lzma.decompress(packed.read_bytes())
        except (OSError, lzma.LZMAError) as error:
            raise BundleError(f"{packed} cannot be read ({error})") from error
        begin = 0
        for name, entry in files.items():
            record = _record(manifest, name)
            end = begin + entry.bytes - len(record)
            content = graphs[begin:end] + record
            _check(packed, content, entry)
            yield BundledFile(model, name, content)
            begin = end


def _check(path: Path, content: bytes, entry: ExportedFile) -> None:
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise BundleError(f"{path} is not the file that its manifest describes")


def _record(manifest: Manifest, file: str) -> bytes:
    """Return the provenance as the end of an ONNX file: serialised messages of Protocol Buffers may be concatenated."""
    return b"".join(
        _field(_METADATA_PROPS, _field(1, (METADATA + key).encode()) + _field(2, value.encode()))
        for key, value in manifest.provenance(file).items()
    )


def _field(number: int, content: bytes) -> bytes:
    """Return one field of bytes, whose length must fit in one byte of a varint."""
    if len(content) > 127:
        raise BundleError(f"expected at most 127 bytes in a record, got {len(content)}: {content!r}")
    return bytes([number << 3 | 2, len(content)]) + content
