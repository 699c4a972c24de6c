"""An ONNX graph as a torch module with gradients: the function of the file, not of its maker.

    values[out] = op(values[in], constants)   node by node

What does not depend on the images is computed once, by ONNX Runtime itself: the weights that
attacks see are to the bit those that the runtime multiplies with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hauberk.onnx.export import INPUT, OUTPUT
from hauberk.onnx.operators import MAKERS, Call, Unknown
from hauberk.onnx.session import constants
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Watch = Callable[[str, Tensor], None]


class Replay(nn.Module):
    """Logits of an ONNX graph, by torch; rounding lets gradients by."""

    def __init__(self, model: ModelProto) -> None:
        """Read a graph that `hauberk.onnx.export.complaint` finds nothing wrong with.

        Raises:
            Unknown: it has an operator that torch is not taught here.
            ValueError: ONNX Runtime cannot compute its constants.
        """
        super().__init__()
        live = list(_live(model))
        known = _constants(model, live)
        self.steps = nn.ModuleList(_made(node, known) for node in live)
        self.inputs = [[n for n in node.input if n and n not in known] for node in live]
        self.outputs = [node.output[0] for node in live]
        last = {name: i for i, names in enumerate(self.inputs) for name in names}
        self.dead = [[n for n, i in last.items() if i == place] for place in range(len(live))]

    def forward(self, x: Images, watch: Watch | None = None) -> Tensor:
        """Logits (batch, class).

        Args:
            x: images.
            watch: told of every value that depends on them, by its name in the graph.
        """
        values = {INPUT: x}
        for step, inputs, output, dead in zip(
            self.steps, self.inputs, self.outputs, self.dead, strict=True
        ):
            if watch is not None:
                for name in dead:
                    watch(name, values[name])
            values[output] = step(*(values[name] for name in inputs))
            for name in dead:  # a value that nothing asks for again gives its memory back
                del values[name]
        return values[OUTPUT]

    def finite(self) -> bool:
        """Whether all weights are numbers."""
        held = (*self.parameters(), *self.buffers())
        return all(bool(torch.isfinite(tensor).all()) for tensor in held)


def _live(model: ModelProto) -> Iterator[NodeProto]:
    """The nodes that depend on the images, in order."""
    reached = {INPUT}
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
            yield node


def _constants(model: ModelProto, live: list[NodeProto]) -> Mapping[str, Tensor]:
    """What the live nodes ask for and no image changes."""
    made = {INPUT} | {name for node in live for name in node.output}
    asked = {name for node in live for name in node.input if name} - made
    return constants(model, sorted(asked))


def _made(node: NodeProto, known: Mapping[str, Tensor]) -> nn.Module:
    if node.op_type not in MAKERS or len([name for name in node.output if name]) != 1:
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
