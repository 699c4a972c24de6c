"""The laws of a method; one row in `rows.METHODS` admits a new one."""

from pathlib import Path

import pytest
import torch

import hauberk as hb
from hauberk.method import Method
from tests.contracts.rows import METHODS, UNDER_A_UNION
from tests.helpers.nets import mlp, toy

CASES = [(*row, hb.Linf(0.1)) for row in METHODS]
CASES += [(*row, hb.Union((hb.Linf(0.1), hb.L1(0.5)))) for row in UNDER_A_UNION]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "kept", "threat"), CASES, ids=lambda v: type(v).__name__)
def test_meets_its_budget_and_the_file_computes_the_same(
    method: Method, kept: int, threat: hb.threat.Threat, tmp_path: Path
) -> None:
    made = hb.compress(mlp(), toy(), method=method, threat=threat, out=tmp_path)
    layers = [layer for layer in made.artifact.layers() if layer.name.endswith("weight")]
    assert sum(layer.kept for layer in layers) <= kept
    assert made.path is not None and made.path.stat().st_size == made.artifact.nbytes
    decoded = hb.load(made.path, model=mlp())
    x = toy().test.images()
    assert torch.equal(decoded(x), made.model(x))
    assert not decoded.training
    right = (decoded(x).argmax(1) == toy().test.y).float().mean()
    assert right > 0.6, "it learned nothing, so the other laws say little"
    assert ("weight_l1" in made.history[-1]) == (len(threat.parts()) > 1)


@pytest.mark.parametrize("bits", [1, 3])
def test_atmc_ships_at_most_two_to_the_bits_values_a_matrix(bits: int) -> None:
    method = hb.ATMC(keep=0.5, bits=bits, factors=False, dense_epochs=2, codebook_epochs=1).with_(
        epochs=2, batch_size=32
    )
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    for name, value in made.artifact.state().items():
        if name.endswith("weight"):
            assert len(torch.unique(value[value != 0])) <= 2**bits


def test_alr_ships_weights_of_its_rank() -> None:
    method = hb.ALR(rank=2, dense_epochs=2).with_(epochs=2, batch_size=32)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1))
    for name, value in made.artifact.state().items():
        if name.endswith("weight"):
            assert torch.linalg.matrix_rank(value.double(), atol=1e-5) <= 2


def test_the_model_handed_over_is_left_as_it_was() -> None:
    net = mlp()
    before = [p.detach().clone() for p in net.parameters()]
    method = hb.ATMC(keep=0.5, dense_epochs=1, codebook_epochs=0).with_(epochs=1, batch_size=64)
    hb.compress(net, toy(), method=method, threat=hb.Linf(0.1))
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_pretrained_leaves_the_dense_stage_out() -> None:
    method = hb.AL0(keep=0.5).with_(epochs=1, batch_size=64)
    made = hb.compress(mlp(), toy(), method=method, threat=hb.Linf(0.1), pretrained=True)
    assert {row["stage"] for row in made.history} == {"sparse"}
    fresh = mlp()
    assert all(
        torch.equal(a, b) for a, b in zip(made.dense.parameters(), fresh.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: hb.ATMC(keep=0.0),
        lambda: hb.ATMC(bits=0),
        lambda: hb.AL0(keep=1.5),
        lambda: hb.AP(keep=-1.0),
        lambda: hb.ALR(rank=0),
        lambda: hb.DA().with_(epochs=-1),
        lambda: hb.DA().with_(lr=0.0),
        lambda: hb.DA().with_(clean=1.0),
        lambda: hb.DA().with_(attack_steps=0),
        lambda: hb.DA().with_(warmup=2.0),
    ],
)
def test_settings_that_mean_nothing_are_refused_when_they_are_made(make) -> None:
    with pytest.raises(ValueError):
        make()


def test_a_penalty_that_means_nothing_is_refused_before_any_training() -> None:
    with pytest.raises(ValueError, match="rho was given as 0"):
        hb.ATMC(rho=0)
