"""Warm starts: each attack on an example starts from the perturbation that the last one found.

One perturbation per example and search, in half precision, in units of the threat's radius. Each
process of a run writes its own rows; they are exchanged when a snapshot is saved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hauberk.batch import WarmStart
from hauberk.dataset import Examples
from hauberk.runtime import memory, schema
from hauberk.runtime.processes import Group

REHEARSALS = 8
"""Attacks in a row on an example that was not attacked before, each from the end of the last."""


class WarmStarts:
    """The perturbations of a set of examples, from attack to attack.

    Args:
        examples: that are attacked.
        reuse: whether perturbations are kept at all.
        searches: attacks on each example, see `Objective.searches`.
        device: that keeps them.
        before: the perturbations of the stage before; they are taken over if there are as many.

    Attributes:
        perturbations: (searches · count, *shape), in float16; empty without ``reuse``.

    Raises:
        ValueError: they do not fit on the device.
    """

    def __init__(
        self,
        examples: Examples,
        reuse: bool,
        searches: int,
        device: torch.device,
        before: Tensor | None = None,
    ) -> None:
        self.reuse, self.searches = reuse, searches
        count = len(examples) * searches if reuse else 0
        if reuse and before is not None and before.shape == (count, *examples.shape):
            self.perturbations = before.to(device)
            return
        if reuse:
            _check_room(examples, device, searches)
        self.perturbations = torch.zeros(count, *examples.shape, dtype=torch.float16, device=device)

    def load(self, found: Any) -> None:
        """Go on from the perturbations of a checkpoint.

        Raises:
            Misfit: they are not those of these examples.
        """
        schema.alike(found, self.perturbations, "the perturbations")
        self.perturbations = found.to(self.perturbations.device)

    def at(self, index: Tensor) -> WarmStart | None:
        """The warm starts of a batch, given the indices of its examples, (batch,)."""
        return WarmStart(self.perturbations, index) if self.reuse else None

    def exchange(self, batches: Tensor, group: Group) -> None:
        """Give every process the perturbations that the others found.

        Args:
            batches: (steps, batch), the examples of each step, of which each process had a part.
            group: the processes.
        """
        if group.size == 1 or not self.reuse:
            return
        for rank in range(group.size):
            part = replace(group, rank=rank).part(batches.shape[1])
            rows = batches[:, part].reshape(-1)
            for own in self.perturbations.chunk(self.searches):
                sent = own[rows]
                group.broadcast_([sent], rank)
                own[rows] = sent


def _check_room(examples: Examples, device: torch.device, searches: int) -> None:
    needed, left = 2 * examples.x.numel() * searches, memory.free(device)
    if needed > left:
        raise ValueError(
            "reuse keeps each attack's perturbation of each training example, "
            f"{memory.readable(needed)} in all, and {device} has {memory.readable(left)} free; "
            "leave --reuse out."
        )
