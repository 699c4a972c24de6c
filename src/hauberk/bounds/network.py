"""A network as a list of operators, read from the graph that ``torch.export`` records.

The graph is of the decoded network in eval mode. What depends on no input is computed once. A layer
with no bound is named.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from hauberk.bounds.layers import MAKERS, NoBound, Size
from hauberk.bounds.operators import Operator
from hauberk.runtime.packages import gist


@dataclass(frozen=True)
class Node:
    """An operator and the nodes whose outputs it takes.

    Attributes:
        operator: what it computes.
        inputs: numbers of nodes; 0 is the images.
    """

    operator: Operator
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """A classifier that bounds can be computed for.

    Attributes:
        nodes: in the order of computation; node k of the list is number k + 1, and the last gives
            the logits.
        classes: number of logits.
    """

    nodes: tuple[Node, ...]
    classes: int

    @classmethod
    def of(cls, model: nn.Module, shape: tuple[int, ...]) -> Network:
        """The operators of a module.

        Args:
            model: from images in [0, 1] to logits; it is left as it was.
            shape: of one image, (channel, height, width).

        Raises:
            ValueError: a layer with no bound, one that draws at random, or a module that torch
                cannot export.
        """
        net = copy.deepcopy(model).eval().cpu().requires_grad_(False)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(
                    net, (torch.rand(3, *shape),), dynamic_shapes=({0: torch.export.Dim("n")},)
                )
        except Exception as error:  # whatever the exporter and the module's own code raise
            raise ValueError(
                f"No bounds can be computed for this network, because torch.export cannot record "
                f"it: {gist(error)}"
            ) from error
        return cls(*_read(program))


def _read(program: torch.export.ExportedProgram) -> tuple[tuple[Node, ...], int]:
    held = _held(program)
    values: dict[fx.Node, Any] = {}
    numbers: dict[fx.Node, int] = {}
    nodes: list[Node] = []
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in held:
                values[node] = held[node.name]
            else:
                numbers[node] = 0
        elif node.op == "output":
            (answer,) = node.args[0]
            return _whole(nodes, numbers.get(answer), answer)
        elif not (moving := [n for n in node.all_input_nodes if n in numbers]):
            values[node] = _constant(node, values)
        elif _is_size(node):
            values[node] = Size()
        else:
            operator = _made(node, values)
            numbers[node] = len(nodes) + 1
            nodes.append(Node(operator, tuple(numbers[n] for n in moving)))
    raise ValueError("This network has no output; give one that returns logits.")


def _whole(
    nodes: Sequence[Node], last: int | None, answer: fx.Node
) -> tuple[tuple[Node, ...], int]:
    shape = answer.meta["val"].shape
    if last != len(nodes) or not nodes or len(shape) != 2:
        raise ValueError(
            f"The network's output has {len(shape)} axes or does not depend on the images; give "
            "one that returns logits (batch, class)."
        )
    return tuple(nodes), int(shape[1])


def _held(program: torch.export.ExportedProgram) -> dict[str, Tensor]:
    """Parameters, buffers and constants, by the name of their placeholder."""
    found: dict[str, Tensor] = {}
    for spec in program.graph_signature.input_specs:
        target = spec.target
        if target is not None:
            source: Mapping[str, Any] = program.state_dict
            value = source[target] if target in source else program.constants[target]
            found[spec.arg.name] = value
    return found


def _constant(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """The value of a node that depends on constants alone; in float32, as the network has it."""
    arguments = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
    target = node.target
    if not callable(target) or "rand" in str(target):
        raise NoBound(str(target))
    return target(*arguments[0], **arguments[1])


def _is_size(node: fx.Node) -> bool:
    """Whether the value is a number that depends on the size of the batch."""
    return not isinstance(node.meta.get("val"), Tensor)


def _made(node: fx.Node, values: Mapping[fx.Node, Any]) -> Operator:
    name = str(node.target).removeprefix("aten.").partition(".")[0].removesuffix("_")
    maker: Callable[..., Operator] | None = MAKERS.get(name)
    layer = _layer(node)
    if maker is None:
        raise ValueError(
            f"No bound is known for {name}{layer}; leave the certificate out, or use affine "
            "layers, relu, leaky relu, max and average pooling, batch norm and sums."
        )
    if node.meta["val"].dtype != torch.float32:
        raise ValueError(
            f"{name}{layer} computes in {node.meta['val'].dtype}; bounds are of float32."
        )
    shapes = [tuple(n.meta["val"].shape[1:]) for n in node.all_input_nodes if n not in values]
    after = tuple(int(size) for size in node.meta["val"].shape[1:])
    arguments = fx.node.map_arg(tuple(node.args), values.get)
    try:
        return maker(arguments, shapes, after, **dict(node.kwargs))
    except NoBound as error:
        raise ValueError(f"No bound is known for {name}{layer} with {error}.") from None


def _layer(node: fx.Node) -> str:
    """`` (layer 'features.3')``, where the graph says so."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    return f" (layer {path!r})" if path else ""
