"""The layout of the tests: no test module imports another; what they share is in helpers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(TESTS)))
def test_no_test_module_is_imported(path: Path) -> None:
    parts = [name.split(".") for name in imported(path) if name.startswith("tests")]
    wrong = [p for p in parts if any(part.startswith(("test_", "conftest")) for part in p)]
    assert not wrong, "move what is shared to tests/helpers"
