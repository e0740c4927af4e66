"""`make docs`: writes the API reference from docstrings with pdoc into build/docs; a warning of pdoc is an error."""

import os
import sys
import types
import warnings
from multiprocessing.queues import Queue
from pathlib import Path

import pdoc
import pdoc.render
import sadtalker_gateway

OUTPUT = Path("build/docs")
MODULES = (
    "sadtalker_client",
    "sadtalker_server",
    "sadtalker_runtime",
    "sadtalker_export",
    "sadtalker_training",
    "sadtalker_gateway",
    "sadtalker_compare",
    "!sadtalker_runtime.triton",  # Triton's own modules exist only inside its Python backend
    "!sadtalker_runtime.onnx_backend",
)


def main() -> int:
    """Write the reference; return the exit code."""
    for name in sadtalker_gateway.__all__:  # imported when first used, which pdoc does not know of
        setattr(sadtalker_gateway, name, getattr(sadtalker_gateway, name))
    Queue.__class_getitem__ = classmethod(types.GenericAlias)  # type: ignore[attr-defined]  # generic in stubs only
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # imports of other packages ask the machine for its processor
    pdoc.render.configure(docformat="google")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="pdoc")
        pdoc.pdoc(*MODULES, output_directory=OUTPUT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
