"""The only place that draws random tensors, always from an explicit generator."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def uniform_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Uniform in [0, 1), shaped and placed like ``x``; drawn on the generator's own device."""
    return torch.rand(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device)


def normal_like(x: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal, shaped and placed like ``x``."""
    return torch.randn(x.shape, generator=rng, device=rng.device, dtype=x.dtype).to(x.device)


def permutation(count: int, rng: torch.Generator) -> Tensor:
    """A random order of ``count`` things, on the generator's device."""
    return torch.randperm(count, generator=rng, device=rng.device)


def generator(*place: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator seeded by a place in the run, such as ``(seed, stage, epoch, step)``.

    A resumed run needs no generator state: the same place always gives the same numbers.
    """
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return torch.Generator(device=device).manual_seed(int.from_bytes(digest, "big") >> 1)
