"""Truncated SVD: the error is what Eckart and Young say."""

from __future__ import annotations

import pytest
import torch

from hauberk.ops.svd import numerical_rank, project_rank, truncated_svd


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (1, 5), (50, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_error_is_the_tail_of_the_spectrum(shape: tuple[int, int], dtype: torch.dtype) -> None:
    w = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    spectrum = torch.linalg.svdvals(w.double())
    for rank in range(1, min(shape) + 1):
        u, s, vt = truncated_svd(w, rank)
        assert (u.shape, s.shape, vt.shape) == ((shape[0], rank), (rank,), (rank, shape[1]))
        assert u.dtype == s.dtype == vt.dtype == dtype
        p = project_rank(w, rank)
        torch.testing.assert_close((u * s) @ vt, p, rtol=0, atol=1e-5)
        tail = spectrum[rank:].square().sum().sqrt()
        torch.testing.assert_close((w - p).double().norm(), tail, rtol=1e-4, atol=1e-5)
        assert numerical_rank(p) == min(rank, *shape)
        assert torch.equal(project_rank(p, rank), p)


def test_zero_has_no_rank() -> None:
    zero = torch.zeros(3, 4)
    assert numerical_rank(zero) == 0
    assert torch.equal(project_rank(zero, 2), zero)
