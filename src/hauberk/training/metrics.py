"""Metrics of an epoch: averages over steps and processes, and what the weights tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hauberk.runtime import schema
from hauberk.runtime.processes import Group
from hauberk.types import Weights

CHECK_EVERY = 16
"""Steps between checks of the metrics; each check synchronises the device."""


class EpochMetrics:
    """Sums the metrics of an epoch's steps on the device, and averages them over the processes.

    Args:
        per_epoch: steps per epoch.
        group: the processes that share each batch.
        fraction: of a batch's rows that are this process's; its metrics count that much.
        device: that keeps the sums.
    """

    def __init__(self, per_epoch: int, group: Group, fraction: float, device: torch.device) -> None:
        self.per_epoch, self.group, self.fraction = per_epoch, group, fraction
        self.device = device
        self.sums: dict[str, Tensor] = {}

    def add(self, metrics: Mapping[str, Tensor], step: int) -> dict[str, float] | None:
        """Count one step's metrics.

        Args:
            metrics: scalars on the device, means over this process's rows.
            step: number of the step in its stage, from 1.

        Returns:
            The metrics of the whole batch, every `CHECK_EVERY` steps and at the end of an epoch.
        """
        for name, value in metrics.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.clone()
        if step % CHECK_EVERY and step % self.per_epoch:
            return None
        whole = self.group.mean(metrics, self.fraction)
        return {name: float(value) for name, value in whole.items()}

    def close(self) -> dict[str, float]:
        """The epoch's means; the sums start again at zero."""
        sums, self.sums = self.group.mean(self.sums, self.fraction), {}
        return {name: float(value) / self.per_epoch for name, value in sums.items()}

    def tree(self) -> dict[str, Any]:
        """The sums so far; all processes must call it together."""
        self.sums = self.group.mean(self.sums, self.fraction)
        return {"sums": self.sums}

    def load(self, tree: dict[str, Any]) -> None:
        """Go on with the sums of a checkpoint.

        Raises:
            Misfit: they are no sums.
        """
        schema.keys(tree, ("sums",), "the metrics")
        schema.conforms(tree["sums"], Mapping[str, Tensor], "the sums")
        if any(value.ndim or value.is_complex() for value in tree["sums"].values()):
            raise schema.Misfit("a sum is no number")
        self.sums = {name: value.to(self.device) for name, value in tree["sums"].items()}


class SupportChange:
    """Measures which fraction of the nonzero weights is new since the epoch before.

    If it no longer changes, training only adjusts the values of a fixed support.

    Args:
        w: the constrained weights at the start; may be empty.
    """

    def __init__(self, w: Weights) -> None:
        self.mask = _support(w)

    def measure(self, w: Weights) -> dict[str, float]:
        """Compare the support with the one of the last call.

        Returns:
            ``kept``, the fraction of weights that are not zero, and ``support_change``, the
            fraction of those that were zero before; empty if there are no weights.
        """
        if not w:
            return {}
        mask = _support(w)
        new, kept = int((mask & ~self.mask).sum()), int(mask.sum())
        self.mask = mask
        return {"kept": kept / max(1, len(mask)), "support_change": new / max(1, kept)}

    def tree(self) -> dict[str, Any]:
        """The support of the epoch before."""
        return {"mask": self.mask}

    def load(self, tree: dict[str, Any]) -> None:
        """Compare with the support of a checkpoint."""
        schema.alike(tree, self.tree(), "the support")
        self.mask = tree["mask"].to(self.mask.device)


def _support(w: Weights) -> Tensor:
    masks = [(p.detach() != 0).flatten() for p in w.values()]
    return torch.cat(masks) if masks else torch.empty(0, dtype=torch.bool)
