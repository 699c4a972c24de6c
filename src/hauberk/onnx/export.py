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
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk.runtime.packages import gist, need, version

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
_OPSET = 21
"""The first that knows whole numbers of four bits."""
_KEPT = "hauberk.kept"


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
    """Fold constants; batch-norm is renamed meanwhile, unless it is to be folded, too."""
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
    """The first cause of an error."""
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
