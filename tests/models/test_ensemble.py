"""Ensembles: the sum, frozen members, and their file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.nets import artifact_of, conv, mlp
from torch import nn

import hauberk as hb
from hauberk.artifact import Architecture, Artifact
from hauberk.attack import frozen, input_gradient
from hauberk.models import Ensemble, build, parse
from hauberk.networks import module

X = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(0))


def digits(seed: int = 0) -> Ensemble:
    net = build("ensemble:3xlenet:1", seed=seed)
    assert isinstance(net, Ensemble)
    net.alpha.copy_(torch.tensor([1.0, 0.375, 0.5]))
    return net.eval()


def test_the_sum_is_the_members_sum_to_the_bit_after_decoding(tmp_path: Path) -> None:
    net, x = digits(), torch.rand(4, 1, 28, 28)
    artifact_of(net, (1, 28, 28)).save(tmp_path / "e.hbk")
    decoded = hb.load(tmp_path / "e.hbk")
    assert isinstance(decoded, Ensemble)
    a, b, c = (member(x) for member in decoded.members)
    assert torch.equal(decoded(x), 1.0 * a + 0.375 * b + 0.5 * c)
    assert torch.equal(decoded(x), net(x))


def test_an_ensemble_is_built_by_name_from_different_weights() -> None:
    assert parse("ensemble:3xlenet:1") == ("ensemble", {"of": "lenet:1", "members": 3})
    net, again, other = digits(), digits(), digits(seed=1)
    assert Architecture.of(net) == Architecture("ensemble", {"of": "lenet:1,10", "members": 3})
    firsts = [m.conv1.weight for e in (net, other) for m in e.members]
    assert not any(torch.equal(a, b) for i, a in enumerate(firsts) for b in firsts[:i])
    assert torch.equal(net.members[1].conv1.weight, again.members[1].conv1.weight)


def test_a_file_of_a_users_own_members_is_filled_into_copies_of_the_module(tmp_path: Path) -> None:
    net = Ensemble([mlp(), mlp()], [1.0, 0.25]).eval()
    artifact_of(net, (1, 6, 6), 3).save(tmp_path / "e.hbk")
    for given in (mlp(), Ensemble([mlp(), mlp()])):
        assert torch.equal(hb.load(tmp_path / "e.hbk", given)(X), net(X))
    with pytest.raises(ValueError, match="names no architecture") as caught:
        hb.load(tmp_path / "e.hbk")
    assert "\n" not in str(caught.value)


def test_members_that_share_a_stem_are_stored_once() -> None:
    stem, heads = nn.Linear(300, 40), [nn.Linear(40, 3) for _ in range(3)]
    shared = Ensemble([nn.Sequential(stem, head) for head in heads])
    apart = Ensemble([nn.Sequential(nn.Linear(300, 40), head) for head in heads])
    with torch.no_grad():
        for member in apart.members:
            member[0].load_state_dict(stem.state_dict())
    one, three = (artifact_of(net, (300,), 3) for net in (shared, apart))
    assert one.nbytes < 0.4 * three.nbytes
    x = torch.rand(2, 300)
    assert torch.equal(module(one, "", nn.Sequential(nn.Linear(300, 40), heads[0]))(x), shared(x))


def test_frozen_members_have_no_gradients_and_unchanged_statistics() -> None:
    net = Ensemble([conv(), conv()])
    net.grow(conv())
    before = {n: t.clone() for n, t in net.state_dict().items()}
    net.train()
    net(X).square().sum().backward()
    assert net.frozen == 2
    for name, p in net.named_parameters():
        assert (p.grad is not None) == name.startswith("members.2."), name
    for name, t in net.state_dict().items():
        statistics = "running" in name or "tracked" in name
        assert torch.equal(t, before[name]) == (not statistics or not name.startswith("members.2."))


def test_an_attack_sees_the_whole_sum_through_frozen_members() -> None:
    net = Ensemble([conv(), conv()])
    net.grow(conv())
    net.train()
    with frozen(net):
        _, grad = input_gradient(lambda x: net(x).square().sum(1), X)
        leaf = X.clone().requires_grad_()
        (true,) = torch.autograd.grad(
            sum(member(leaf) for member in net.members).square().sum(), leaf
        )
    assert torch.allclose(grad, true, rtol=1e-4, atol=1e-6)
    assert [any(p.requires_grad for p in m.parameters()) for m in net.members] == [
        False,
        False,
        True,
    ]
    assert [m.training for m in net.members] == [False, False, True]


def test_growing_and_dropping_leave_the_others_and_their_answers() -> None:
    net = Ensemble([mlp()]).eval()
    before = net(X)
    net.grow(mlp().eval())
    assert len(net.members) == len(net.alpha) == 2
    net.drop()
    assert torch.equal(net(X), before)
    net.freeze(0)
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (lambda: Ensemble([]), "at least one member"),
        (lambda: Ensemble([mlp()], [1.0, 2.0]), "one weight for each"),
        (lambda: Ensemble([mlp(), nn.Sequential(nn.Flatten(), nn.Linear(36, 4))])(X), "Member 2"),
        (lambda: build("ensemble:0xlenet:1"), "1 to 256"),
        (lambda: build("ensemble:300xlenet:1"), "1 to 256"),
        (lambda: build("ensemble:4"), "known ones"),
        (lambda: build("ensemble:2xensemble:2xlenet:1"), "give a network"),
        (lambda: build("ensemble:axlenet:1"), "whole number"),
        (lambda: build("ensemble:200xlenet:200"), "parameters"),
    ],
)
def test_bad_ensembles_are_one_line(act, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_members_of_several_kinds_name_no_architecture() -> None:
    assert Architecture.of(Ensemble([mlp(), conv()])) is None
    assert Architecture.of(Ensemble([build("lenet:1"), build("lenet:2")])) is None


def test_a_file_with_a_wrong_number_of_members_is_refused() -> None:
    net = digits()
    odd = Artifact.encode(
        net.state_dict(),
        architecture=Architecture("ensemble", {"of": "lenet:1", "members": 2}),
        input_shape=(1, 28, 28),
        classes=10,
    )
    with pytest.raises(ValueError, match="does not fit") as caught:
        module(odd, "e.hbk")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_ensemble_exports_as_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    artifact_of(digits(), (1, 28, 28)).save(tmp_path / "e.hbk")
    made = hb.export(tmp_path / "e.hbk")
    session = made.made.session(str(made.file))
    x = torch.rand(3, 1, 28, 28)
    assert torch.allclose(session(x), digits()(x), atol=1e-4)
