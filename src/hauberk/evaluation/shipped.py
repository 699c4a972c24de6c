"""A network ready to be evaluated: its file, its module, and what executes the file."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hauberk.microcontroller.compiled import Compiled
from hauberk.onnx.attackable import Judged
from hauberk.onnx.session import Session


@dataclass(frozen=True)
class Shipped:
    """A network and where it comes from.

    Attributes:
        name: path of the file, or name of a module that is in no file.
        nbytes: of the file; of the float32 state dict of a module that is in no file.
        dense_bytes: of the dense net in float32.
        model: the network in torch, which gives attacks the gradient; ``None`` for an ONNX graph
            that torch cannot replay.
        session: the file in ONNX Runtime, if it is an ``.onnx``, or the compiled code of a ``.c``:
            it then gives every answer and is timed.
        in_file: whether ``nbytes`` are those of a file.
        blind: why attacks get no gradient, as a clause, where ``model`` is ``None``.
    """

    name: str
    nbytes: int
    dense_bytes: int
    model: nn.Module | None
    session: Session | Compiled | None = None
    in_file: bool = True
    blind: str = ""

    @property
    def judged(self) -> nn.Module:
        """The module that gives the outputs, with the model's gradient if there is one."""
        if self.session is None or self.model is None:
            return self.timed
        return Judged(self.session, self.model)

    @property
    def timed(self) -> nn.Module:
        """The network whose latency is measured: the session if there is one, else the model."""
        net = self.session or self.model
        assert net is not None
        return net
