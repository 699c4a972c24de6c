"""Reweighted pruning of whole networks: rounds, budgets, a codebook beside, what is refused."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.nets import mlp, noise, shapes, toy
from torch import nn

import hauberk as hb
from hauberk.constraints import Sparsity
from hauberk.dataset import Data
from hauberk.penalties import Lasso
from hauberk.verbs.compress import Compressed

QUICK = {"epochs": 0, "rounds": 1, "round_epochs": 1, "dense_epochs": 1, "batch_size": 32}


def pruned(net: nn.Module, data: Data, **settings: object) -> Compressed:
    method = hb.Reweighted().with_(**{**QUICK, **settings})
    return hb.compress(net, data, method=method, threat=hb.Linf(0.1))


def test_each_round_has_a_fresh_penalty_at_the_weights_of_its_time() -> None:
    net, method = mlp(), hb.Reweighted(rounds=3, strength=0.4, eps=0.2).with_(slim=False)
    legs = method.stages(net, hb.Linf(0.1), toy().train)
    for number in (1, 2, 3):
        stage = next(legs)
        assert (stage.name, stage.epochs) == (f"round {number}", 5)
        penalty = stage.problem.structures["penalty"]
        assert isinstance(penalty, Lasso)
        every = {n: net.get_parameter(n).detach().abs() for n in ("1.weight", "3.weight")}
        scales = Sparsity(0.1).balanced(every).scales or {}
        for name, w in every.items():
            torch.testing.assert_close(penalty.factors[name], 1 / (w * scales[name] + 0.2))
        held = penalty.factors["1.weight"].clone()
        with torch.no_grad():
            net.get_parameter("1.weight").mul_(torch.rand(20, 36))
        assert torch.equal(penalty.factors["1.weight"], held)
    assert [(leg.name, leg.epochs) for leg in legs] == [("cut", 0), ("retrain", 20)]


def test_the_share_is_kept_at_the_cut_across_layers() -> None:
    made = pruned(mlp(), toy(), keep=0.2, slim=False)
    kept = {v.name: v.kept for v in made.artifact.layers() if v.name.endswith("weight")}
    assert sum(kept.values()) == int(0.2 * 780)
    assert kept["1.weight"] / 720 != pytest.approx(kept["3.weight"] / 60, abs=0.02)


def test_without_across_each_layer_keeps_its_share() -> None:
    made = pruned(mlp(), toy(), keep=0.2, across=False, slim=False)
    kept = [v.kept for v in made.artifact.layers() if v.name.endswith("weight")]
    assert kept == [144, 12]


@pytest.mark.slow
def test_a_strong_penalty_alone_empties_more_than_a_weak_one() -> None:
    shares = []
    for strength in (0.01, 3.0):
        made = pruned(mlp(), toy(), strength=strength, rounds=2, round_epochs=3, lr=0.02)
        shares.append([row["kept"] for row in made.history if row["stage"] == "round 2"][-1])
    assert shares[1] < 0.5 < shares[0]


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [0, 2], ids=["right after the cut", "retrained"])
def test_a_codebook_in_the_same_problem(epochs: int) -> None:
    made = pruned(mlp(), toy(), keep=0.2, bits=2, epochs=epochs)
    weights = {n: v for n, v in made.artifact.state().items() if n.endswith("weight")}
    assert sum(int(v.count_nonzero()) for v in weights.values()) <= int(0.2 * 780)
    assert all(len(torch.unique(v[v != 0])) <= 4 for v in weights.values())


def test_with_filters_the_codebook_takes_the_layers_that_are_not_pruned_too() -> None:
    net = hb.models.build("lenet:2")
    made = pruned(net, noise(1, 28, 28), pattern="filter", keep=0.5, across=False, bits=2)
    assert shapes(made.model) == shapes(hb.models.build("lenet:1"))
    weights = {n: v for n, v in made.artifact.state().items() if n.endswith("weight")}
    assert all(len(torch.unique(v[v != 0])) <= 4 for v in weights.values())


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["filter", "bn-filter"])
def test_a_residual_net_gets_thinner_through_its_sums(pattern: str) -> None:
    net = hb.models.build("resnet18:2")
    made = pruned(net, noise(3, 32, 32), pattern=pattern, keep=0.5, across=False)
    assert shapes(made.model) == shapes(hb.models.build("resnet18:1"))


def test_static_is_one_factor_for_all() -> None:
    legs = hb.Reweighted(static=True).stages(mlp(), hb.Linf(0.1), toy().train)
    penalty = next(legs).problem.structures["penalty"]
    assert isinstance(penalty, Lasso)
    assert all((p == 1).all() for p in penalty.factors.values())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"pattern": "stripes"}, "no pattern 'stripes'"),
        ({"pattern": "2:4"}, "keeps a part of each group"),
        ({"keep": 0.0}, "keep 0.0"),
        ({"strength": -1.0}, "strength was given as -1.0"),
        ({"eps": 0.0}, "eps was given as 0.0"),
        ({"rounds": 0}, "rounds was given as 0"),
        ({"round_epochs": -1}, "round_epochs as -1"),
        ({"bits": 17}, "bits 17"),
        ({"rho": 0.0}, "rho was given as 0.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hb.Reweighted().with_(**settings)


def test_what_leaves_nothing_is_refused_before_any_training() -> None:
    method = hb.Reweighted(pattern="filter", keep=0.01, across=False)
    with pytest.raises(ValueError, match=r"leaves none of the 20 groups of 1\.weight"):
        next(method.stages(mlp(), hb.Linf(0.1), toy().train))
