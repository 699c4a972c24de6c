"""An attackable ONNX file: logits from its session, gradients from its replay in torch.

    f(x) = session(x),   ∇f(x) := ∇twin(x),   if `agree` finds the same logits in both

The twin is the file's own graph, replayed in torch. The session classifies every point that an
attack visits; gradient-free attacks use the session only. The twin rounds where the file rounds and
passes the gradient straight through.

Source: Athalye, Carlini and Wagner (2018), arXiv 1802.00420, §4.1.
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
    """What executes a file, differentiable through its twin in torch."""

    def __init__(self, session: nn.Module, twin: nn.Module) -> None:
        super().__init__()
        self.session, self.twin = session, twin

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class), bit-identical to the session's."""
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
    """Check that ``twin`` gives the logits of ``session``, so that its gradients can attack it.

    Args:
        session: the file in ONNX Runtime.
        twin: the same graph in torch, in eval mode.
        examples: examples on the device of the twin; all of them are compared.
        int8: whether the file computes in eight bits, where rounding may differ by one level.
        batch_size: number of examples in a batch.

    Raises:
        ValueError: the logits differ, or the session cannot run on the examples.
    """
    batches = (x for x, _ in examples.batches(batch_size))
    fault = Agreement.of(session, twin, batches).complaint(session.name, int8)
    if fault:
        raise ValueError(fault)
