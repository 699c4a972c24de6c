"""Guards for untrusted ONNX graphs: no code, no loops, no other files, no oversized values.

Each guard returns the predicate of an error message ("holds branches or loops"), or None.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hauberk.onnx.export import BATCH, IMAGES_OUT, INPUT, OUTPUT
from hauberk.onnx.work import overwork
from hauberk.runtime.packages import gist

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto


def complaint(
    model: ModelProto, input_shape: tuple[int, ...], *, images: bool = False
) -> str | None:
    """The first difference from a graph of `hauberk.onnx.export.trace`; None if there is none.

    Args:
        model: a parsed, untrusted ONNX model.
        input_shape: shape of one input, (channel, height, width).
        images: whether the graph gives images instead of logits.
    """
    return unsafe(model) or _ports(model, input_shape, images) or refused(model)


def unsafe(model: ModelProto) -> str | None:
    """Why a graph must not be run (custom code, unbounded work, other files); None if it may."""
    return _operators(model) or _tensors(model)


def facts(model: ModelProto) -> tuple[int, tuple[int, ...], bool]:
    """Opset, shape of one output, and `rounds`, of a graph without complaint."""
    dims = model.graph.output[0].type.tensor_type.shape.dim
    return model.opset_import[0].version, tuple(d.dim_value for d in dims[1:]), rounds(model)


def rounds(model: ModelProto) -> bool:
    """Whether a graph quantises its activations to integers."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _operators(model: ModelProto) -> str | None:
    domains = {part.domain for part in (*model.opset_import, *model.graph.node)}
    if not domains <= {"", "ai.onnx"} or len(model.opset_import) != 1 or model.functions:
        return "needs operators that are not ONNX's own"
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        return "holds branches or loops"
    return None


def _tensors(model: ModelProto) -> str | None:
    attributes = [a for node in model.graph.node for a in node.attribute]
    tensors = [*model.graph.initializer, *(t for a in attributes for t in (a.t, *a.tensors))]
    if any(t.data_location or t.external_data for t in tensors):
        return "keeps weights in other files"
    sparse = any(a.HasField("sparse_tensor") or a.sparse_tensors for a in attributes)
    if sparse or model.graph.sparse_initializer or model.training_info:
        return "holds more than a network"
    return None


def _ports(model: ModelProto, input_shape: tuple[int, ...], images: bool) -> str | None:
    inputs, outputs = (list(map(_port, side)) for side in (model.graph.input, model.graph.output))
    if inputs != [(INPUT, BATCH, *input_shape)]:
        return f"does not take batches of any size of images of shape {tuple(input_shape)}"
    name, axes = (IMAGES_OUT, 3) if images else (OUTPUT, 1)
    if [port[:2] for port in outputs] != [(name, BATCH)] or len(outputs[0]) != 2 + axes:
        return f"does not give one {'image' if images else 'row of logits'} for each image"
    if images and not all(type(size) is int and size > 0 for size in outputs[0][2:]):
        return "does not fix the size of its output"
    return None


def _port(port: ValueInfoProto) -> tuple[str | int, ...]:
    """Name and sizes of a float32 input or output; only the name for another type."""
    tensor = port.type.tensor_type
    if tensor.elem_type != 1:
        return (port.name,)
    return (port.name, *(dim.dim_param or dim.dim_value for dim in tensor.shape.dim))


def refused(model: ModelProto) -> str | None:
    """Why the ONNX checker refuses a graph, or that it takes too much work; None if neither.

    Args:
        model: whose batches have one image, or any number of them: it is judged for one.
    """
    from onnx import checker, shape_inference

    try:
        checker.check_model(model)
        with _one_image(model):
            inferred = shape_inference.infer_shapes(_inferable(model), data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        return f"is refused by the ONNX checker ({gist(error)})"
    except UnicodeDecodeError:  # its message quotes a name that is not UTF-8
        return "is refused by the ONNX checker"
    return overwork(model, inferred)


@contextmanager
def _one_image(model: ModelProto) -> Iterator[None]:
    """A graph whose inputs hold one image, so that the sizes of its values are known."""
    batches = [port.type.tensor_type.shape.dim[:1] for port in model.graph.input]
    free = [(dim, dim.dim_param) for dims in batches for dim in dims if not dim.dim_value]
    for dim, _ in free:
        dim.dim_value = 1
    try:
        yield
    finally:
        for dim, name in free:
            dim.Clear()
            if name:
                dim.dim_param = name


def _inferable(model: ModelProto) -> ModelProto:
    """The graph with a copy in place of each group-norm, whose shape ONNX does not infer."""
    if not any(node.op_type == "GroupNormalization" for node in model.graph.node):
        return model
    plain = copy.deepcopy(model)
    for node in plain.graph.node:
        if node.op_type == "GroupNormalization":
            node.op_type = "Identity"
            node.ClearField("attribute")
            del node.input[1:]
    return plain
