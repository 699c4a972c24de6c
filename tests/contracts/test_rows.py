"""Every public member of a role has a row, so that no member escapes its role's laws."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable

import pytest

from hauberk.attack import Attack
from hauberk.bounds import MarginBound
from hauberk.method import Method
from hauberk.problem import Constraint, Objective, Penalty
from hauberk.solver import Solver
from hauberk.threat import Threat
from tests.contracts.rows import (
    ATTACKS,
    BOUNDS,
    CONSTRAINTS,
    METHODS,
    OBJECTIVES,
    PENALTIES,
    SOLVERS,
    THREATS,
)
from tests.helpers.trees import random_tree

ROWS: list[tuple[type[object], str, Iterable[object]]] = [
    (Constraint, "constraints", (row.make(random_tree(0)) for row in CONSTRAINTS)),
    (Penalty, "penalties", (row.make(random_tree(0)) for row in PENALTIES)),
    (Threat, "threats", THREATS),
    (Attack, "attacks", ATTACKS),
    (MarginBound, "bounds", BOUNDS),
    (Objective, "objectives", OBJECTIVES),
    (Solver, "solvers", SOLVERS),
    (Method, "methods", (method for method, _ in METHODS)),
]


def members(role: type[object], room: str) -> set[str]:
    """The public concrete classes of a role that the modules of its gallery define."""
    package = importlib.import_module(f"hauberk.{room}")
    names = [info.name for info in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return {
        name
        for module in modules
        for name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, role) and not inspect.isabstract(found)
        if found.__module__ == module.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize(("role", "room", "rows"), ROWS, ids=[room for _, room, _ in ROWS])
def test_every_member_has_a_row(role: type[object], room: str, rows: Iterable[object]) -> None:
    assert members(role, room) <= {type(row).__name__ for row in rows}
