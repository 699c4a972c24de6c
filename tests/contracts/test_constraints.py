"""The laws of a set; one row in `rows.CONSTRAINTS` admits a new one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings

from hauberk.constraints import (
    Annealed,
    Codebook,
    Filter,
    Float16,
    PerTensor,
    Rank,
    Sparsity,
    Support,
    UniformGrid,
)
from hauberk.problem import Constraint
from hauberk.types import Weights
from tests.contracts.rows import CONSTRAINTS, ConstraintRow
from tests.helpers.trees import DEVICES, DTYPES, random_tree, same, trees

every_row = pytest.mark.parametrize("row", CONSTRAINTS, ids=str)


def _distance(a: Weights, b: Weights) -> float:
    return sum(float((a[n].double() - b[n].double()).square().sum()) for n in a) ** 0.5


@every_row
@given(w=trees())
@settings(max_examples=25, deadline=None)
def test_feasible_idempotent_within_budget(row: ConstraintRow, w: Weights) -> None:
    constraint = row.make(w)
    before = {n: t.clone() for n, t in w.items()}
    p = constraint.project(w)
    assert row.holds(p)
    again = constraint.project(p)
    assert same(again, p)
    assert same(w, before)
    memory = {t.untyped_storage().data_ptr() for tree in (w, p) for t in tree.values()}
    assert memory.isdisjoint(t.untyped_storage().data_ptr() for t in again.values())
    assert 0 <= constraint.size_bits(p) <= constraint.budget_bits(w)


@every_row
@given(w=trees())
@settings(max_examples=15, deadline=None)
def test_feasible_points_stay_and_order_does_not_matter(row: ConstraintRow, w: Weights) -> None:
    constraint = row.make(w)
    p = constraint.project(w)
    mirrored = {n: -t for n, t in p.items()}  # every set here is symmetric
    assert same(constraint.project(mirrored), mirrored)
    turned = constraint.project(dict(reversed(w.items())))
    assert list(turned) == list(reversed(list(w)))
    assert same(dict(sorted(turned.items())), dict(sorted(p.items())))


@every_row
@pytest.mark.parametrize("device", DEVICES)
def test_no_random_feasible_point_is_nearer(row: ConstraintRow, device: str) -> None:
    for seed in range(4):
        w = random_tree(seed, device=device)
        constraint = row.make(w)
        nearest = _distance(constraint.project(w), w)
        for trial in range(40):
            noise = random_tree(1000 + trial, device=device)
            spread = 2.0 ** -(trial % 10)
            other = constraint.project({n: t + spread * noise[n] for n, t in w.items()})
            assert row.holds(other)
            assert nearest <= _distance(other, w) * (1 + 1e-6)


@every_row
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_type_place_and_shape_are_kept(row: ConstraintRow, dtype: torch.dtype, device: str) -> None:
    w = {n: t.requires_grad_() for n, t in random_tree(5, dtype, device).items()}
    constraint = row.make(w)
    p = constraint.project(w)
    assert list(p) == list(w)
    for name, t in w.items():
        assert (p[name].dtype, p[name].device, p[name].shape) == (t.dtype, t.device, t.shape)
        assert not p[name].requires_grad
        assert p[name].data_ptr() != t.data_ptr()
    assert row.holds(p)
    assert same(constraint.project(p), p)


@every_row
def test_ties_are_deterministic(row: ConstraintRow) -> None:
    w = {n: torch.ones_like(t) for n, t in random_tree(0).items()}
    constraint = row.make(w)
    p = constraint.project(w)
    assert row.holds(p)
    assert same(p, constraint.project({n: t.clone() for n, t in w.items()}))


@every_row
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_is_named(row: ConstraintRow, bad: float) -> None:
    w = random_tree(0)
    w["conv.weight"].view(-1)[3] = bad
    with pytest.raises(ValueError, match=r"'conv\.weight'.*(NaN|infinite)"):
        row.make(w).project(w)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sparsity(0.0),
        lambda: Sparsity(1.5),
        lambda: Sparsity(float("nan")),
        lambda: Sparsity(0),
        lambda: Sparsity(True),
        lambda: Annealed(Sparsity(0.1), start=0.0),
        lambda: Annealed(Sparsity(0.1), until=1.1),
        lambda: Annealed(Sparsity(0.1)).at(1.5),
        lambda: Codebook(0),
        lambda: Codebook(17),
        lambda: UniformGrid(1),
        lambda: UniformGrid(17),
        lambda: Rank(0),
        lambda: Rank(1.5),
        lambda: Support({"a": torch.ones(3)}),
    ],
)
def test_a_setting_out_of_range_is_one_sentence(make: Callable[[], Constraint]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+(: give|: compare)[^\n]+$"):
        make()


def test_shares_are_counted_as_written() -> None:
    w = {"a": torch.randn(60), "b": torch.randn(40)}
    assert Sparsity(0.29).count(w) == 29  # 0.29 · 100 is 28.999…
    assert Sparsity(0.001).count(w) == 1
    assert Sparsity(250).count(w) == 100


def test_the_budget_is_global_unless_per_tensor() -> None:
    w = {"large": 10 + torch.rand(10), "small": torch.rand(10) + 0.1}
    together = Sparsity(0.5).project(w)
    apart = PerTensor(Sparsity(0.5)).project(w)
    assert [int((together[n] != 0).sum()) for n in w] == [10, 0]
    assert [int((apart[n] != 0).sum()) for n in w] == [5, 5]


@pytest.mark.parametrize("target", [Sparsity(0.1), Sparsity(100)])
def test_annealing_follows_the_cubic(target: Sparsity) -> None:
    w = {"a": torch.randn(1000)}
    annealed = Annealed(target, start=0.9, until=0.5)
    counts = [
        int((annealed.at(t).project(w)["a"] != 0).sum()) for t in (0.0, 0.1, 0.25, 0.5, 0.7, 1.0)
    ]
    assert counts == [900, round(100 + 800 * 0.8**3), 200, 100, 100, 100]
    assert int((annealed.project(w)["a"] != 0).sum()) == 100
    inner = PerTensor(annealed).at(0.25).project(w)
    assert int((inner["a"] != 0).sum()) == 200


def test_a_support_is_kept_under_its_own_set() -> None:
    w = Sparsity(0.4).project(random_tree(0))
    moved = {n: t + 1 for n, t in w.items()}
    p = Support.of(w).project(moved)
    assert all(torch.equal(p[n] != 0, (w[n] != 0) & (moved[n] != 0)) for n in w)
    with pytest.raises(ValueError, match="'c' is unknown"):
        Support.of(w).project({"c": torch.ones(3)})
    with pytest.raises(ValueError, match=r"'b' has shape \(3,\)"):
        Support.of(w).project({"b": torch.ones(3)})


def test_sizes_by_hand() -> None:
    kernel = {"a": torch.zeros(4, 8)}
    kernel["a"][0] = 1.0
    kernel["a"][1, 0] = 2.0
    assert Sparsity(9).size_bits(kernel) == 9 * 32 + 25  # log₂ C(32, 9) = 24.7
    assert Sparsity(2, Filter()).size_bits(kernel) == 2 * 8 * 32 + 3  # log₂ C(4, 2) = 2.6
    assert Codebook(1).size_bits(kernel) == 2 * 32 + 9 * 1 + 25
    assert Rank(2).size_bits(kernel) == 32 * 2 * (4 + 8 - 2)
    assert Rank(0.5).budget_bits(kernel) == 32 * 2 * (4 + 8 - 2)
    assert Support.of(kernel).size_bits(kernel) == 9 * 32
    assert Float16().size_bits(kernel) == 32 * 16
    assert UniformGrid(8).size_bits(kernel) == 32 * 8 + 32
    assert UniformGrid(4, per_channel=True).size_bits(kernel) == 32 * 4 + 4 * 32


def test_half_precision_saturates() -> None:
    w = {"a": torch.tensor([1e6, -1e30, 65519.0, 1 / 3, 1e-9])}
    assert Float16().project(w)["a"].tolist() == [65504, -65504, 65504, 0.333251953125, 0]


def test_a_vector_has_no_rank() -> None:
    with pytest.raises(ValueError, match=r"'bias'.*no matrix"):
        Rank(1).project({"bias": torch.ones(3)})
