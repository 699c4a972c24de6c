"""The processes of one run: each one's rows of a batch, and the collectives between them.

All processes hold the same weights and draw the same random numbers for the whole batch. Each one
computes its own rows, attack included; their gradients are summed once a step, after the backward
pass. So a run depends on the number of processes only by the order in which floating-point numbers
are added.

Departure from DistributedDataParallel: the model has no wrapper. A wrapper would reduce gradients
during the backward pass, which saves little compared with the passes of the attack, and its hooks
would run during the attack as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


class ProcessLost(OSError):
    """Another process of the run ended or cannot be reached."""


@dataclass(frozen=True)
class Group:
    """The place of this process in a run; a single process sends nothing.

    Attributes:
        rank: number of this process; the first, 0, writes the files.
        size: number of processes.
        local: rank among the processes of this machine, which is the number of its device.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This process's rows of ``count``, split as evenly as possible, in the order of ranks."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    @torch.no_grad()
    def all_reduce_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        with _collective():
            dist.all_reduce(flat)
        parts = torch.split(flat, [t.numel() for t in tensors])
        for t, total in zip(tensors, parts, strict=True):
            t.copy_(total.view_as(t))

    def mean(self, metrics: Mapping[str, Tensor], fraction: float) -> dict[str, Tensor]:
        """The metrics of the whole batch.

        Args:
            metrics: scalars, means over this process's rows.
            fraction: fraction of the batch's rows that this process computes.
        """
        if self.size == 1 or not metrics:
            return dict(metrics)
        total = torch.stack([value.float() * fraction for value in metrics.values()])
        self.all_reduce_([total])
        return dict(zip(metrics, total, strict=True))

    def all_reduce_max(self, number: int) -> int:
        """The largest of the processes' numbers; does not synchronise the device."""
        if self.size == 1:
            return number
        largest = torch.tensor(number)
        with _collective():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    @torch.no_grad()
    def all_reduce_max_(self, t: Tensor) -> None:
        """Replace each element by its maximum over all processes."""
        if self.size > 1:
            with _collective():
                dist.all_reduce(t, dist.ReduceOp.MAX)

    @torch.no_grad()
    def broadcast_(self, tensors: Sequence[Tensor], rank: int = 0) -> None:
        """Replace each tensor by the one of process ``rank``."""
        for t in tensors if self.size > 1 else ():
            sent = t.contiguous()
            with _collective():
                dist.broadcast(sent, rank)
            t.copy_(sent)

    def broadcast_bytes(self, content: bytes | None) -> bytes | None:
        """Send the first process's content to all; the others' argument is ignored."""
        if self.size == 1:
            return content
        length = torch.tensor(-1 if content is None or not self.first else len(content))
        self.broadcast_([length])
        if length < 0:
            return None
        held = bytearray(content or b"") if self.first else bytearray(int(length))
        if length:
            self.broadcast_([torch.frombuffer(held, dtype=torch.uint8)])
        return bytes(held)

    def barrier(self) -> None:
        """Wait until all processes have called this."""
        self.all_reduce_max(0)


ALONE = Group()


def joined() -> Group:
    """Join the processes that ``torchrun`` or ``--devices`` started, if any did.

    Raises:
        ValueError: RANK and WORLD_SIZE are set and the other processes cannot be reached.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return ALONE
    if not dist.is_initialized():
        cuda = torch.cuda.is_available()
        if cuda:  # else tensors on "cuda" would go to the first device
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"RANK and WORLD_SIZE are set and the processes could not connect ({error}); start "
                "them by torchrun or --devices, or unset these variables."
            ) from error
    return Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))


def destroy_process_group() -> None:
    """Destroy the process group, if there is one."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def _collective() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo has no type of its own for a connection that broke
        why = str(error).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
        raise ProcessLost(
            f"Another process of this run ended or cannot be reached ({why}); the run's folder "
            "contains a complete checkpoint: run the same command with --resume."
        ) from error
