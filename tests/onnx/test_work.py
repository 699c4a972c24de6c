"""The work of a foreign graph: unknown sizes and endless products are refused before it runs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hauberk.artifact import ArtifactError
from hauberk.onnx.foreign import ForeignFile
from onnx import TensorProto, helper, numpy_helper


def graph(*nodes: object, **weights: np.ndarray) -> bytes:
    """A graph from images ``x``, 1 × 8 × 8, to logits ``y``."""
    made = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def node(kind: str, inputs: str, output: str, **settings: object) -> object:
    return helper.make_node(kind, inputs.split(), [output], **settings)


HEAD = (
    node("Flatten", "x", "f"),
    node("MatMul", "f w", "y"),
)
W = np.zeros((64, 10), np.float32)


def test_a_plain_graph_is_read() -> None:
    assert ForeignFile.from_bytes(graph(*HEAD, w=W)).input_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (graph(node("NonZero", "x", "n"), *HEAD, w=W), "NonZero with an output of unknown size"),
        (
            graph(
                node("ReduceSum", "x", "s", keepdims=0),
                node("Cast", "s", "i", to=TensorProto.INT64),
                node("Range", "zero i one", "r"),
                *HEAD,
                w=W,
                zero=np.array(0),
                one=np.array(1),
            ),
            "Range with an output of unknown size",
        ),
        (
            graph(
                node("Expand", "one wide", "a"),
                *(node("MatMul", "a a", f"b{k}") for k in range(9)),
                *HEAD,
                w=W,
                one=np.ones((1, 1), np.float32),
                wide=np.array([16000, 16000]),
            ),
            "too much work",
        ),
        (
            graph(
                node("Tile", "x many", "t"),
                *HEAD,
                w=W,
                many=np.array([1, 1, 1 << 20, 1 << 20]),
            ),
            "too much memory",
        ),
    ],
    ids=["nonzero", "range", "products", "tile"],
)
def test_unbounded_work_is_refused_before_it_begins(content: bytes, says: str) -> None:
    start = time.process_time()
    with pytest.raises(ArtifactError, match=says) as caught:
        ForeignFile.from_bytes(content, "net.onnx")
    assert "\n" not in str(caught.value) and time.process_time() - start < 3
