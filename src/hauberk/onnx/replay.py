"""An ONNX graph replayed in torch, with gradients.

    values[out] = op(values[in], constants)   node by node

ONNX Runtime computes once the values that do not depend on the images, so the weights are
bit-identical to those of the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hauberk.onnx.call import Call, Unknown
from hauberk.onnx.operators import MAKERS
from hauberk.onnx.session import constants
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

Watch = Callable[[str, Tensor], None]
_SEVERAL = ("Split", "GRU", "LSTM")
"""Operators with several results."""


class Replay(nn.Module):
    """An ONNX graph as a torch module; rounding passes gradients straight through."""

    def __init__(self, model: ModelProto) -> None:
        """Translate a graph with one input and one output that `hauberk.onnx.guards` accepts.

        Raises:
            Unknown: an operator has no replay in torch.
            ValueError: ONNX Runtime cannot compute the constants.
        """
        super().__init__()
        (source,) = inputs_of(model)
        self.input, self.output = source.name, model.graph.output[0].name
        live = list(_live(model, self.input))
        known = _constants(model, live, self.input)
        self.steps = nn.ModuleList(_made(node, known) for node in live)
        self.inputs = [[n for n in node.input if n and n not in known] for node in live]
        self.outputs = [list(node.output) for node in live]
        last = {name: i for i, names in enumerate(self.inputs) for name in names}
        self.dead = [[n for n, i in last.items() if i == place] for place in range(len(live))]

    def forward(self, x: Images, watch: Watch | None = None) -> Tensor:
        """Logits (batch, class).

        Args:
            x: images, (batch, channel, height, width), in [0, 1].
            watch: called with the name and the value of each activation at its last use, the images
                included.
        """
        values = {self.input: x}
        for step, inputs, outputs, dead in zip(
            self.steps, self.inputs, self.outputs, self.dead, strict=True
        ):
            if watch is not None:
                for name in dead:
                    watch(name, values[name])
            found = step(*(values[name] for name in inputs))
            results = found if isinstance(found, tuple) else (found,)
            values.update((name, y) for name, y in zip(outputs, results, strict=False) if name)
            for name in dead:  # no later node uses them: free the memory
                del values[name]
        return values[self.output]

    def finite(self) -> bool:
        """Whether all weights are finite."""
        held = (*self.parameters(), *self.buffers())
        return all(bool(torch.isfinite(tensor).all()) for tensor in held)


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """The inputs of a graph, without the weights, which old files list as inputs too."""
    held = {tensor.name for tensor in model.graph.initializer}
    return [port for port in model.graph.input if port.name not in held]


def _live(model: ModelProto, source: str) -> Iterator[NodeProto]:
    """The nodes that depend on the images, in order."""
    reached = {source}
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
            yield node


def _constants(model: ModelProto, live: list[NodeProto], source: str) -> Mapping[str, Tensor]:
    """The inputs of live nodes that do not depend on the images, by name."""
    made = {source} | {name for node in live for name in node.output}
    wanted = {name for node in live for name in node.input if name} - made
    return constants(model, sorted(wanted))


def _made(node: NodeProto, known: Mapping[str, Tensor]) -> nn.Module:
    several = len([name for name in node.output if name]) != 1 and node.op_type not in _SEVERAL
    if node.op_type not in MAKERS or several:
        raise Unknown(node.op_type)
    call = Call(
        node.op_type,
        {attribute.name: _setting(attribute) for attribute in node.attribute},
        [known.get(name) for name in node.input],
        [bool(name) for name in node.input],
    )
    try:
        return MAKERS[node.op_type](call)
    except Unknown:
        raise
    except (LookupError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise Unknown(f"{node.op_type} in an unusual form") from error


def _setting(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value
