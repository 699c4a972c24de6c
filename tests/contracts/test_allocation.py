"""The laws of a budget in bytes; one row in `rows.BUDGETS` admits a new form of it.

It minimises angles and is no nearest point, so it has laws of its own beside a constraint's.
"""

from __future__ import annotations

from functools import cache

import pytest
import torch

from hauberk.types import Weights
from tests.contracts.rows import BUDGETS, BudgetRow
from tests.helpers.trees import DEVICES, DTYPES, random_tree, same

every_row = pytest.mark.parametrize("row", BUDGETS, ids=str)
every_tree = pytest.mark.parametrize("tree", ["random", "tied", "lopsided"])


def weights(tree: str) -> Weights:
    w = random_tree(0)
    return {
        "random": w,
        "tied": {n: t.sign() * 0.5 for n, t in w.items()},
        "lopsided": {"conv.weight": w["conv.weight"] * 1e30, "b": torch.zeros(2, 2, 2, 1)},
    }[tree]


@cache
def projected(row: BudgetRow, tree: str) -> Weights:
    """A plan takes half a second, so that each is made once."""
    return row.make(weights(tree)).project(weights(tree))


@every_row
@every_tree
def test_feasible_and_projecting_twice_changes_nothing(row: BudgetRow, tree: str) -> None:
    w, p = weights(tree), projected(row, tree)
    budget = row.make(w)
    assert budget.size_bits(p) <= budget.limit_bits == budget.budget_bits(w)
    again = budget.project(p)
    assert same(again, p)
    memory = {t.untyped_storage().data_ptr() for t in p.values()}
    assert memory.isdisjoint(t.untyped_storage().data_ptr() for t in again.values())


@every_row
@every_tree
def test_no_layer_is_emptied_and_larger_weights_stay_larger(row: BudgetRow, tree: str) -> None:
    for name, t in weights(tree).items():
        p = projected(row, tree)[name]
        assert p.any() or not t.any()
        t, p = t.flatten(), p.flatten()
        assert (p[:, None] <= p)[t[:, None] < t].all()
        assert (p * t >= 0).all(), "no sign turns"


@every_row
def test_order_does_not_matter_and_ties_are_settled(row: BudgetRow) -> None:
    w = weights("tied")
    before = {n: t.clone() for n, t in w.items()}
    turned = row.make(w).project(dict(reversed(w.items())))
    assert list(turned) == list(reversed(list(w)))
    assert all(torch.equal(turned[n], t) for n, t in projected(row, "tied").items())
    assert same(w, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("device", DEVICES)
def test_type_place_and_shape_are_kept(dtype: torch.dtype, device: str) -> None:
    row = next(row for row in BUDGETS if row.name == "short codebooks")
    w = random_tree(2, dtype, device)
    for name, p in row.make(w).project(w).items():
        assert (p.dtype, p.device, p.shape) == (dtype, w[name].device, w[name].shape)


@every_row
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(row: BudgetRow, bad: float) -> None:
    w = random_tree(3)
    budget = row.make(w)
    with pytest.raises(ValueError, match="finite"):
        budget.project(w | {"b": torch.full_like(w["b"], bad)})
