"""ADMM pruning of whole networks: widths, ties, what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.helpers.nets import noise, shapes
from torch import nn

import hauberk as hb
from hauberk.batch import Batch
from hauberk.constraints import Filter, PerTensor, Sparsity, Support, Tied
from hauberk.dataset import Data
from hauberk.objectives import Natural
from hauberk.problem import Problem
from hauberk.slimming.filter_families import families
from hauberk.solvers import ADMM, Descent
from hauberk.verbs.compress import Compressed

QUICK = {"epochs": 1, "admm_epochs": 1, "dense_epochs": 1, "batch_size": 32, "attack_steps": 1}


def pruned(spec: str, data: Data, **settings: object) -> Compressed:
    method = hb.ADMMPruning().with_(**{**QUICK, **settings})
    return hb.compress(hb.models.build(spec), data, method=method, threat=hb.Linf(0.1))


@pytest.mark.slow
def test_a_wide_lenet_shrinks_to_the_shapes_of_a_narrow_one(tmp_path: Path) -> None:
    made = pruned("lenet:4", noise(1, 28, 28), pattern="filter", shrink_to_width=1)
    assert shapes(made.model) == shapes(hb.models.build("lenet:1"))
    made.artifact.save(tmp_path / "model.hbk")
    x = noise(1, 28, 28).test.images()
    assert torch.equal(hb.load(tmp_path / "model.hbk")(x), made.model(x))
    assert made.artifact.dense_bytes == 4 * sum(p.numel() for p in made.dense.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("slim", [True, False])
def test_several_cuts_end_where_one_would(slim: bool) -> None:
    made = pruned(
        "lenet:8",
        noise(1, 28, 28),
        pattern="filter",
        shrink_to_width=1,
        cuts=3,
        cut_epochs=1,
        slim=slim,
    )
    alive = [int((p.flatten(1) != 0).any(1).sum()) for p in made.model.parameters() if p.ndim > 1]
    assert alive == [2, 4, 64, 10]
    kept = {row["stage"]: row["kept"] for row in made.history if "kept" in row}
    assert list(kept) == [f"{leg} {n}" for n in (1, 2, 3) for leg in ("admm", "retrain")]
    if not slim:
        halves = [kept[f"retrain {n}"] for n in (1, 2, 3)]
        assert halves == pytest.approx([1 / 2, 1 / 4, 1 / 8], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["filter", "bn-filter"])
def test_a_residual_net_gets_thinner_through_its_sums(pattern: str) -> None:
    made = pruned("resnet18:2", noise(3, 32, 32), pattern=pattern, shrink_to_width=1)
    assert shapes(made.model) == shapes(hb.models.build("resnet18:1"))


@pytest.mark.slow
def test_vgg_loses_half_of_each_layers_filters() -> None:
    made = pruned("vgg16:2", noise(3, 32, 32), pattern="filter", keep=0.5)
    assert shapes(made.model) == shapes(hb.models.build("vgg16:1"))


def test_without_slim_the_net_keeps_its_shape_and_its_zeros() -> None:
    made = pruned("lenet:2", noise(1, 28, 28), pattern="filter", keep=0.5, slim=False)
    assert shapes(made.model) == shapes(hb.models.build("lenet:2"))
    alive = made.model.get_parameter("conv2.weight").flatten(1).any(1)
    assert int(alive.sum()) == 4


def test_excluded_layers_stay_dense() -> None:
    made = pruned("lenet:1", noise(1, 28, 28), keep=0.1, exclude=("conv1", "fc2"))
    assert made.model.get_parameter("conv1.weight").all()
    assert made.model.get_parameter("fc2.weight").count_nonzero() == 640
    assert int(made.model.get_parameter("conv2.weight").count_nonzero()) <= 20


def test_families_are_the_sums_of_a_residual_net() -> None:
    found = families(hb.models.build("resnet18:1"), torch.zeros(1, 3, 32, 32))
    writers = [set(f.writers) for f in found]
    assert {"conv", "stage1_1.conv2", "stage1_2.conv2"} in writers
    assert {"stage2_1.conv2", "stage2_1.shortcut.conv", "stage2_2.conv2"} in writers
    assert {"stage1_1.conv1"} in writers
    assert all("fc" not in names for names in writers), "the network's outputs stay"


class Depthwise(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(128, 10)
        )


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.fc1(x.flatten(1)).relu()
        left = self.fc2(torch.tensor(hidden.tolist()))  # leaves the graph
        return left + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.filterwarnings("ignore:The gradient of the images is 0")
@pytest.mark.parametrize(
    ("net", "settings", "sentence"),
    [
        (Depthwise, {"pattern": "column"}, r"column does not support 1, a grouped convolution"),
        (Depthwise, {"pattern": "filter", "keep": 0.1}, r"none of the 8 groups of 0.weight"),
        (Depthwise, {"pattern": "channel", "exclude": ("1",)}, r"none of the 1 groups of 0.weight"),
        (Depthwise, {"pattern": "2:4", "keep": 1.0}, r"rows of 9 entries"),
        (
            Depthwise,
            {"exclude": ("conv9",)},
            r"'conv9' matches no layer that can be compressed; these are 0, 1, 3",
        ),
        (
            Depthwise,
            {"exclude": ("0", "1", "3")},
            r"nothing to compress; include one of the model's layers \(0, 1, 3\)",
        ),
        (Depthwise, {"pattern": "bn-filter"}, r"finds nothing to prune"),
        (Depthwise, {"pattern": "filter", "shrink_to_width": 1}, r"was not built with a width"),
        (Untraceable, {"pattern": "filter"}, r"graph could not be traced"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    net: type[nn.Module], settings: dict[str, object], sentence: str
) -> None:
    method = hb.ADMMPruning().with_(**{**QUICK, **settings})
    with pytest.raises(ValueError, match=sentence):
        hb.compress(net(), noise(1, 8, 8), method=method, threat=hb.Linf(0.1), pretrained=True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pattern": "stripes"}, "no pattern 'stripes'"),
        ({"keep": 0.0}, "keep 0.0"),
        ({"rho": -1.0}, "rho was given as -1.0"),
        ({"growth": 0.5}, "growth was given as 0.5"),
        ({"admm_epochs": -1}, "admm_epochs was given as -1"),
        ({"shrink_to_width": 1}, "leaves a net as wide as it is"),
        ({"cuts": 0}, "cuts was given as 0; give 1 or more"),
        ({"cut_epochs": -1}, "cut_epochs was given as -1"),
        ({"retrain_warmup": 1.5}, "retrain_warmup was given as 1.5"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hb.ADMMPruning().with_(**settings)


@pytest.mark.parametrize(
    "method",
    [
        hb.ADMMPruning(pattern="filter", keep=0.01, dense_epochs=3),
        hb.SizeTarget(size="100B", dense_epochs=3),
    ],
)
def test_what_cannot_be_had_is_said_before_the_dense_training(
    method: hb.Method, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="give"):
        hb.compress(
            hb.models.build("lenet:1"),
            noise(1, 28, 28),
            method=method,
            threat=hb.Linf(0.1),
            out=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_a_wider_width_than_the_nets_own_is_refused() -> None:
    with pytest.raises(ValueError, match="the network has width 2; give a width up to"):
        pruned("lenet:2", noise(1, 28, 28), pattern="filter", shrink_to_width=3)


def test_the_mask_is_the_support_under_ties() -> None:
    w = {"a": torch.ones(8, 3), "b": -torch.ones(8, 2)}
    cut = Tied(PerTensor(Sparsity(0.5, Filter())), (("a", "b"),)).project(w)
    again = Support.of(cut).project(cut)
    assert all(torch.equal(again[n], cut[n]) for n in w)
    assert torch.equal(cut["a"].any(1), cut["b"].any(1))
    assert int(cut["a"].any(1).sum()) == 4


def test_the_pull_is_a_share_of_the_gap_however_many_dual_updates() -> None:
    """The published code differentiates through U: its pull grows with every update."""
    torch.manual_seed(0)
    net = nn.Linear(6, 3)
    problem = Problem(Natural(), {"budget": Sparsity(0.5)}, select=lambda m: ["weight"])
    still = Descent(lr=1e-12, average=0.0)
    solver = ADMM(frozenset({"budget"}), rho=2.0, rounds=20, descent=still)
    state = solver.init(problem, net)
    x, y = torch.rand(12, 6), torch.arange(12) % 3
    for step in range(20):
        w = net.weight.detach().clone()
        target = state.z["budget"]["weight"] - state.u["budget"]["weight"]
        solver.step(problem, net, Batch(x, y, torch.Generator(), step / 20), state)
        share = 1 - math.exp(-2.0 / 20) if step else 0.0
        torch.testing.assert_close(net.weight.detach(), w + share * (target - w))
        assert not any(t.requires_grad for t in state.u["budget"].values())
