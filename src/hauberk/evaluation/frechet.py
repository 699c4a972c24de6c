"""The Fréchet distance between two sets of features, each taken for a Gaussian.

    d² = ‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁^½ Σ₂ Σ₁^½)^½)

Source: D. C. Dowson and B. V. Landau (1982), J. Multivar. Anal. 12, 450 to 455. The eigenvalues of
Σ₁^½ Σ₂ Σ₁^½ are the squared singular values of Σ₂^½ Σ₁^½, which are computed here: in float64
they keep twice as many digits, and n below the number of features is no special case.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def frechet(a: Float[Tensor, "count feature"], b: Float[Tensor, "others feature"]) -> float:
    """``d²`` of the sample means and covariances; 0 for equal sets, never below.

    It is biased upward, the more so the fewer images there are: with fewer images than features the
    covariances are singular. Compare figures of equal n and equal features only.

    Args:
        a: features of one set, at least 2 rows.
        b: features of the other set, at least 2 rows.

    Raises:
        ValueError: fewer than 2 rows.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"A Fréchet distance was asked for {min(len(a), len(b))} images; give 2 or more."
        )
    a, b = a.double(), b.double()
    roots = _root(a), _root(b)
    variance = sum(float(root.square().sum()) for root in roots)
    common = float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum())
    between = float((a.mean(0) - b.mean(0)).square().sum())
    return max(0.0, between + variance - 2 * common)


def _root(x: Float[Tensor, "count feature"]) -> Tensor:
    """A matrix R with ``RᵀR`` = the sample covariance, of at most as many rows as features."""
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    triangle: Tensor = torch.linalg.qr(centred, mode="r").R
    return triangle
