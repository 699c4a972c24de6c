"""Whether a session agrees with its replay in torch: ``max |session − replay|``, equal answers.

Floats: ``max |session − twin| ≤ 1e-4 max |twin|``. Eight bits: two ways to sum may round a value to
neighbouring levels, so ``≤ max |twin| / 127``, one step of eight bits, and the same answer on at
least 99.9% of the images.
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
        apart: largest difference between two logits.
        largest: logit of the twin, in absolute value.
        same: images with the same answer.
        count: images.
    """

    apart: float
    largest: float
    same: int
    count: int

    @classmethod
    @torch.no_grad()
    def of(cls, session: Session, twin: nn.Module, batches: Iterable[Images]) -> Agreement:
        """Ask both.

        Raises:
            ValueError: one of them does not take the images.
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
        """A one-line error message about the file ``name``; None if both agree."""
        fraction = self.same / max(self.count, 1)
        tolerance = _STEP if int8 else _FLOAT_TOLERANCE
        if self.apart <= tolerance * self.largest and (not int8 or fraction >= _SAME):
            return None
        return (
            f"{name} computes other logits in ONNX Runtime than in torch (by {self.apart:.2g} "
            f"where the largest is {self.largest:.2g}, the same answer on {fraction:.2%} of the "
            "images), so an attack on one would say nothing of the other; export it again, on this "
            "machine."
        )


def _replayed(twin: nn.Module, x: Images, name: str) -> Tensor:
    try:
        logits: Tensor = twin(x)
    except (RuntimeError, LookupError, TypeError) as error:  # shapes that do not meet
        raise ValueError(
            f"{name} holds a graph that does not run in torch ({gist(error)}); export it again."
        ) from error
    return logits
