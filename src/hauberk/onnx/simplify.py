"""Simplify the graph of recurrent layers: sizes that readers can infer, and no states of zeros.

The exporter computes the shape of a layer's output by operators, from which ONNX's inference finds
no size, and builds a first state of zeros for each image, which is the operator's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_LAYERS = ("GRU", "LSTM")
_STATES = slice(5, 7)
"""Inputs with the first states."""


def simplify(model: ModelProto) -> None:
    """Rewrite the surroundings of every recurrent layer, in place, and drop what is not used."""
    import numpy as np

    from onnx import numpy_helper

    graph = model.graph
    if not any(node.op_type in _LAYERS for node in graph.node):
        return
    made = {name: node for node in graph.node for name in node.output}
    held = {t.name: t for t in graph.initializer}
    for number, node in enumerate(graph.node):
        layer = _merged(node, made)
        if layer is not None:
            shape = np.array([0, 0, _width(layer)], np.int64)
            node.input[1] = f"~merged{number}"
            node.ClearField("attribute")  # 0 keeps a size
            graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))
    for node in (node for node in graph.node if node.op_type in _LAYERS):
        for place in range(*_STATES.indices(len(node.input))):
            if _is_zero(node.input[place], made, held):
                node.input[place] = ""
    _drop_unused(model)


def _merged(node: NodeProto, made: dict[str, NodeProto]) -> NodeProto | None:
    """The layer whose output, (time, batch, direction, hidden), a node reshapes."""
    turned = made.get(node.input[0]) if node.op_type == "Reshape" else None
    if turned is None or turned.op_type != "Transpose":
        return None
    layer = made.get(turned.input[0])
    order = next((list(a.ints) for a in turned.attribute if a.name == "perm"), [])
    known = layer is not None and layer.op_type in _LAYERS and order == [0, 2, 1, 3]
    return layer if known else None


def _width(layer: NodeProto) -> int:
    """Hidden units of all directions."""
    hidden = next(a.i for a in layer.attribute if a.name == "hidden_size")
    both = any(a.name == "direction" and a.s == b"bidirectional" for a in layer.attribute)
    return int(hidden) * (2 if both else 1)


def _is_zero(name: str, made: dict[str, NodeProto], held: dict[str, Any]) -> bool:
    """Whether a value is a constant 0, expanded and cut."""
    from onnx import numpy_helper

    while name in made and made[name].op_type in ("Expand", "Slice"):
        name = made[name].input[0]
    return name in held and not numpy_helper.to_array(held[name]).any()


def _drop_unused(model: ModelProto) -> None:
    graph = model.graph
    nodes = list(graph.node)
    wanted = {port.name for port in graph.output}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    tensors = [t for t in graph.initializer if t.name in wanted]
    graph.ClearField("node")
    graph.ClearField("initializer")
    graph.node.extend(reversed(kept))
    graph.initializer.extend(tensors)
