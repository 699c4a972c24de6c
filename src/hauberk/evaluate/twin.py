"""A file that runs in ONNX Runtime under attack: the session's logits, the twin's gradient.

    f(x) = session(x),   ∇f(x) := ∇twin(x),   once  max |session − twin| ≤ 1e-4 max |twin|  holds

The twin is the file's own graph, replayed in torch. Every point that an attack visits is
judged by the session, and a search without gradients asks nothing else. Source of the idea, used
here where the two functions are the same: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hauberk.artifact import Session
from hauberk.packages import gist
from hauberk.types import Examples, Images

_TOLERANCE = 1e-4
"""Largest difference between the logits of session and twin, over the twin's largest."""


class Judged(nn.Module):
    """The session, differentiable through its twin."""

    def __init__(self, session: Session, twin: nn.Module) -> None:
        super().__init__()
        self.session, self.twin = session, twin

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class), to the bit the session's."""
        logits: Tensor = self.session(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return logits
        straight: Tensor = _Straight.apply(self.twin(x), logits)  # type: ignore[no-untyped-call]
        return straight


class _Straight(torch.autograd.Function):
    """``(a, b) ↦ b`` with the gradient of ``a``."""

    @staticmethod
    def forward(ctx: Any, twin: Tensor, session: Tensor) -> Tensor:
        return session.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


@torch.no_grad()
def agree(session: Session, twin: nn.Module, examples: Examples, batch_size: int = 500) -> None:
    """Make sure that an attack on ``twin`` is one on ``session``.

    Args:
        session: the file in ONNX Runtime.
        twin: the same graph in torch, in eval mode.
        examples: on the device of the twin; all of them are tried.
        batch_size: examples at a time.

    Raises:
        ValueError: their logits differ, or the session does not take the examples.
    """
    largest = apart = torch.zeros((), device=examples.y.device)
    for x, _ in examples.batches(batch_size):
        want, have = _replayed(twin, x, session.name), session(x)
        if want.shape != have.shape:
            apart = torch.full_like(apart, torch.inf)
            break
        # torch.maximum keeps NaN, which then counts as a difference
        largest = torch.maximum(largest, want.abs().max())
        apart = torch.maximum(apart, (want - have).abs().max())
    if not apart <= _TOLERANCE * largest:
        raise ValueError(
            f"{session.name} computes other logits in ONNX Runtime than in torch "
            f"(by {float(apart):.2g} where the largest is {float(largest):.2g}), so an attack on "
            "one would say nothing of the other; export it again."
        )


def _replayed(twin: nn.Module, x: Images, name: str) -> Tensor:
    try:
        logits: Tensor = twin(x)
    except (RuntimeError, LookupError, TypeError) as error:  # shapes that do not meet
        raise ValueError(
            f"{name} holds a graph that does not run in torch ({gist(error)}); export it again."
        ) from error
    return logits
