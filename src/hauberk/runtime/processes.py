"""The processes of one run: which part of each batch is whose, and how they agree.

All hold the same weights and draw the same numbers for the whole batch; each computes its part of
the rows, and the parts' gradients are added once a step, after the backward pass. The attack on a
row needs nobody else. So a run does not depend on how many processes it has, but for the order in
which floating-point numbers are added.

Departure: no wrapper of the model. Such a wrapper shares gradients while the backward pass goes,
which saves little beside the passes of the attack, and puts hooks where the attack runs, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


class Lost(OSError):
    """Another process of the run ended, or cannot be reached."""


@dataclass(frozen=True)
class Group:
    """One process among those of a run; alone, nothing is sent.

    Attributes:
        rank: which one this is; the first, 0, writes the files.
        size: how many there are.
        local: which one of this machine's it is: the number of its device.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes the files and speaks to people."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This process's rows of ``count``: as even as can be, the ranks in order."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    @torch.no_grad()
    def add_(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes its sum over all processes, in place; one message for all."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with _together():
            dist.all_reduce(flat)
        parts = torch.split(flat, [t.numel() for t in tensors])
        for t, total in zip(tensors, parts, strict=True):
            t.copy_(total.view_as(t))

    def mean(self, metrics: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
        """The metrics of the whole batch, of which this process has computed ``share``."""
        if self.size == 1 or not metrics:
            return dict(metrics)
        total = torch.stack([value.float() * share for value in metrics.values()])
        self.add_([total])
        return dict(zip(metrics, total, strict=True))

    def most(self, number: int) -> int:
        """The largest of a number that each process gives; it waits for no accelerator."""
        if self.size == 1:
            return number
        largest = torch.tensor(number)
        with _together():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    @torch.no_grad()
    def most_(self, t: Tensor) -> None:
        """Each number of a tensor becomes the largest over all processes, in place."""
        if self.size > 1:
            with _together():
                dist.all_reduce(t, dist.ReduceOp.MAX)

    @torch.no_grad()
    def alike_(self, tensors: Sequence[Tensor], rank: int = 0) -> None:
        """Each tensor becomes that of one process, in place."""
        for t in tensors if self.size > 1 else ():
            sent = t.contiguous()
            with _together():
                dist.broadcast(sent, rank)
            t.copy_(sent)

    def told(self, content: bytes | None) -> bytes | None:
        """What the first process gives; the others' own is not looked at."""
        if self.size == 1:
            return content
        length = torch.tensor(-1 if content is None or not self.first else len(content))
        self.alike_([length])
        if length < 0:
            return None
        held = bytearray(content or b"") if self.first else bytearray(int(length))
        if length:
            self.alike_([torch.frombuffer(held, dtype=torch.uint8)])
        return bytes(held)

    def wait(self) -> None:
        """Until all processes are here."""
        self.most(0)


ALONE = Group()


def joined() -> Group:
    """This process's place among those that ``torchrun`` or ``--devices`` started; else alone.

    Raises:
        ValueError: the environment speaks of processes that cannot be reached.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return ALONE
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:  # else what names no device would go to the first one's
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"The processes that RANK and WORLD_SIZE speak of did not meet ({error}); start "
                "them by torchrun or --devices, or unset these variables."
            ) from error
    return Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))


def leave() -> None:
    """Say goodbye, if this process had joined others."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo has no type of its own for a connection that broke
        why = str(error).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
        raise Lost(
            f"Another process of this run ended or cannot be reached ({why}); what the run's "
            "folder holds is whole: run the same command with --resume."
        ) from error
