"""The best scale of a grid, against brute force; what is on a grid stays there."""

from __future__ import annotations

import pytest
import torch

from hauberk.constraints import FixedGrid, UniformGrid, uniform_grid


def error(w: torch.Tensor, scale: float, levels: int) -> float:
    whole = (w / scale).round().clamp(-levels, levels)
    return float((w - scale * whole).square().sum())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_scale_of_many_is_better(bits: int) -> None:
    w = torch.randn(40, generator=torch.Generator().manual_seed(bits)).double()
    ours = float((w - UniformGrid(bits).project({"w": w})["w"]).square().sum())
    levels = UniformGrid(bits).levels
    tried = torch.linspace(0.05, 2.5, 20_000).double() * w.abs().max() / levels
    best = min(error(w, float(s), levels) for s in tried)
    assert ours <= best * (1 + 1e-9)


def test_the_search_comes_close_to_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    w = {"w": torch.randn(16, 300, generator=torch.Generator().manual_seed(1))}
    best = float((w["w"] - UniformGrid(8).project(w)["w"]).square().sum())
    monkeypatch.setattr(uniform_grid, "_EXACT", 0)
    found = UniformGrid(8).project(w)["w"]
    assert float((w["w"] - found).square().sum()) <= 1.02 * best
    assert torch.equal(UniformGrid(8).project({"w": found})["w"], found)


@pytest.mark.parametrize("channels", [False, True])
def test_fit_gives_what_is_multiplied(channels: bool) -> None:
    w = torch.randn(6, 5, 3, generator=torch.Generator().manual_seed(2))
    w[2] = 0
    scale, whole = UniformGrid(8, channels).fit(w)
    assert len(scale) == (6 if channels else 1) and whole.shape == w.shape
    assert torch.equal(whole, whole.round()) and whole.abs().max() <= 127
    shaped = scale.reshape(-1, 1, 1) * whole
    assert torch.equal(shaped.float(), UniformGrid(8, channels).project({"w": w})["w"])
    again, same = UniformGrid(8, channels).fit(shaped.float())
    torch.testing.assert_close(again, scale)
    assert torch.equal(same, whole)


@pytest.mark.parametrize("most", [64, 90, 120, 127])
def test_a_large_tensor_on_a_grid_stays_as_it_is(most: int) -> None:
    """The search looks at scales below ``max / 121`` only; these points are found before it."""
    whole = torch.randint(-most, most + 1, (100, 100), generator=torch.Generator().manual_seed(3))
    whole[0, 0] = most
    w = {"w": (0.0123 * whole.double()).float()}
    assert w["w"].numel() * 127 > uniform_grid._EXACT
    assert torch.equal(UniformGrid(8).project(w)["w"], w["w"])
    assert torch.equal(UniformGrid(8).fit(w["w"])[1].long(), whole)


def test_a_lattice_is_made_of_the_best_scales_and_names_strangers() -> None:
    w = {"w": torch.randn(6, 5, generator=torch.Generator().manual_seed(2))}
    for spread in (False, True):
        made = FixedGrid.of(UniformGrid(4, spread), w)
        torch.testing.assert_close(made.project(w)["w"], UniformGrid(4, spread).project(w)["w"])
        with pytest.raises(ValueError, match="'v' has"):
            made.project({"v": w["w"]})
    with pytest.raises(ValueError, match="has 5 rows, and this set knows 6"):
        made.project({"w": w["w"].T})
    with pytest.raises(ValueError, match="a scale of 'w' is negative or no number"):
        FixedGrid(UniformGrid(4), {"w": torch.tensor([-1.0])})
