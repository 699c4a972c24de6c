"""Anything that classifies is evaluated: a module, plain weights, anyone's ONNX file."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.command import refused, run
from torch import Tensor, nn

import hauberk as hb
import onnx
from hauberk.artifact import dense_bytes
from hauberk.data import load
from hauberk.evaluation import Row
from hauberk.evaluation.shipped_file import read
from onnx import TensorProto, helper

ASK: dict[str, Any] = {"threat": hb.Linf(0.1), "attack": "pgd:3", "limit": 20, "checks": False}


class Flattened(nn.Module):
    """Takes the batch size from its input, as much hand-written code does."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(*list(net)[:3]), nn.Sequential(*list(net)[4:])

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x.view(x.size(0), -1))


class Atan(nn.Module):
    """Has no replay in torch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.atan(self.net(x))


def exported(net: nn.Module, path: Path, batch: int = 0, **more: Any) -> Path:
    """By plain ``torch.onnx.export``; ``batch`` fixes the batch size."""
    into = io.BytesIO()
    if not batch:
        more |= {"dynamic_axes": {"input.1": {0: "N"}, "output.1": {0: "N"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (torch.zeros(batch or 1, 1, 8, 8),),
            into,
            input_names=["input.1"],
            output_names=["output.1"],
            dynamo=False,
            **more,
        )
    path.write_bytes(into.getvalue())
    return path


def only(report: hb.Report) -> Row:
    (row,) = report.rows
    return row


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_a_foreign_onnx_is_attacked_white_box(
    honest: nn.Module, tmp_path: Path, opset: int
) -> None:
    path = exported(honest, tmp_path / "net.onnx", opset_version=opset)
    theirs, ours = (
        only(hb.evaluate(path, "digits", **ASK)),
        only(hb.evaluate(honest, "digits", **ASK)),
    )
    assert theirs.white_box and theirs.attack == "pgd:3 + square"
    assert theirs.clean == ours.clean and theirs.clean_split == ours.clean_split
    assert theirs.attacks["pgd:3"] == ours.robust
    assert theirs.bytes == path.stat().st_size and theirs.warnings == ()
    assert theirs.dense_bytes == ours.dense_bytes - 4 * 32, "the exporter folds batch-norm"


@pytest.mark.slow
@pytest.mark.parametrize("batch", [0, 1])
def test_the_batch_may_be_fixed_and_the_shape_computed(
    honest: nn.Module, tmp_path: Path, batch: int
) -> None:
    """One image at a time, and a flatten that asks for the batch size."""
    row = only(
        hb.evaluate(exported(Flattened(honest), tmp_path / "net.onnx", batch), "digits", **ASK)
    )
    ours = only(hb.evaluate(honest, "digits", **ASK))
    assert row.white_box and row.clean == ours.clean
    assert row.attacks["pgd:3"] == ours.robust


@pytest.mark.slow
def test_a_graph_without_a_replay_is_attacked_without_its_gradient(
    honest: nn.Module, tmp_path: Path
) -> None:
    path = exported(Atan(honest), tmp_path / "net.onnx")
    for dense in (None, honest):
        report = hb.evaluate(path, "digits", dense=dense, **{**ASK, "checks": True})
        row = only(report)
        assert row.attack == "checks" and not row.white_box
        assert [check.name for check in row.checks] == ["one_function", "noise", "scale"]
        assert row.json()["white_box"] is False and row.macs is None
        finding, taken = report.findings()
        assert "student" in taken and ("transfer" in taken) == (dense is not None)
        assert "without its gradient" in finding and "operator Atan" in finding
        assert ("--dense" in finding) == (dense is None)
        assert row.robust.successes < row.clean.successes
        assert finding in report.markdown()


def test_a_replay_that_computes_something_else_gives_no_gradient(
    honest: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported(honest, tmp_path / "net.onnx")
    other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    monkeypatch.setattr("hauberk.onnx.foreign.Replay.forward", lambda self, x: other(x))
    row = only(hb.evaluate(path, "digits", **ASK))
    assert not row.white_box and row.attack == "square"
    assert "gives other logits" in row.warnings[0]


def changed(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def any_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "H"


def eight(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8


def double(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def two(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", 1, [1]))


def contrib(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def elsewhere(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def huge(model: onnx.ModelProto) -> None:
    for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]:
        dim.dim_value = 1 << 20


def map_out(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = model.graph.node[0].output[0]
    del model.graph.output[0].type.tensor_type.shape.dim[:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (any_size, "does not fix the size of its images"),
        (eight, "takes exactly 8 images at a time"),
        (double, "not float32"),
        (two, "2 inputs"),
        (contrib, "not ONNX's own"),
        (loop, "branches or loops"),
        (elsewhere, "other files"),
        (huge, "too much memory"),
        (map_out, "unknown size"),
    ],
)
def test_a_graph_that_is_no_classifier_or_not_safe_is_refused(
    honest: nn.Module, tmp_path: Path, change: Callable[[onnx.ModelProto], None], says: str
) -> None:
    path = changed(exported(honest, tmp_path / "net.onnx"), change)
    with pytest.raises(ValueError, match=says) as caught:
        read(path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_data_of_another_shape_or_more_classes_are_refused(
    honest: nn.Module, tmp_path: Path
) -> None:
    path = exported(nn.Sequential(*honest, nn.Linear(10, 4)), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="at least one output per class"):
        hb.evaluate(path, "digits", **ASK)
    x, y = torch.zeros(20, 3, 8, 8), torch.arange(20) % 10
    with pytest.raises(ValueError, match="takes images of 1 × 8 × 8"):
        hb.evaluate(path, (x, y), **ASK)


def test_a_module_needs_no_file(honest: nn.Module) -> None:
    before = {name: t.clone() for name, t in honest.state_dict().items()}
    report = hb.evaluate(honest.train(), "digits", **ASK)
    row = only(report)
    assert row.bytes == row.dense_bytes == dense_bytes(honest.state_dict())
    assert row.file == "Sequential" and row.json()["bytes_of"] == "float32 state dict"
    assert "float32 state dict" in report.markdown()
    assert honest.training
    assert all(torch.equal(t, before[name]) for name, t in honest.state_dict().items())


def test_a_module_of_other_outputs_is_one_line() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyError("nothing here")

    for net, says in ((Two(), "an object of type tuple"), (Broken(), "cannot take the images")):
        with pytest.raises(ValueError, match=says):
            hb.evaluate(net, "digits", **ASK)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_plain_weights_are_evaluated_from_the_command(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, path = hb.models.build("digits-cnn", seed=3), tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(net.state_dict(), path)
    else:
        save_file(net.state_dict(), path)
    words = ["evaluate", str(path), "--data", "digits", "--threat", "linf:0.1", "--attack", "pgd:3"]
    words += ["--limit", "20", "--no-checks", "--json"]
    run(*words, "--model", "digits-cnn")
    row = json.loads(capsys.readouterr().out)
    assert row["bytes"] == path.stat().st_size and row["bytes_of"] == "file"
    assert row["dense_bytes"] == dense_bytes(net.state_dict()) and row["file"] == str(path)
    ours = only(hb.evaluate(path, load("digits"), model=hb.models.build("digits-cnn"), **ASK))
    assert ours.clean == only(hb.evaluate(net, "digits", **ASK)).clean
    assert ours.robust.json() == row["robust"]
    assert "name the network" in refused(capsys, *words)
    assert "does not fit" in refused(capsys, *words, "--model", "digits-cnn:classes=7")


def test_a_row_is_read_back_from_its_json(honest: nn.Module) -> None:
    union = hb.Union((hb.Linf(0.1), hb.L1(1.0)))
    row = only(hb.evaluate(honest, "digits", **{**ASK, "threat": union, "limit": 10}))
    assert Row.from_json(json.loads(json.dumps(row.json()))).json() == row.json()
