"""Export a torch network as an ONNX graph: ``images`` to ``logits`` or, of a generator, ``output``.

``logits`` are (batch, class); ``output`` is (batch, channel, height, width). The graph is float32,
contains its weights, uses standard operators only and takes any batch size.
PyTorch's exporter produces it (torch.export, then onnxscript). Batch-norm is either kept after its
convolution, so that the weights are those of the artifact, or folded into it. Debugging metadata,
such as stack traces with local paths, are removed: equal networks give equal graphs.
"""

from __future__ import annotations

import builtins
import contextlib
import copy
import io
import itertools
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk.onnx.simplify import simplify
from hauberk.runtime.packages import gist, need, version

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
IMAGES_OUT = "output"
"""Name of the output of an image-to-image network."""
_OPSET = 21
"""The first opset with 4-bit integers."""
_KEPT = "hauberk.kept"


def trace(
    model: nn.Module,
    input_shape: tuple[int, ...],
    *,
    fold: bool = False,
    output: str = OUTPUT,
) -> ModelProto:
    """The ONNX graph of ``model`` in eval mode; the model is not modified.

    Args:
        model: network from images to logits (batch, class), or to images.
        input_shape: shape of one input, (channel, height, width).
        fold: whether to fold batch-norm into the preceding weights, as a runtime does on loading.
        output: name of the output, `OUTPUT` or `IMAGES_OUT`.

    Raises:
        ValueError: ``hauberk[onnx]`` is not installed, or the network cannot be exported.
    """
    need("onnx", "onnx", "onnxscript", "onnxruntime")
    plain = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
    for weight in (*plain.parameters(), *plain.buffers()):
        weight.data = weight.data.contiguous()  # the graph shows how weights lie in memory
    try:
        with _quiet(), _lengths(plain):
            program: Any = torch.onnx.export(
                plain,
                (torch.zeros(2, *input_shape),),
                input_names=[INPUT],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim(BATCH)},),
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=_OPSET,
                optimize=False,
            )
            _distinct(program.model.graph)
            graph = _simplified(program.model_proto, fold)
            simplify(graph)
    except Exception as error:  # the exporter and its libraries raise errors of many classes
        raise ValueError(
            f"The network cannot be written as ONNX ({gist(_first(error))}); "
            "give one that torch.onnx.export supports, without data-dependent branches."
        ) from error
    _tidy(graph)
    return graph


def _distinct(graph: Any) -> None:
    """Rename weights that the exporter gave the name of another value: a buffer called ``mean``."""
    ports = (value.name for value in graph.inputs)
    taken = {*ports, *(value.name for node in graph for value in node.outputs)}
    weights = list(graph.initializers.values())
    used = taken | {weight.name for weight in weights}
    for weight in weights:
        if weight.name in taken:
            names = (f"{weight.name}.{number}" for number in itertools.count(1))
            weight.name = next(name for name in names if name not in used)
            used.add(weight.name)


def _simplified(model: ModelProto, fold: bool) -> ModelProto:
    """Fold constants; to keep batch-norm, rename it so that the optimiser skips it."""
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


def _lengths(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Symbolic lengths, unless a layer stops torch's exporter at a `len` that is not its own."""
    recurrent = any(isinstance(part, nn.GRU | nn.LSTM) for part in model.modules())
    return contextlib.nullcontext() if recurrent else _symbolic_lengths()


@contextlib.contextmanager
def _symbolic_lengths() -> Iterator[None]:
    """Let ``len(x)`` in a network mean ``x.shape[0]``.

    Python turns the result of ``len`` into a number, which would fix the batch size of the graph.
    """
    count = builtins.len

    def length(of: Any) -> Any:
        return of.shape[0] if isinstance(of, torch.Tensor) and of.ndim else count(of)

    builtins.len = length
    try:
        yield
    finally:
        builtins.len = count


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what the exporter prints, logs and warns about."""
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
    """Set the producer, and remove stack traces and other debugging metadata."""
    model.producer_name, model.producer_version = "hauberk", version("hauberk")
    graph = model.graph
    graph.ClearField("value_info")  # readers infer it
    parts = (model, graph, *graph.node, *graph.input, *graph.output)
    for part in (*parts, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
