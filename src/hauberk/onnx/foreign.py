"""An ONNX classifier from another exporter: no hauberk metadata, any names, perhaps batch size 1.

ONNX Runtime computes the logits. The input shape is read from the graph. If every operator has a
replay in torch, attacks take gradients from it; otherwise `ForeignFile.replay` gives the reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from hauberk.artifact.format import ArtifactError
from hauberk.onnx.call import Unknown
from hauberk.onnx.guards import refused, rounds, unsafe
from hauberk.onnx.raw import parsed
from hauberk.onnx.replay import Replay, inputs_of
from hauberk.onnx.session import Session
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_FLOAT = 1
_WEIGHTS = (1, 2, 3, 10, 11, 16, 21, 22)
"""ONNX's type codes for weights: floats, and integers of 8 and 4 bits."""
_ADVICE = "export it with one float32 input (batch × channel × height × width) and one output"


class OneByOne(nn.Module):
    """A wrapper for batches of any size around a graph with a fixed batch size of 1."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class)."""
        return torch.cat([self.net(image) for image in torch.split(x, 1)])


@dataclass(frozen=True)
class ForeignFile:
    """An ONNX file without hauberk's metadata.

    Attributes:
        content: the whole file.
        name: subject of errors, such as the file's path.
        input_shape: shape of one image, (channel, height, width).
        single: whether the graph has a fixed batch size of 1.
        int8: whether the graph rounds its activations.
        dense_bytes: bytes of the weights in float32.
    """

    content: bytes = field(repr=False)
    name: str
    input_shape: tuple[int, ...]
    single: bool
    int8: bool
    dense_bytes: int

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "The file") -> ForeignFile:
        """Read and check a graph without running it.

        Args:
            content: the whole file.
            name: subject of errors, such as the file's path.

        Raises:
            ArtifactError: the file is not an ONNX file, the graph is not an image classifier, or
                it could run code, read other files, or take unbounded time or memory.
            ValueError: ``hauberk[onnx]`` is not installed.
        """
        graph = parsed(content, name)
        _forget_unused_domains(graph)
        fault = unsafe(graph) or _ports_fault(graph)
        if fault:
            raise ArtifactError(f"{name} {fault}; {_ADVICE}.")
        dims = inputs_of(graph)[0].type.tensor_type.shape.dim
        single = dims[0].dim_value == 1
        dims[0].dim_value = 1  # gives every value a known size, that for one image
        fault = refused(graph)
        if fault:
            raise ArtifactError(f"{name} {fault}; {_ADVICE}.")
        shape = tuple(dim.dim_value for dim in dims[1:])
        return cls(content, name, shape, single, rounds(graph), _dense_bytes(graph))

    def session(self) -> Session:
        """The graph in ONNX Runtime, tested on two blank images.

        Raises:
            ValueError: the runtime refuses it, or it does not give a row of logits for each image.
        """
        session = Session(self.content, name=self.name, single=self.single)
        session(torch.zeros(2, *self.input_shape))
        return session

    def replay(self) -> nn.Module | str:
        """The graph in torch, with gradients, in eval mode; or why there is none, as a clause.

        Raises:
            ArtifactError: weights that are NaN or infinite.
        """
        graph = parsed(self.content, self.name)
        _forget_unused_domains(graph)
        try:
            net = Replay(graph).eval()
        except Unknown as error:
            return f"its operator {error} has no replay in torch"
        if not net.finite():
            raise ArtifactError(f"{self.name} holds NaN or infinite weights; export it again.")
        return OneByOne(net).eval() if self.single else net


def _forget_unused_domains(graph: ModelProto) -> None:
    """Remove imports of unused operator sets; exporters leave their own behind."""
    used = {node.domain for node in graph.graph.node} | {"", "ai.onnx"}
    for known in [known for known in graph.opset_import if known.domain not in used]:
        graph.opset_import.remove(known)


def _ports_fault(graph: ModelProto) -> str | None:
    """Why a graph is not a classifier of images of one size; None if it is."""
    inputs, outputs = inputs_of(graph), list(graph.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        return f"has {len(inputs)} inputs and {len(outputs)} outputs"
    if any(port.type.tensor_type.elem_type != _FLOAT for port in (*inputs, *outputs)):
        return "has an input or an output that is not float32"
    sizes = [dim.dim_value for dim in inputs[0].type.tensor_type.shape.dim]
    if min(sizes[1:], default=0) < 1:
        return "does not fix the size of its images"
    return f"takes exactly {sizes[0]} images at a time" if sizes[0] not in (0, 1) else None


def _dense_bytes(graph: ModelProto) -> int:
    """Bytes in float32 of the constants that can be weights."""
    attributes = (a.t for node in graph.graph.node for a in node.attribute if a.HasField("t"))
    tensors: tuple[TensorProto, ...] = (*graph.graph.initializer, *attributes)
    return sum(4 * math.prod(map(int, t.dims)) for t in tensors if t.data_type in _WEIGHTS)
