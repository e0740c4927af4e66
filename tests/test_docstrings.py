"""The language of docstrings where a linter has no rule for it, in every tree of ours."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = (
    "benchmarks",
    "client",
    "comparison",
    "examples",
    "export",
    "gateway",
    "integrations",
    "k8s",
    "model_repository",
    "server",
    "tests",
    "tools",
    "training",
)
RIDDLES = re.compile(r"(What|Of|And)\b")
NO_VERBS = re.compile(r"(A|All|An|Each|Every|For|From|How|In|The|Those|Until|When|Where|Whether|Why|Within)\b")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


def sources() -> list[Path]:
    """Return our Python files; what is built or made lies in folders that begin with a dot, `build` or `out`."""
    return [
        path
        for path in sorted(ROOT.rglob("*.py"))
        if not any(part.startswith(".") or part in ("build", "out") for part in path.relative_to(ROOT).parts)
    ]


def needs_verb(function: Function) -> bool:
    """Return whether it is an action: neither a property nor a test, whose docstring is a sentence."""
    is_property = any(isinstance(node, ast.Name) and "property" in node.id for node in function.decorator_list)
    return not is_property and not function.name.startswith("test_")


def test_every_tree_is_known() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in sources()} == set(TREES)


@pytest.mark.parametrize("tree", TREES)
def test_docstrings_say_plainly_what_they_describe(tree: str) -> None:
    """Every module has one, none begins as a riddle, and a function's begins with a verb; a test's is a sentence."""
    found = []
    for path in (path for path in sources() if path.relative_to(ROOT).parts[0] == tree):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, Documented):
                continue
            text = ast.get_docstring(node) or ""
            verbless = isinstance(node, Function) and needs_verb(node) and NO_VERBS.match(text)
            missing = isinstance(node, ast.Module) and not text
            if missing or verbless or RIDDLES.match(text):
                found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}")
    assert found == []
