"""An ONNX file under attack: the logits of its session, the gradient of its replay in torch.

    f(x) = session(x),   ∇f(x) := ∇twin(x),   once `agree` finds that the two are one function

The twin is the file's own graph, replayed in torch. Every point that an attack visits is judged by
the session, and a search without gradients asks nothing else. Where the file rounds, so does the
twin, which lets the gradient by as if it did not: Athalye, Carlini and Wagner (2018), arXiv
1802.00420, §4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hauberk.dataset import Examples
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.session import Session
from hauberk.ops.straight_through import through
from hauberk.types import Images


class Judged(nn.Module):
    """The session, differentiable through its replay in torch, the twin."""

    def __init__(self, session: Session, twin: nn.Module) -> None:
        super().__init__()
        self.session, self.twin = session, twin

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class), to the bit the session's."""
        logits: Tensor = self.session(x)
        if not (torch.is_grad_enabled() and x.requires_grad):
            return logits
        return through(self.twin(x), logits)


def agree(
    session: Session,
    twin: nn.Module,
    examples: Examples,
    *,
    int8: bool = False,
    batch_size: int = 500,
) -> None:
    """Check that an attack on ``twin`` is one on ``session``: that both give the same logits.

    Args:
        session: the file in ONNX Runtime.
        twin: the same graph in torch, in eval mode.
        examples: on the device of the twin; all of them are tried.
        int8: whether the file computes in eight bits, where neighbouring levels may be confused.
        batch_size: examples at a time.

    Raises:
        ValueError: their logits differ, or the session does not take the examples.
    """
    batches = (x for x, _ in examples.batches(batch_size))
    fault = Agreement.of(session, twin, batches).complaint(session.name, int8)
    if fault:
        raise ValueError(fault)
