"""Certify examples: the bounds in turn, each on what those before it left open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from hauberk.bounds.crown import Crown
from hauberk.bounds.interval import Interval
from hauberk.bounds.margin_bound import MarginBound
from hauberk.bounds.network import Network
from hauberk.dataset import Examples
from hauberk.threat import Threat

BOUNDS: dict[str, tuple[MarginBound, ...]] = {
    "interval": (Interval(),),
    "crown": (Interval(), Crown(), Crown(full=True)),
}
"""By name: the bounds in turn, the fastest first."""


@dataclass(frozen=True)
class Certificate:
    """What was certified.

    Attributes:
        certified: mask of the examples that are classified correctly on every allowed input.
        by: how many each bound certified first.
        seconds: wall-clock time.
    """

    certified: Bool[Tensor, " batch"]
    by: dict[str, int]
    seconds: float


@torch.no_grad()
def certify(
    model: nn.Module | Network,
    examples: Examples,
    threat: Threat,
    bounds: Sequence[MarginBound] = BOUNDS["crown"],
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Certificate:
    """Certify the examples of a split.

    Args:
        model: from images in [0, 1] to logits, or its operators.
        examples: images and labels.
        threat: what the adversary may do.
        bounds: in turn, each on what those before it left open.
        batch_size: examples at a time.
        progress: called with the examples done.

    Raises:
        ValueError: a layer or a threat with no bound.
    """
    start = time.monotonic()
    network = model if isinstance(model, Network) else Network.of(model, examples.shape)
    mask = torch.zeros(len(examples), dtype=torch.bool)
    by, done = {bound.name: 0 for bound in bounds}, 0
    for x, y in examples.to("cpu").batches(batch_size):
        left = torch.arange(len(x))
        for bound in bounds:
            if not len(left):
                break
            held = bound.certifies(network, x[left], y[left], threat)
            mask[done + left[held]] = True
            by[bound.name] += int(held.sum())
            left = left[~held]
        done += len(x)
        progress(done, len(examples))
    return Certificate(mask, by, time.monotonic() - start)
