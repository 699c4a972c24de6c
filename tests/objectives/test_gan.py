"""A discriminator is a player: it moves by itself, remembers by itself, and touches nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.batch import Batch
from hauberk.models.generators import cyclegan_resnet9
from hauberk.objectives import Adversary, Imitation, MeanSquared, Perceptual, Teacher
from hauberk.objectives.discriminator import patch_discriminator
from hauberk.objectives.distances import gram
from hauberk.ops.random import generator
from hauberk.runtime.processes import ALONE

SHAPE = (3, 16, 16)


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return cyclegan_resnet9(2, blocks=1)


def discriminator() -> nn.Module:
    torch.manual_seed(2)
    return patch_discriminator(4, levels=1)


def imitation(buffer: int = 3) -> Imitation:
    return Imitation(Teacher(net(1)), adversary=Adversary(discriminator(), SHAPE, buffer=buffer))


def batch(memory: dict[str, Tensor], step: int | None, count: int = 2) -> Batch:
    rng = generator("images", step or 0)
    x = torch.rand(count, *SHAPE, generator=rng)
    return Batch(x, torch.zeros(count).long(), rng, memory=memory, step=step)


def copied(memory: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in memory.items()}


def test_the_discriminator_s_step_is_adam_on_least_squares() -> None:
    objective, student = imitation(buffer=0), net(0)
    memory, twin = objective.memory(), discriminator()
    adam = torch.optim.Adam(twin.parameters(), lr=2e-4, betas=(0.5, 0.999))
    for step in range(3):
        now = batch(memory, step)
        objective(student, now)
        right, wrong = twin(objective.teacher(now.x)), twin(student(now.x).detach())
        adam.zero_grad()
        (0.5 * (F.mse_loss(right, torch.ones_like(right)) + wrong.square().mean())).backward()
        adam.step()
    for name, p in twin.named_parameters():
        torch.testing.assert_close(memory[f"weight.{name}"], p.detach(), rtol=1e-5, atol=1e-6)
    assert memory["steps"] == 3


def test_neither_player_touches_the_other() -> None:
    objective, student = imitation(), net(0)
    memory, before = objective.memory(), copied(dict(student.state_dict()))
    loss = objective(student, batch(memory, 0)).value
    assert all(torch.equal(t, before[name]) for name, t in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())
    moved = copied(memory)
    loss.backward()
    assert all(torch.equal(t, moved[name]) for name, t in memory.items())
    assert all(p.grad is None for p in objective.adversary.net.parameters())
    assert any(p.grad.any() for p in student.parameters())


def test_validation_moves_nobody() -> None:
    objective, student = imitation(), net(0)
    memory = objective.memory()
    before = copied(memory)
    with torch.no_grad():
        objective(student, batch(memory, None))
    assert all(torch.equal(t, before[name]) for name, t in memory.items())


def test_the_loss_is_the_weighted_sum() -> None:
    objective, student = imitation(), net(0)
    found = objective(student, batch(objective.memory(), None))
    total = found.metrics["gan"] + 20.0 * found.metrics["distance"]
    torch.testing.assert_close(found.value.detach(), total)


def test_the_buffer_fills_then_replays() -> None:
    adversary = Adversary(discriminator(), SHAPE, buffer=4)
    memory, shown = adversary.memory(), []
    for step in range(8):
        fake = torch.full((2, *SHAPE), step / 10) + torch.tensor([0.0, 0.05]).view(2, 1, 1, 1)
        shown.append(adversary.replayed(memory, fake, generator(0, step))[:, 0, 0, 0])
    assert memory["filled"] == 4
    first = torch.stack(shown[:2])
    torch.testing.assert_close(first, torch.tensor([[0.0, 0.05], [0.1, 0.15]]))
    later = torch.stack(shown[2:]).flatten().tolist()
    new = {round(s / 10 + d, 3) for s in range(2, 8) for d in (0.0, 0.05)}
    again = [v for v in later if round(v, 3) in {0.0, 0.05, 0.1, 0.15}]
    assert again  # fakes of the first steps, shown once more
    assert any(round(v, 3) in new for v in later)


def test_it_goes_on_from_its_memory_to_the_same_bits() -> None:
    objective, student = imitation(), net(0)
    whole, half = objective.memory(), objective.memory()
    for step in range(4):
        objective(student, batch(whole, step))
    for step in range(2):
        objective(student, batch(half, step))
    resumed = copied(half)
    for step in range(2, 4):
        imitation()(student, batch(resumed, step))
    assert all(torch.equal(t, resumed[name]) for name, t in whole.items())


def test_several_processes_are_refused() -> None:
    objective = imitation()
    shared = replace(batch(objective.memory(), 0), group=replace(ALONE, size=2))
    with pytest.raises(ValueError, match="in one process, and there are 2"):
        objective(net(0), shared)


def test_a_discriminator_with_buffers_is_refused() -> None:
    with pytest.raises(ValueError, match="instance norms"):
        Adversary(nn.Sequential(nn.Conv2d(3, 1, 3), nn.BatchNorm2d(1)), SHAPE)


@pytest.mark.parametrize("settings", [{"lr": 0.0}, {"buffer": -1}])
def test_settings_outside_their_range(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        Adversary(discriminator(), SHAPE, **settings)


def test_a_student_that_equals_its_teacher_is_at_no_distance() -> None:
    objective = Imitation(Teacher(net(1)))
    found = objective(net(1).eval(), batch({}, 0))
    assert found.value == 0
    assert objective.memory() == {}


def test_perceptual_distance_is_content_and_style() -> None:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3))
    a, b = torch.rand(2, *SHAPE), torch.rand(2, *SHAPE)
    distance = Perceptual(features, content="2", style=("1",), strength=10.0)
    assert distance(a, a) == 0
    with torch.no_grad():
        one, two = features[:2](a), features[:2](b)
        want = F.l1_loss(features(a), features(b)) + 10 * F.mse_loss(gram(one), gram(two))
    torch.testing.assert_close(distance(a, b), want)
    a.requires_grad_()
    distance(a, b).backward()
    assert a.grad.any()
    assert all(p.grad is None and p.requires_grad for p in features.parameters())
    same = Perceptual(features, content="2", style=("1",), strength=10.0)
    assert repr(same) == repr(distance)
    assert torch.allclose(MeanSquared()(a.detach(), b), (a.detach() - b).square().mean())


def test_an_unknown_feature_is_named() -> None:
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        Perceptual(nn.Sequential(nn.Conv2d(3, 4, 3)), content="conv9")


def epoch(objective: Imitation, student: nn.Module, lr_steps: int = 12) -> dict[str, float]:
    """The mean metrics of some steps in which the discriminator alone moves."""
    memory, rows = objective.memory(), []
    for step in range(lr_steps):
        rows.append(objective(student, batch(memory, step, count=4)).metrics)
    return {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}


def test_a_healthy_game_goes_on() -> None:
    objective = imitation()
    assert objective.failure(epoch(objective, net(0))) is None
    assert Imitation(Teacher(net(1))).failure({"distance": 0.1}) is None


def test_a_discriminator_that_wins_at_once_is_named() -> None:
    class Brightness(nn.Module):
        """Knows a bright image from a dark one."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return (self.scale * 1e4 * (x.mean((1, 2, 3)) - 0.5)).clamp(0, 1)

    bright, dark = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
    for layer, level in ((bright, 0.6), (dark, 0.3)):
        nn.init.constant_(layer.bias, level)
        layer.weight.data *= 0.01
    objective = Imitation(Teacher(bright), adversary=Adversary(Brightness(), SHAPE))
    said = objective.failure(epoch(objective, dark))
    assert said is not None
    assert "has won" in said and "--discriminator" in said and "\n" not in said


def test_a_dead_discriminator_is_named() -> None:
    dead = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3))
    nn.init.constant_(dead[0].bias, -100.0)
    objective = Imitation(Teacher(net(1)), adversary=Adversary(dead, SHAPE))
    said = objective.failure(epoch(objective, net(0)))
    assert said is not None
    assert "dead discriminator" in said and "--discriminator 0" in said


def test_a_collapsed_mode_is_named() -> None:
    student = net(0)
    last = [m for m in student.modules() if isinstance(m, nn.Conv2d)][-1]
    nn.init.zeros_(last.weight)
    objective = imitation()
    said = objective.failure(epoch(objective, student))
    assert said is not None
    assert said.startswith("collapsed") and "--beta" in said
