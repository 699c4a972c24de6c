"""Sparsity in a weighted norm: the nearest point, and layers that are no longer emptied."""

import itertools

import pytest
import torch

from hauberk.constraints import Sparsity


def test_the_projection_is_the_nearest_point_of_the_weighted_norm() -> None:
    rng = torch.Generator().manual_seed(0)
    w = {"a": torch.randn(4, generator=rng), "b": 0.01 * torch.randn(3, generator=rng)}
    scales = {"a": 0.5, "b": 40.0}
    flat = torch.cat([scales[n] * w[n] for n in w])
    found = Sparsity(3, scales=scales).project(w)
    got = torch.cat([scales[n] * (w[n] - found[n]) for n in w]).square().sum()
    best = min(
        sum(float(flat[i] ** 2) for i in range(7) if i not in kept)
        for kept in itertools.combinations(range(7), 3)
    )
    assert float(got) == pytest.approx(best)


def test_balanced_scales_undo_a_layer_s_own_scale() -> None:
    rng = torch.Generator().manual_seed(1)
    w = {"conv": torch.randn(50, generator=rng), "fc": torch.randn(500, generator=rng)}
    loud = {"conv": 1e-3 * w["conv"], "fc": 1e3 * w["fc"]}
    assert not Sparsity(50).project(loud)["conv"].any()  # raw magnitudes empty the layer
    for tree in (w, loud):
        kept = Sparsity(50).balanced(tree).project(tree)
        assert 0 < int(kept["conv"].count_nonzero()) < 50
    a, b = (Sparsity(50).balanced(t).project(t) for t in (w, loud))
    assert all(torch.equal(a[n] != 0, b[n] != 0) for n in w)


def test_balanced_scales_cut_where_lamp_does() -> None:
    rng = torch.Generator().manual_seed(2)
    w = {"a": torch.randn(6, 5, generator=rng), "b": 0.1 * torch.randn(40, generator=rng) ** 3}
    scored = []
    for name, t in w.items():
        for value in t.flatten().tolist():
            rest = sum(v * v for v in t.flatten().tolist() if abs(v) >= abs(value))
            scored.append((value * value / rest, name))
    kept = [name for _, name in sorted(scored, reverse=True)[:20]]
    found = Sparsity(20).balanced(w).project(w)
    assert {n: int(t.count_nonzero()) for n, t in found.items()} == {n: kept.count(n) for n in w}


def test_a_budget_beyond_what_lives_keeps_all_that_lives() -> None:
    """Averaged weights are full of numbers that are almost 0; one over them is no scale."""
    w = {"a": torch.ones(10), "b": torch.full((10,), 1e-40), "c": torch.full((10,), 1e-3)}
    w["a"][5:], w["a"][9], w["b"][0], w["c"][8:] = 1e-42, 0.0, 3.0, 0.0
    sparsity = Sparsity(17)
    found = sparsity.balanced(w).project(w)
    assert all(torch.equal(found[n][t > 1e-6], t[t > 1e-6]) for n, t in w.items())
    assert sum(int(t.count_nonzero()) for t in found.values()) <= 17


def test_a_zero_tensor_has_a_scale_too() -> None:
    assert Sparsity(3).balanced({"d": torch.zeros(4, 4)}).scales == {"d": 1.0}
