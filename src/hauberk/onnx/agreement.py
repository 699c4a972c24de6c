"""Compare an ONNX Runtime session with its replay in torch, the twin: logits or images.

float32: ``max |session − twin| ≤ 1e-4 max |twin|``. int8: two orders of summation may round a value
to neighbouring levels, so the bound is one 8-bit step, ``max |twin| / 127``, and the predictions
must agree on at least 99.9% of the images. The images of an int8 generator are compared by their
root mean square difference, at most ``max |twin| / 32``: a value rounded to a neighbouring level
changes later values in turn, and instance norms magnify that, so single pixels of a deep generator
differ by about as much as rounding itself changes them.
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
_RMS_TOLERANCE = 1 / 32


@dataclass(frozen=True)
class Agreement:
    """The comparison of two networks on some images.

    Attributes:
        apart: largest absolute difference between the logits.
        largest: largest absolute logit of the twin.
        same: number of images with the same prediction.
        count: number of images.
        rms: root mean square difference of the outputs of generators; None for logits.
    """

    apart: float
    largest: float
    same: int
    count: int
    rms: float | None = None

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
        squares, values, pictures = 0.0, 0, False
        for x in batches:
            want, have = _replayed(twin, x, session.name), session(x)
            if want.shape != have.shape:
                return cls(float("inf"), float(largest), same, count + len(x))
            # torch.maximum keeps NaN, which then counts as a difference
            apart = torch.maximum(apart, (want - have).abs().max().cpu())
            largest = torch.maximum(largest, want.abs().max().cpu())
            pictures = want.ndim == 4
            squares += float((want - have).double().square().sum())
            values += want.numel()
            same += 0 if pictures else int((want.argmax(1) == have.argmax(1)).sum())
            count += len(x)
        rms = (squares / values) ** 0.5 if pictures else None
        return cls(float(apart), float(largest), same, count, rms)

    def complaint(self, name: str, int8: bool) -> str | None:
        """A one-line error message, or None if both agree.

        Args:
            name: subject of the message, such as the file's path.
            int8: whether the file computes in eight bits, which has other tolerances.
        """
        if self.rms is not None:
            return self._pictures_complaint(name, self.rms, int8)
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

    def _pictures_complaint(self, name: str, rms: float, int8: bool) -> str | None:
        far, most = (rms, _RMS_TOLERANCE) if int8 else (self.apart, _FLOAT_TOLERANCE)
        if far <= most * self.largest:
            return None
        return (
            f"{name} computes different images in ONNX Runtime and in torch (by up to "
            f"{self.apart:.2g}, a root mean square of {rms:.2g}, with a largest value of "
            f"{self.largest:.2g}); export it again on this machine."
        )


def _replayed(twin: nn.Module, x: Images, name: str) -> Tensor:
    try:
        logits: Tensor = twin(x)
    except (RuntimeError, LookupError, TypeError) as error:  # incompatible shapes in the graph
        raise ValueError(
            f"{name} holds a graph that does not run in torch ({gist(error)}); export it again."
        ) from error
    return logits
