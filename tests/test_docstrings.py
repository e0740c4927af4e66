"""The language of docstrings where a linter has no rule for it: no summary begins with "What", "Of" or "And"."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "client/sadtalker_client",
    "export/sadtalker_export",
    "gateway/sadtalker_gateway",
    "server/sadtalker_runtime",
    "server/sadtalker_server",
    "training/sadtalker_training",
)
RIDDLES = re.compile(r"(What|Of|And)\b")
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@pytest.mark.parametrize("package", PACKAGES)
def test_no_docstring_begins_as_a_riddle(package: str) -> None:
    found = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Documented) and RIDDLES.match(ast.get_docstring(node) or ""):
                found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}")
    assert found == []
