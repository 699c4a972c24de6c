"""Docstrings say what arguments are and which errors come; an override has its role's text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hauberk"
TREES = {path: ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}
SEVERAL = 3
"""Arguments from which on the first line cannot say what each of them is."""


def public(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The functions and methods of a module that others call, with their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and (
                    not inner.name.startswith("_") or inner.name == "__call__"
                ):
                    yield f"{node.name}.{inner.name}", inner


def arguments(function: ast.FunctionDef) -> int:
    """How many a caller gives."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def raises(node: ast.AST) -> bool:
    """Whether a raise statement stands in a body, those of inner functions left out."""
    inner = [n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.FunctionDef)]
    return isinstance(node, ast.Raise) or any(raises(n) for n in inner)


ROLES = {
    name.rpartition(".")[2]
    for tree in TREES.values()
    for name, function in public(tree)
    if any(ast.unparse(d) == "abstractmethod" for d in function.decorator_list)
    and (arguments(function) < SEVERAL or "Args:" in (ast.get_docstring(function) or ""))
}
"""Methods whose arguments are described where the abstract class declares them."""


@pytest.mark.parametrize("path", TREES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_arguments_and_errors_are_described(path: Path) -> None:
    bare, silent = list[str](), list[str]()
    for_all = "raises `" in (ast.get_docstring(TREES[path]) or "")  # one error of all functions
    for name, function in public(TREES[path]):
        text = ast.get_docstring(function) or ""
        override = "." in name and name.rpartition(".")[2] in ROLES
        if arguments(function) >= SEVERAL and "Args:" not in text and not override:
            bare.append(name)
        if raises(function) and "Raises:" not in text and not for_all:
            silent.append(name)
    assert not bare, "describe the arguments under Args:"
    assert not silent, "name the errors under Raises:"
