"""The table of weaknesses names tests that exist."""

import ast
from pathlib import Path

import pytest
from issue_items import ITEMS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("test", sorted({test for tests in ITEMS.values() for test in tests}))
def test_every_test_of_the_table_exists(test: str) -> None:
    file, _, name = test.partition("::")
    found = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert name in found if name else any(each.startswith("test_") for each in found)


def test_every_weakness_has_a_test() -> None:
    assert all(ITEMS.values())
