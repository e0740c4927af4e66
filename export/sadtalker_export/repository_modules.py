"""The pure modules beside the Triton models, imported from where they lie: the very code that the server runs."""

import importlib
import sys
import zlib
from pathlib import Path
from types import ModuleType

from .errors import UsageError

REPOSITORY = Path(__file__).parents[2] / "model_repository"


def repository_module(model: str, name: str, repository: Path = REPOSITORY) -> ModuleType:
    """Module `name` of version 1 of a model. Raises `UsageError` where there is none."""
    folder = (repository / model / "1").resolve()
    if not (folder / f"{name}.py").is_file():
        raise UsageError(f"{folder / name}.py: not found; --repository names the directory of Triton models")
    package = f"_model_repository_{zlib.crc32(bytes(folder)):08x}_{model}"
    if package not in sys.modules:  # as in Triton, where the modules beside a model are one package
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(folder)]
    return importlib.import_module(f"{package}.{name}")
