"""Where the last attack on each training example ended, for attacks that go on from there.

A perturbation of every example and search, in half precision, in radii of the threat; nothing where
none is reused. Each process of a run writes its own rows, and all are shared when they are saved.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hauberk.batch import Recall
from hauberk.dataset import Examples
from hauberk.runtime import memory
from hauberk.runtime.processes import Group

REHEARSALS = 8
"""Attacks in a row on an example that was not attacked before, where each goes on from the last."""

_AGAIN = 2
"""Attacks in a row on a held-out example that was attacked an epoch ago: the weights have moved."""


class Ends:
    """The ends of one stage's attacks.

    Args:
        examples: of the training split.
        reuse: whether any are kept.
        searches: attacks on each example.
        device: that keeps them.
        before: the ends of the stage before, taken over where they are of as many searches.

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
        self.reuse, self.searches, self.device = reuse, searches, device
        self.held_out = torch.empty(0)
        if reuse and before is not None and len(before) == len(examples) * searches:
            self.kept = before.to(device)
            return
        if reuse:
            _check_room(examples, device, searches)
        self.kept = self._untouched(examples)

    def recall(self, index: Tensor) -> Recall | None:
        """What is known of the examples of a batch."""
        return Recall(self.kept, index) if self.reuse else None

    def rehearsal(self, examples: Examples) -> tuple[Recall | None, int]:
        """What is known of examples that are never trained on; how many attacks in a row they get.

        The same ones are given each time, and their attacks go on where they ended an epoch ago.
        """
        if not self.reuse:
            return None, 1
        rows, times = torch.arange(len(examples), device=self.device), _AGAIN
        if not len(self.held_out):
            self.held_out, times = self._untouched(examples), REHEARSALS
        return Recall(self.held_out, rows), times

    def share(self, batches: Tensor, group: Group) -> None:
        """Every process learns where the others' attacks ended.

        Args:
            batches: (steps, batch), the examples of each step, of which each process had a part.
            group: the processes.
        """
        if group.size == 1 or not self.reuse:
            return
        for rank in range(group.size):
            part = replace(group, rank=rank).part(batches.shape[1])
            rows = batches[:, part].reshape(-1)
            for own in self.kept.chunk(self.searches):
                ends = own[rows]
                group.alike_([ends], rank)
                own[rows] = ends

    def _untouched(self, examples: Examples) -> Tensor:
        """No perturbation yet for any example."""
        count = len(examples) * self.searches if self.reuse else 0
        return torch.zeros(count, *examples.shape, dtype=torch.float16, device=self.device)


def _check_room(examples: Examples, device: torch.device, searches: int) -> None:
    needed, left = 2 * examples.x.numel() * searches, memory.free(device)
    if needed > left:
        raise ValueError(
            "reuse keeps each attack's perturbation of each training example, "
            f"{memory.readable(needed)} in all, and {device} has {memory.readable(left)} free; "
            "leave --reuse out."
        )
