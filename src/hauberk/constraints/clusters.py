"""A fixed codebook assignment as a set: ``w_i = w_j where a_i = a_j, 0 where a_i = 0``.

The projection is the mean of each class, so projected gradient on this set trains the centroids of
a codebook while its indices stand still.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from hauberk.constraints.checks import refuse_nonfinite, refuse_strangers
from hauberk.ops.bits import FLOAT_BITS
from hauberk.problem import Constraint
from hauberk.types import Weights


@dataclass(frozen=True)
class _Classes:
    """The members of all classes but zero's: flat positions, their classes, one member of each."""

    at: Tensor
    of: Tensor
    member: Tensor
    counts: Tensor

    @staticmethod
    def read(labels: Tensor) -> _Classes:
        at = labels.flatten().nonzero().flatten()
        _, of = torch.unique(labels.flatten()[at], return_inverse=True)
        count = int(of.max()) + 1 if len(of) else 0
        first = of.new_full((count,), len(of))
        first.scatter_reduce_(0, of, torch.arange(len(of), device=of.device), "amin")
        return _Classes(at, of, at[first], torch.bincount(of, minlength=count))

    def to(self, device: torch.device) -> _Classes:
        moved = (t.to(device) for t in (self.at, self.of, self.member, self.counts))
        return self if self.at.device == device else _Classes(*moved)

    def means(self, flat: Tensor) -> Tensor:
        """The mean of each class, in float64; exact where all its members are equal."""
        member = flat[self.member].double()
        # sums of differences to one member: equal members leave exactly that member
        apart = flat[self.at].double() - member[self.of]
        sums = torch.zeros_like(member).index_add_(0, self.of, apart)
        return member + sums / self.counts


@dataclass(frozen=True, eq=False)
class Clusters(Constraint):
    """``{w : w is constant on each class of labels, and zero on class 0}``, per tensor.

    Attributes:
        labels: whole numbers ≥ 0, by the tree's names, in its shapes.

    Raises:
        ValueError: for labels that are no whole numbers from 0 up, or a tree of other
            names or shapes.
    """

    labels: Weights
    _classes: dict[str, _Classes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, labels in self.labels.items():
            if labels.is_floating_point() or (labels.numel() and int(labels.min()) < 0):
                raise ValueError(
                    f"the labels of {name!r} are {labels.dtype} or below zero, and a class is a "
                    "whole number from 0 up: give the codebook's indices"
                )
        read = {name: _Classes.read(labels.long()) for name, labels in self.labels.items()}
        object.__setattr__(self, "_classes", read)

    @classmethod
    def of(cls, w: Weights) -> Clusters:
        """The classes of equal values in ``w`` itself."""
        return cls({name: _labels(t.detach()) for name, t in w.items()})

    @torch.no_grad()
    def project(self, w: Weights) -> dict[str, Tensor]:
        """``argmin ‖w' − w‖``: the mean of each class."""
        refuse_nonfinite(w)
        refuse_strangers(w, self.labels)
        return {name: self._constant(name, t) for name, t in w.items()}

    def _constant(self, name: str, t: Tensor) -> Tensor:
        classes = self._classes[name].to(t.device)
        flat = torch.zeros_like(t, memory_format=torch.contiguous_format).flatten()
        means = classes.means(t.flatten()).to(t.dtype)
        return flat.index_copy_(0, classes.at, means[classes.of]).view_as(t)

    def size_bits(self, w: Weights) -> int:
        """A float for each class; which weight is in which is known."""
        return FLOAT_BITS * sum(len(self._classes[name].counts) for name in w)

    def budget_bits(self, w: Weights) -> int:
        """The same: every point of the set costs alike."""
        return self.size_bits(w)


def _labels(t: Tensor) -> Tensor:
    labels = torch.zeros(t.shape, dtype=torch.long, device=t.device)
    _, inverse = torch.unique(t[t != 0], return_inverse=True)
    labels[t != 0] = inverse + 1
    return labels
