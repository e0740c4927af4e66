"""The configuration that is fastest on this processor among those that an export allows."""

from pathlib import Path

from sadtalker_runtime.manifest import ManifestError, read_manifest
from sadtalker_runtime.processor import Processor, this_processor

from sadtalker_server._installation import has_native_backend

AUTO = "auto"
_BF16 = "bf16"


def fastest_configuration(
    repository: Path, processor: Processor | None = None, *, tritonserver: str = "embedded"
) -> str | None:
    """Return the name of the variant to serve, "bf16" or None for `config.pbtxt`.

    It is bf16 where the processor (default: this one) computes in it, the export has its files and the manifest says
    that these weights passed its gate. Triton's native backend cannot be asked for bf16.
    """
    if has_native_backend(tritonserver):
        return None
    try:
        exported = read_manifest(repository)
    except ManifestError:
        return None  # the check of the repository has a better message
    allowed = exported.precision == _BF16 and exported.gates.get(_BF16, False)
    return _BF16 if allowed and (processor or this_processor()).computes_bf16 else None
