"""A size is of the file that ships; limits on memory and multiplications make the net narrower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.nets import conv, mlp, toy
from torch import nn

import hauberk as hb
from hauberk.allocation.costs import FileCosts
from hauberk.allocation.forms import FORMS, form_of
from hauberk.methods._narrow import Narrowing, Needs
from hauberk.objectives import Natural
from hauberk.onnx.session import Session
from hauberk.parametrize import Selection
from hauberk.recipe import Limits, Packaging
from hauberk.recipe.packaging import FORMATS
from hauberk.solvers.descent import put

QUICK = {"epochs": 1, "dense_epochs": 1, "batch_size": 64, "lr": 0.02, "most_bits": 4}
THREAT = hb.Linf(0.1)


def wide() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 400), nn.ReLU(), nn.Linear(400, 3))


def test_every_format_that_may_ship_has_a_price() -> None:
    assert tuple(FORMS) == FORMATS


@pytest.mark.slow
@pytest.mark.long
def test_the_exported_file_meets_the_size_and_uses_it(tmp_path: Path) -> None:
    method = hb.SizeTarget(size="7kB").with_(ship="onnx-int8", codebook_epochs=0, **QUICK)
    made = hb.compress(wide(), toy(), method=method, threat=THREAT, out=tmp_path, pretrained=True)
    assert made.ships == tmp_path / "model-int8.onnx"
    content = made.ships.read_bytes()
    assert 0.93 * 7000 <= len(content) <= 7000
    assert Session(content)(torch.rand(3, 1, 6, 6)).shape == (3, 3)
    form = form_of(method.packaging, 4)
    assert FileCosts.of(made.model, toy().train, [], form).file_bytes == len(content)


@pytest.mark.slow
def test_a_size_below_the_smallest_file_says_what_that_takes() -> None:
    method = hb.SizeTarget(size="900B").with_(ship="onnx-int8", codebook_epochs=1, **QUICK)
    with pytest.raises(ValueError, match=r"graph, biases and norms alone take \d,\d+, with one "):
        list(method.stages(mlp(), THREAT, toy().train))


@pytest.mark.slow
def test_integers_fit_into_a_size(tmp_path: Path) -> None:
    method = hb.Int8(bits=4, size="800B").with_(epochs=1, dense_epochs=1, batch_size=64, lr=0.02)
    made = hb.compress(mlp(), toy(), method=method, threat=THREAT, out=tmp_path)
    assert 0.9 * 800 <= made.artifact.nbytes <= 800
    for name in ("1.weight", "3.weight"):
        weight = made.artifact.state()[name]
        assert len(torch.unique(weight.abs())) <= 8, "a grid of four bits"


def narrowing(net: nn.Module, **limits: str) -> Narrowing:
    method = hb.SizeTarget().with_(slim=True)
    return Narrowing(Limits(**limits), Selection(), method, Natural(), net, toy().train.first(4))


def test_limits_remove_whole_filters() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3)
    )
    whole = Needs.of(net, (1, 6, 6))
    stages = narrowing(net, max_ram="70%", max_macs="1k").stages()
    stage = next(stages)
    (filters,) = stage.problem.structures.values()
    with torch.no_grad():
        weights = stage.problem.weights(net)
        put(weights, filters.at(1.0).prox({n: p.detach() for n, p in weights.items()}, 1.0))
    assert next(stages, None) is None
    needs = Needs.of(net, (1, 6, 6))
    assert needs.ram <= 0.7 * whole.ram and needs.macs <= 1000
    assert len(net[0].weight) == len(net[1].weight) > 1


def test_a_limit_that_is_met_trains_nothing() -> None:
    assert not list(narrowing(conv(), max_ram="100%", max_macs="2M").stages())


@pytest.mark.parametrize("limits", [{"max_ram": "200B"}, {"max_macs": "30"}])
def test_what_one_filter_a_layer_needs_is_said(limits: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"with one filter in each layer \d+ and \d+; give larger"):
        list(narrowing(conv(), **limits).stages())


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Packaging(ship="tflite"), "give one of hbk, onnx, onnx-int8"),
        (lambda: Limits(max_macs="many"), "give a number such as 500k"),
        (lambda: Limits(max_ram="many"), "give bytes with a unit"),
        (lambda: hb.SizeTarget().with_(max_ram="64kB"), "give --slim"),
        (lambda: hb.Int8().with_(max_macs="2M"), "give --slim"),
        (lambda: hb.Int8(size="20kB", revive=True), "give one of them"),
        (lambda: hb.RobustnessTarget().with_(ship="onnx"), "leave ship out"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(make: object, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make()  # type: ignore[operator]
