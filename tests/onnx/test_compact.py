"""Compact weights are the same weights, to the bit, once ONNX Runtime has folded them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hauberk.onnx.compact as compact_module
import onnx
from hauberk.onnx import lengths
from hauberk.onnx.compact import compact, gaps_of
from hauberk.onnx.session import constants
from onnx import TensorProto, helper, numpy_helper


def graph(weights: np.ndarray) -> onnx.ModelProto:
    """``images + w``: one weight in a graph."""
    side = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["images", "w"], ["logits"])],
        "net",
        [side("images", 1, ["batch", *weights.shape])],
        [side("logits", 1, ["batch", *weights.shape])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def compacted(weights: np.ndarray) -> onnx.ModelProto:
    model = graph(weights)
    plain = model.ByteSize()
    compact(model)
    onnx.checker.check_model(model, full_check=True)
    assert model.ByteSize() <= plain
    (found,) = constants(model, ["w"]).values()
    assert found.shape == weights.shape
    assert np.array_equal(found.numpy().view(np.int32), weights.view(np.int32))
    return model


STANDARD = {
    "Cast", "ConstantOfShape", "CumSum", "Gather", "Less", "Reshape", "ScatterElements", "Where",
}  # fmt: skip


def kinds(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node} - {"Add"}


def drawn(shape: tuple[int, ...], keep: float, values: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    book = rng.standard_normal(values).astype(np.float32)
    dense = book[rng.integers(0, values, shape)]
    return np.where(rng.random(shape) < keep, dense, np.float32(0)).astype(np.float32)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("values", [1, 2, 15, 16, 17, 256, 257, 70_000])
def test_every_density_and_codebook(keep: float, values: int) -> None:
    assert kinds(compacted(drawn((40, 30, 5, 5), keep, values))) <= STANDARD


def test_the_form_is_the_shortest() -> None:
    assert kinds(compacted(drawn((50, 800), 1.0, 16))) == {"Cast", "Gather"}
    sparse = compacted(drawn((50, 800), 0.02, 16))
    assert "ScatterElements" in kinds(sparse) and TensorProto.UINT4 in {
        t.data_type for t in sparse.graph.initializer
    }
    assert sparse.ByteSize() < 2 * 50 * 800 * 0.02 + 600
    noise = np.random.default_rng(1).standard_normal((50, 80)).astype(np.float32)
    assert kinds(compacted(noise)) == set()
    assert kinds(compacted(noise.astype(np.float16).astype(np.float32))) == {"Cast"}


awkward = st.sampled_from([0.0, -0.0, 1.0, 1e-45, -3e38, 65504.0, 1 / 3, 2.0**-24])


@given(values=st.lists(awkward, min_size=1, max_size=200), axes=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_every_bit_pattern_survives(values: list[float], axes: int) -> None:
    shaped = np.array(values, np.float32).reshape(*[1] * (axes - 1), -1)
    assert kinds(compacted(shaped)) <= STANDARD


def test_odd_values_survive_in_every_form() -> None:
    """Negative zeros, subnormals and infinities' neighbours, among many zeros."""
    for odd in (-0.0, 1e-45, -1e-40, 3.4e38, 6e-8):
        sparse = np.zeros((30, 100), np.float32)
        sparse[::7, ::13] = odd
        assert kinds(compacted(sparse)) <= STANDARD
        sparse[0, 0] = 1
        assert kinds(compacted(sparse)) <= STANDARD


@pytest.mark.parametrize("most", [15, 255])
def test_long_gaps_are_escaped(most: int) -> None:
    places = np.array([0, most - 1, 2 * most - 1, 3 * most, 6 * most + 1, 6 * most + 2])
    gaps = gaps_of(places, most)
    assert gaps.max() == most and np.array_equal(gaps.cumsum()[gaps < most], places)
    weights = np.zeros(7 * most, np.float32)
    weights[places] = np.arange(1, 7)
    compacted(weights)


def test_the_runtime_folds_everything(tmp_path: Path) -> None:
    model = compacted(drawn((50, 800), 0.02, 16))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    folded = onnx.load(tmp_path / "folded.onnx").graph
    assert [node.op_type for node in folded.node] == ["Add"]
    assert [math.prod(t.dims) for t in folded.initializer] == [50 * 800]


@pytest.mark.parametrize("keep", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("values", [2, 16, 200])
def test_lengths_are_those_of_the_form_that_is_chosen(keep: float, values: int) -> None:
    weights = drawn((40, 100), keep, values)
    weights = weights.astype(np.float16).astype(np.float32)
    tensor = numpy_helper.from_array(weights, "layer.weight")
    exact = compact_module._shortest(tensor, compact_module.Names()).ByteSize()
    told = lengths.bits(torch.from_numpy(weights)) / 8
    assert abs(told - exact) < 130
    alive = int(np.count_nonzero(weights))
    plan = lengths.price(weights.size, [alive], [values], half=True)[0, 0] / 8
    assert abs(plan - told) < 0.05 * told + 40
