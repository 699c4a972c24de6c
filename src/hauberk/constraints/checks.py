"""Checks shared by all sets: finite weights, and the tree that the set was built for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hauberk.problem import NotFinite
from hauberk.types import Weights


def refuse_nonfinite(w: Weights) -> None:
    """Raise if a weight is NaN or infinite: it has no nearest point in any set.

    Raises:
        NotFinite: naming the first such tensor.
    """
    ends = [end for t in w.values() if t.numel() for end in torch.aminmax(t)]  # NaN reaches both
    if not ends or bool(torch.stack(ends).isfinite().all()):
        return
    name = next(n for n, t in w.items() if not bool(t.isfinite().all()))
    raise NotFinite(
        f"the weight {name!r} holds NaN or infinite values, and only finite ones can be "
        "projected: the run has diverged, so lower the learning rate or clip the gradient"
    )


def refuse_strangers(w: Weights, known: Mapping[str, Tensor]) -> None:
    """Raise if ``w`` has a tensor that ``known`` lacks or has in another shape.

    Raises:
        ValueError: naming the first such tensor.
    """
    for name, t in w.items():
        if name not in known:
            raise ValueError(
                f"the weight {name!r} is unknown to this set, which was made for "
                f"{sorted(known)}: make the set from the tree that it is to constrain"
            )
        if known[name].shape != t.shape:
            raise ValueError(
                f"the weight {name!r} has shape {tuple(t.shape)} where this set was made for "
                f"{tuple(known[name].shape)}: make the set from the tree that it is to constrain"
            )
