"""The common scale of a row, against rows made of one; nothing is found where there is none."""

from __future__ import annotations

import pytest
import torch

from hauberk.ops.grid_fit import common, rounded

EPS = 4 * torch.finfo(torch.float32).eps


def made(levels: int, rows: int, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers without a common factor, and float32 multiples of them."""
    rng = torch.Generator().manual_seed(seed)
    whole = torch.randint(-levels, levels + 1, (rows, n), generator=rng).double()
    whole[:, 0], whole[:, 1] = 1, levels - torch.arange(rows) % levels
    scale = torch.rand(rows, 1, generator=rng).double() + 1e-3
    return whole, (scale * whole).float().double()


@pytest.mark.parametrize("levels", [1, 3, 7, 127, 2047])
def test_what_made_a_row_is_found(levels: int) -> None:
    whole, rows = made(levels, 20, 40, seed=levels)
    found = common(rows, levels, EPS)
    assert torch.equal(rounded(rows, found, levels), whole)


def test_a_common_factor_is_taken_out() -> None:
    rows = torch.tensor([[6.0, -4.0, 0.0, 2.0], [5.0, 0.0, 0.0, 0.0]]).double()
    assert common(rows, 7, EPS).tolist() == [2.0, 5.0]


def test_other_rows_have_none() -> None:
    rows = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)).double()
    rows[7] = 0
    assert not common(rows, 127, EPS).any()
    assert not common(rows[:, :0], 127, EPS).any()
    whole, rows = made(127, 5, 40, seed=1)
    rows[2, 30] *= 1 + 1e-5  # one entry, and not one of the largest
    found = common(rows, 127, EPS)
    assert (found == 0).tolist() == [False, False, True, False, False]
    assert torch.equal(rounded(rows, found, 127)[:2], whole[:2])


def test_too_coarse_numbers_are_not_taken_for_a_grid() -> None:
    rows = torch.randn(50, 30, generator=torch.Generator().manual_seed(0)).bfloat16().double()
    assert not common(rows, 127, 4 * torch.finfo(torch.bfloat16).eps).any()
