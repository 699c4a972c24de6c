"""GAN Slimming: channels leave, weights lie on the grid, and the network still imitates itself."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.nets import toy
from torch import nn

import hauberk as hb
from hauberk.dataset import Data, Examples
from hauberk.methods import GANSlimming
from hauberk.methods._saliency import rarity
from hauberk.models.generators import cyclegan_resnet9
from hauberk.objectives import Teacher
from hauberk.objectives.gan import Answers
from hauberk.training.loop import follow
from hauberk.training.run import Run, Watcher

THREAT = hb.Linf(0.1)
QUICK = {"batch_size": 32, "lr": 0.02}


def classifier() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU()),
        *(nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32, 3)),
    )


def images(count: int = 24) -> Data:
    """Smooth random images of 16 × 16; their labels mean nothing."""
    g = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=g)
    x = nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")
    some = Examples(x, torch.zeros(count, dtype=torch.long))
    return Data("images", some, some.first(8), some.first(8), 1)


def alive(net: nn.Module) -> int:
    scales = (m.weight for m in net.modules() if getattr(m, "affine", False))
    return sum(int(w.count_nonzero()) for w in scales)


@pytest.mark.slow
def test_it_slims_a_classifier_by_its_logits() -> None:
    method = hb.DA().with_(epochs=6, **QUICK)
    dense = hb.compress(classifier(), toy(), method=method, threat=THREAT).model
    slimming = GANSlimming(strength=0.6, scale_lr=1.0, slim_epochs=30, beta=1.0)
    slimming = slimming.with_(epochs=6, **QUICK)
    made = hb.compress(dense, toy(), method=slimming, threat=THREAT, pretrained=True)
    x = toy().test.images()
    with torch.no_grad():
        same = made.model(x).argmax(1) == dense(x).argmax(1)
    assert float(same.float().mean()) > 0.95
    assert alive(made.model) < alive(dense)
    assert made.model[0].out_channels < 12
    for name, t in made.artifact.state().items():
        if name.endswith("weight") and t.ndim > 1:
            ratios = t.double().flatten()[None] * torch.arange(1, 128)[:, None] / t.abs().max()
            assert ((ratios - ratios.round()).abs() < 1e-3).all(1).any(), name


def generator_run(out: Path, resume: bool = False) -> tuple[nn.Module, list[dict[str, Any]]]:
    torch.manual_seed(0)
    net = cyclegan_resnet9(4, blocks=1)
    method = GANSlimming(
        strength=0.9, scale_lr=1.0, slim_epochs=40, bits=8, discriminator=4, levels=2, buffer=6
    ).with_(epochs=4, batch_size=8, lr=0.02)
    data, run = images(), Run(out=out, resume=resume)
    history = follow(method.stages(net, THREAT, data.train), net, data, run)
    return net, history


@pytest.fixture(scope="module")
def slimmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module, list[dict]]:
    """A folder with a finished run, the network it left, the log."""
    out = tmp_path_factory.mktemp("slimmed")
    return out, *generator_run(out)


def test_it_slims_a_generator_against_a_discriminator(slimmed) -> None:
    _, net, history = slimmed
    torch.manual_seed(0)
    dense = cyclegan_resnet9(4, blocks=1)
    assert sum(p.numel() for p in net.parameters()) < sum(p.numel() for p in dense.parameters())
    x = images().test.images()
    with torch.no_grad():
        off = (net.eval()(x) - dense(x)).square().mean()
        blank = (dense(x) - dense(x).mean((2, 3), keepdim=True)).square().mean()
    assert off < blank
    assert {row["stage"] for row in history} == {"slim", "tune"}
    assert all("discriminator" in row and "val_distance" in row for row in history)


def test_a_finished_run_resumes_to_the_same_network(slimmed) -> None:
    out, first, _ = slimmed
    again, _ = generator_run(out, resume=True)
    assert first.state_dict().keys() == again.state_dict().keys()
    for name, t in first.state_dict().items():
        assert torch.equal(t, again.state_dict()[name]), name


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_step_goes_on_to_the_same_network(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class Kill(Watcher):
        def __init__(self) -> None:
            self.left = 10  # steps: in the fourth epoch of slimming

        def step(self, metrics: object) -> None:
            self.left -= 1
            if not self.left:
                raise Killed

    method = GANSlimming(strength=0.5, slim_epochs=6, discriminator=2, levels=1, buffer=4).with_(
        epochs=1, batch_size=8, lr=0.01
    )

    def run(out: Path, **settings: Any) -> nn.Module:
        torch.manual_seed(0)
        net, data = cyclegan_resnet9(2, blocks=1), images()
        follow(method.stages(net, THREAT, data.train), net, data, Run(out=out, **settings))
        return net

    with pytest.raises(Killed):
        run(tmp_path / "b", watcher=Kill())
    whole, resumed = run(tmp_path / "a"), run(tmp_path / "b", resume=True)
    assert whole.state_dict().keys() == resumed.state_dict().keys()
    for name, t in whole.state_dict().items():
        assert torch.equal(t, resumed.state_dict()[name]), name


def test_without_penalty_and_grid_it_is_distillation() -> None:
    torch.manual_seed(0)
    net = cyclegan_resnet9(2, blocks=1)
    before = copy.deepcopy(net)
    method = GANSlimming(strength=0.0, bits=0, slim_epochs=1).with_(epochs=1, batch_size=8)
    data = images(8)
    follow(method.stages(net, THREAT, data.train), net, data, Run())
    assert [p.shape for p in net.parameters()] == [p.shape for p in before.parameters()]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"strength": -1.0}, "strength"),
        ({"bits": 9}, "bits was given as 9; give 2 to 8, or 0"),
        ({"beta": -1.0}, "beta"),
        ({"discriminator": -1}, "discriminator"),
        ({"levels": 0}, "levels was given as 0; give 1 or more"),
        ({"buffer": -1}, "buffer"),
        ({"slim_epochs": -1}, "slim_epochs"),
        ({"saliency": -1}, "saliency"),
    ],
)
def test_settings_outside_their_range(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        GANSlimming(**settings)
    assert "\n" not in str(caught.value)


def test_a_network_without_norms_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ValueError, match="finds nothing to prune"):
        next(GANSlimming(strength=0.3).stages(net, THREAT, toy().train))


def test_channels_leave_in_the_order_of_their_worth() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3))
    with torch.no_grad():
        net[3].weight[:, 2:] *= 0.01
        net[1].momentum = None  # the statistics of these images, as a trained network has them
        net(images().train.images())
    ties = (("1.weight",),)
    rare = rarity(net, ties, images().train.images())["1.weight"]
    assert float(rare[:2].max()) < 1 < float(rare[2:].min())
    method = GANSlimming(strength=0.5, slim_epochs=4, scale_lr=1.0, bits=0, saliency=8)
    data = images()
    follow(
        method.with_(epochs=0, batch_size=8, lr=0.01).stages(net.eval(), THREAT, data.train),
        net,
        data,
        Run(),
    )
    assert net[0].out_channels == 2, rare


def test_what_outputs_depend_on_is_asked_of_a_copy() -> None:
    net = classifier().train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    x = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    found = rarity(net, (("1.weight",), ("4.weight",)), x)
    assert {name: len(t) for name, t in found.items()} == {"1.weight": 12, "4.weight": 8}
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert net.training and all(p.grad is None for p in net.parameters())


def test_remembered_answers_are_the_teachers() -> None:
    torch.manual_seed(0)
    calls: list[int] = []
    net = nn.Conv2d(3, 3, 1)
    teacher, answers, x = Teacher(net), Answers(), torch.rand(4, 3, 8, 8)
    teacher.net.register_forward_hook(lambda *_: calls.append(1))
    first = answers(teacher, x)
    assert torch.equal(first, teacher(x)) or torch.allclose(first, teacher(x), atol=1e-6)
    made = len(calls)
    assert torch.equal(answers(teacher, x.flip(0)), first.flip(0))
    assert len(calls) == made
