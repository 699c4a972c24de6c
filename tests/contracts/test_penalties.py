"""The laws of a penalty; one row in `rows.PENALTIES` admits a new one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from hauberk.types import Weights
from tests.contracts.rows import PENALTIES, PenaltyRow
from tests.helpers.trees import DEVICES, DTYPES, random_tree, same, trees

every_row = pytest.mark.parametrize("row", PENALTIES, ids=str)


def _energy(row: PenaltyRow, at: Weights, v: Weights, w: Weights, step: float) -> float:
    """``step · r(v) + ½ ‖v − w‖²``, in float64."""
    far = sum(float((v[n].double() - w[n].double()).square().sum()) for n in w)
    return step * float(row.make(at).value({n: t.double() for n, t in v.items()})) + far / 2


@every_row
@pytest.mark.parametrize("device", DEVICES)
def test_no_perturbation_of_the_prox_is_better(row: PenaltyRow, device: str) -> None:
    for seed in range(3):
        at, w = random_tree(seed, device=device), random_tree(100 + seed, device=device)
        for step in (0.05, 0.5):
            p = row.make(at).prox(w, step)
            best = _energy(row, at, p, w, step)
            for trial in range(60):
                noise, spread = random_tree(1000 + trial, device=device), 4.0 ** -(trial % 8)
                only = trial % 2  # half of them leave zeros alone
                v = {n: t + spread * noise[n] * (t != 0 if only else 1) for n, t in p.items()}
                assert best <= _energy(row, at, v, w, step) + 1e-6


@every_row
def test_a_long_step_ends_where_the_penalty_is_least(row: PenaltyRow) -> None:
    w = random_tree(0)
    penalty = row.make(w)
    assert float(penalty.value(w)) > 0
    assert float(penalty.value(penalty.prox(w, 1e4))) == 0


@every_row
@given(w=trees())
@settings(max_examples=20, deadline=None)
def test_no_step_moves_nothing_and_a_step_shrinks(row: PenaltyRow, w: Weights) -> None:
    penalty = row.make(w)
    before = {n: t.clone() for n, t in w.items()}
    assert same(penalty.prox(w, 0.0), {n: t + 0.0 for n, t in w.items()})
    p = penalty.prox(w, 0.3)
    assert same(w, before)
    for name, t in w.items():
        assert (p[name].abs() <= t.abs()).all() and (p[name] * t >= 0).all()


@every_row
def test_order_does_not_matter(row: PenaltyRow) -> None:
    w = random_tree(3)
    turned = dict(reversed(w.items()))
    p, q = row.make(w).prox(w, 0.2), row.make(w).prox(turned, 0.2)
    assert list(q) == list(turned)
    assert all(torch.equal(p[n], q[n]) for n in w)


@every_row
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_type_place_and_shape_are_kept(row: PenaltyRow, dtype: torch.dtype, device: str) -> None:
    at = random_tree(5)
    w = {n: t.requires_grad_() for n, t in random_tree(5, dtype, device).items()}
    p = row.make(at).prox(w, 0.1)  # made on the CPU, as after a resumption
    for name, t in w.items():
        assert (p[name].dtype, p[name].device, p[name].shape) == (t.dtype, t.device, t.shape)
        assert not p[name].requires_grad
        assert p[name].data_ptr() != t.data_ptr()


@every_row
def test_the_value_is_differentiable_even_at_zero(row: PenaltyRow) -> None:
    w = {n: t.requires_grad_() for n, t in random_tree(2).items()}
    with torch.no_grad():
        w["b"].zero_()
    row.make(random_tree(2)).value(w).backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in w.values())
    assert w["conv.weight"].grad.abs().sum() > 0
