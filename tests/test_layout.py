"""The layout of the project: tests share code through helpers, a class name means one class."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("*.py"))
SOURCE = TESTS.parent / "src" / "hauberk"


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


def test_a_class_name_is_given_once() -> None:
    homes = defaultdict[str, list[str]](list)
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(SOURCE)))
    assert not {name: found for name, found in homes.items() if len(found) > 1}
