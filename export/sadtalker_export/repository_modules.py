"""The pure modules beside the Triton models, imported from where they lie: the very code that the server runs."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from .errors import UsageError

REPOSITORY = Path(__file__).parents[2] / "model_repository"


def repository_module(model: str, name: str, repository: Path = REPOSITORY) -> ModuleType:
    """Module `name` of version 1 of a model. Raises `UsageError` where there is none."""
    path = repository / model / "1" / f"{name}.py"
    if not path.is_file():
        raise UsageError(f"{path}: not found; --repository names the directory of Triton models")
    full_name = f"_model_repository_{model}_{name}"
    spec = importlib.util.spec_from_file_location(full_name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
