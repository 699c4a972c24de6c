"""Random tensors, always drawn here and from an explicit generator."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor


class Sliced(torch.Generator):
    """A generator that draws for a whole batch and returns the rows of one process.

    The processes of one batch draw the same numbers, so a row does not depend on their count.
    """

    part = slice(None)
    """The rows that are returned."""
    whole = 0
    """Rows of the whole batch; 0 if it is not split."""


def uniform_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Uniform in [0, 1), shaped and placed like ``x``; drawn on the generator's own device.

    The first axis of ``x`` is the batch axis.
    """
    return _part(torch.rand(_whole(x, rng), **_drawn(x, rng)), rng).to(x.device)


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal, shaped and placed like ``x``, whose first axis is the batch axis."""
    return _part(torch.randn(_whole(x, rng), **_drawn(x, rng)), rng).to(x.device)


def _drawn(x: Tensor, rng: torch.Generator) -> dict[str, Any]:
    return {"generator": rng, "device": rng.device, "dtype": x.dtype}


def _whole(x: Tensor, rng: torch.Generator) -> tuple[int, ...]:
    return (rng.whole, *x.shape[1:]) if isinstance(rng, Sliced) and rng.whole else x.shape


def _part(x: Tensor, rng: torch.Generator) -> Tensor:
    return x[rng.part] if isinstance(rng, Sliced) and rng.whole else x


def permutation(count: int, rng: torch.Generator) -> Tensor:
    """A random order of ``count`` items, on the generator's device."""
    return torch.randperm(count, generator=rng, device=rng.device)


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed what layers draw from on the CPU and on ``device``, such as dropout.

    Departure from `torch.manual_seed`: that notes a traceback for each kind of accelerator which is
    not in use, which takes over a millisecond and stays in memory, at every step.

    Args:
        seed: of the generators.
        device: of the network.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def generator(*place: int | str, device: torch.device | str = "cpu") -> Sliced:
    """A generator seeded by a place in the run, such as ``(seed, stage, epoch, step)``.

    A resumed run needs no generator state: the same place always gives the same numbers.
    """
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    rng = Sliced(device=device)
    rng.manual_seed(int.from_bytes(digest, "big") >> 1)
    return rng
