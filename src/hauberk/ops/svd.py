"""Truncated SVD: ``argmin ‖W' − W‖_F  s.t.  rank(W') ≤ r`` (Eckart & Young 1936)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def truncated_svd(w: Float[Tensor, "rows columns"], rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """``argmin_{U, s, Vᵀ} ‖U diag(s) Vᵀ − W‖_F`` with ``rank`` singular values.

    Computed in float64 and rounded once, so that the product's rank is ``rank`` to the last digits
    of W's own type.

    Args:
        w: a finite matrix.
        rank: from 1 to min(rows, columns).

    Returns:
        ``U`` (rows × rank), ``s`` (rank, descending) and ``Vᵀ`` (rank × columns), in W's type.
    """
    u, s, vt = torch.linalg.svd(w.double(), full_matrices=False)
    return u[:, :rank].to(w.dtype), s[:rank].to(w.dtype), vt[:rank].to(w.dtype)


@torch.no_grad()
def project_rank(w: Float[Tensor, "rows columns"], rank: int) -> Float[Tensor, "rows columns"]:
    """``argmin ‖W' − W‖_F  s.t.  rank(W') ≤ rank``; W itself where its numerical rank allows.

    Args:
        w: a finite matrix.
        rank: at least 1.
    """
    u, s, vt = torch.linalg.svd(w.double(), full_matrices=False)
    if numerical_rank(w, s) <= rank:
        return w.clone()
    best: Tensor = (u[:, :rank] * s[:rank]) @ vt[:rank]
    return best.to(w.dtype)


def numerical_rank(w: Float[Tensor, "rows columns"], s: Tensor | None = None) -> int:
    """The number of singular values above the rounding error of W's own type.

    Args:
        w: the matrix.
        s: its singular values in float64, where they are known.
    """
    s = torch.linalg.svdvals(w.double()) if s is None else s
    floor = max(w.shape) * torch.finfo(w.dtype).eps * s.max()
    return int((s > floor).sum())
