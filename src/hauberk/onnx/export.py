"""A torch network as an ONNX graph: ``images`` (batch, …) to ``logits`` (batch, class).

Float32, weights inside, standard operators only, any batch size. PyTorch's exporter does the work
(torch.export, then onnxscript). Batch-norm stands after its convolution, whose weights are then
those of the artifact, or is folded into it. What the exporter notes for debugging, such as stack
traces with paths of this machine, is left out: equal networks give equal graphs.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk.runtime.packages import gist, need, version

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
_OPSET = 21
"""The first that knows whole numbers of four bits."""
_KEPT = "hauberk.kept"
_LARGEST_VALUE = 1 << 28
"""Numbers in a value of a graph, for one image: a gigabyte."""


def trace(model: nn.Module, input_shape: tuple[int, ...], *, fold: bool = False) -> ModelProto:
    """The ONNX graph of ``model`` in eval mode, on the CPU; the model is left untouched.

    Args:
        model: to logits (batch, class).
        input_shape: of one input: (channel, height, width).
        fold: whether batch-norm is folded into the weights before it; a runtime does so anyway.

    Raises:
        ValueError: the extra ``hauberk[onnx]`` is missing, or the network cannot be exported.
    """
    need("onnx", "onnx", "onnxscript", "onnxruntime")
    plain = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    try:
        with _quiet():
            program: Any = torch.onnx.export(
                plain,
                (torch.zeros(2, *input_shape),),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=_OPSET,
                optimize=False,
            )
            graph = _simplified(program.model_proto, fold)
    except Exception as error:  # the exporter lets through whatever its libraries raise
        raise ValueError(
            f"The network cannot be written as ONNX ({gist(_first(error))}); "
            "give one without branches on values, of operations that torch.onnx.export knows."
        ) from error
    _tidy(graph)
    return graph


def _simplified(model: ModelProto, fold: bool) -> ModelProto:
    """Without what can be computed now; batch-norm wears a strange name where it shall stay."""
    from onnxscript import optimizer

    if not fold:
        _rename(model, "BatchNormalization", "", _KEPT)
        model.opset_import.add(domain=_KEPT, version=1)
    simple: ModelProto = optimizer.optimize(model)
    _rename(simple, "BatchNormalization", _KEPT, "")
    for known in [known for known in simple.opset_import if known.domain == _KEPT]:
        simple.opset_import.remove(known)
    return simple


def _rename(model: ModelProto, kind: str, before: str, after: str) -> None:
    for node in model.graph.node:
        if (node.op_type, node.domain) == (kind, before):
            node.domain = after


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing that the exporter prints, logs or warns of reaches the terminal."""
    before = logging.root.manager.disable
    heard = io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(heard),
            contextlib.redirect_stderr(heard),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first(error: BaseException) -> BaseException:
    """What an error goes back to."""
    return error if error.__cause__ is None else _first(error.__cause__)


def _tidy(model: ModelProto) -> None:
    """Name the maker; drop stack traces and the like."""
    model.producer_name, model.producer_version = "hauberk", version("hauberk")
    graph = model.graph
    graph.ClearField("value_info")  # a reader infers it
    parts = (model, graph, *graph.node, *graph.input, *graph.output)
    for part in (*parts, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def complaint(model: ModelProto, input_shape: tuple[int, ...]) -> str | None:
    """What tells ``model`` from what `trace` gives, if anything does; it may come from anyone.

    Args:
        model: a parsed ONNX model.
        input_shape: of one input: (channel, height, width).
    """
    return _operators(model) or _tensors(model) or _ports(model, input_shape) or _check(model)


def facts(model: ModelProto) -> tuple[int, int, bool]:
    """Version of the operators, outputs, and whether it rounds, of a graph without complaint."""
    logits = model.graph.output[0].type.tensor_type
    rounds = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    return model.opset_import[0].version, logits.shape.dim[1].dim_value, rounds


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


def _ports(model: ModelProto, input_shape: tuple[int, ...]) -> str | None:
    inputs, outputs = (list(map(_port, side)) for side in (model.graph.input, model.graph.output))
    if inputs != [(INPUT, BATCH, *input_shape)]:
        return f"does not take batches of any size of images of shape {tuple(input_shape)}"
    if [port[:2] for port in outputs] != [(OUTPUT, BATCH)] or len(outputs[0]) != 3:
        return "does not give one row of logits for each image"
    return None


def _port(port: ValueInfoProto) -> tuple[str | int, ...]:
    """A float32 port's name and sizes; its name alone, where it is anything else."""
    tensor = port.type.tensor_type
    if tensor.elem_type != 1:
        return (port.name,)
    return (port.name, *(dim.dim_param or dim.dim_value for dim in tensor.shape.dim))


def _check(model: ModelProto) -> str | None:
    from onnx import checker, shape_inference

    try:
        checker.check_model(model)
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        return f"is refused by the ONNX checker ({gist(error)})"
    except UnicodeDecodeError:  # its sentence quotes a name that is no text
        return "is refused by the ONNX checker"
    return None if all(map(_plausible, inferred.graph.value_info)) else "asks for too much memory"


def _plausible(value: ValueInfoProto) -> bool:
    """Whether an honest network might hold a value of this size; unknown sizes count as 1."""
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return min(sizes, default=0) >= 0 and math.prod(n or 1 for n in sizes) <= _LARGEST_VALUE
