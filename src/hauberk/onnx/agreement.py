"""Compare an ONNX Runtime session with its replay in torch, the twin: logits and predictions.

float32: ``max |session − twin| ≤ 1e-4 max |twin|``. int8: two orders of summation may round a value
to neighbouring levels, so the bound is one 8-bit step, ``max |twin| / 127``, and the predictions
must agree on at least 99.9% of the images.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.onnx.session import Session
from hauberk.runtime.packages import gist
from hauberk.types import Images

_FLOAT_TOLERANCE, _STEP = 1e-4, 1 / 127
_SAME = 0.999


@dataclass(frozen=True)
class Agreement:
    """The comparison of two networks on some images.

    Attributes:
        apart: largest absolute difference between the logits.
        largest: largest absolute logit of the twin.
        same: number of images with the same prediction.
        count: number of images.
    """

    apart: float
    largest: float
    same: int
    count: int

    @classmethod
    @torch.no_grad()
    def of(cls, session: Session, twin: nn.Module, batches: Iterable[Images]) -> Agreement:
        """Run both networks on the images.

        Args:
            session: the file in ONNX Runtime.
            twin: the same graph in torch, in eval mode.
            batches: images, (batch, channel, height, width), in [0, 1].

        Raises:
            ValueError: one of the two cannot run on the images.
        """
        apart, largest, same, count = torch.zeros(()), torch.zeros(()), 0, 0
        for x in batches:
            want, have = _replayed(twin, x, session.name), session(x)
            if want.shape != have.shape:
                return cls(float("inf"), float(largest), same, count + len(x))
            # torch.maximum keeps NaN, which then counts as a difference
            apart = torch.maximum(apart, (want - have).abs().max().cpu())
            largest = torch.maximum(largest, want.abs().max().cpu())
            same += int((want.argmax(1) == have.argmax(1)).sum())
            count += len(x)
        return cls(float(apart), float(largest), same, count)

    def complaint(self, name: str, int8: bool) -> str | None:
        """A one-line error message, or None if both agree.

        Args:
            name: subject of the message, such as the file's path.
            int8: whether the file computes in eight bits, which has other tolerances.
        """
        fraction = self.same / max(self.count, 1)
        tolerance = _STEP if int8 else _FLOAT_TOLERANCE
        if self.apart <= tolerance * self.largest and (not int8 or fraction >= _SAME):
            return None
        return (
            f"{name} computes different logits in ONNX Runtime and in torch (by up to "
            f"{self.apart:.2g}, with a largest logit of {self.largest:.2g} and the same prediction "
            f"on {fraction:.2%} of the images), so gradients from torch would not attack the file; "
            "export it again on this machine."
        )


def _replayed(twin: nn.Module, x: Images, name: str) -> Tensor:
    try:
        logits: Tensor = twin(x)
    except (RuntimeError, LookupError, TypeError) as error:  # incompatible shapes in the graph
        raise ValueError(
            f"{name} holds a graph that does not run in torch ({gist(error)}); export it again."
        ) from error
    return logits
