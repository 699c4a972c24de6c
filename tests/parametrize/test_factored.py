import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from hauberk.attacks import PGD
from hauberk.batch import Batch
from hauberk.constraints import Sparsity
from hauberk.objectives import Adversarial
from hauberk.parametrize import collapse, factorise, matrices, state
from hauberk.parametrize.factored import Factored
from hauberk.parametrize.factors import Factors
from hauberk.problem import Problem
from hauberk.solvers import ProjectedGradient
from hauberk.threats import Linf


def _nets() -> list[tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    return [
        (nn.Sequential(nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4)), (3, 8)),
        (
            nn.Sequential(
                nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 4)
            ),
            (4, 4, 4),
        ),
        (nn.Sequential(nn.Conv3d(1, 4, 2), nn.Flatten(), nn.Linear(32, 4)), (1, 3, 3, 3)),
    ]


@pytest.mark.parametrize("number", range(3))
def test_factorising_changes_nothing_and_comes_undone(number: int) -> None:
    net, shape = _nets()[number]
    net.eval()
    x = torch.rand(5, *shape)
    before, names = net(x), set(net.state_dict())
    factorise(net)
    torch.testing.assert_close(net(x), before)
    assert len(matrices(net)) == 6  # D, V, C of two layers
    plain = state(net)
    assert set(plain) == names
    assert sum(isinstance(v, Factors) for v in plain.values()) == 2
    collapse(net)
    assert set(net.state_dict()) == names
    torch.testing.assert_close(net(x), before)


def test_the_file_s_factors_are_the_live_weight() -> None:
    net = nn.Sequential(nn.Linear(6, 5))
    factorise(net)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_()
    factors = state(net)["0.weight"]
    assert isinstance(factors, Factors)
    torch.testing.assert_close(factors.dense(), net[0].weight.detach())


def test_low_rank_is_the_best_of_its_rank() -> None:
    net = nn.Sequential(nn.Linear(7, 5, bias=False))
    weight = net[0].weight.detach().clone()
    factorise(net, rank=2)
    u, s, vt = torch.linalg.svd(weight)
    best = (u[:, :2] * s[:2]) @ vt[:2]
    torch.testing.assert_close(net[0].weight.detach(), best, atol=1e-5, rtol=1e-4)
    assert torch.linalg.matrix_rank(net[0].weight.detach()) == 2


def test_all_factors_receive_gradients_and_one_product_serves_all_attack_steps() -> None:
    net = nn.Sequential(nn.Linear(6, 5))
    factorise(net)
    net(torch.rand(2, 6)).square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    calls = []
    chain = net[0].parametrizations["weight"][0]
    chain.register_forward_hook(lambda *a: calls.append(1))
    with torch.no_grad(), parametrize.cached():
        for _ in range(5):
            net(torch.rand(2, 6))
    assert len(calls) == 1


def test_a_tied_weight_is_named_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

    assert matrices(Tied()) == ["a.weight"]


@pytest.mark.parametrize("rank", [None, 2])
def test_kernels_come_channels_last_even_with_one_channel(rank: int | None) -> None:
    """Strides that torch takes for channels-last; of a gray kernel both layouts are contiguous."""
    net = factorise(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)), rank)
    strides = [layer.weight.stride() for layer in net]
    assert strides == [(9, 1, 3, 1), (36, 1, 12, 4)]


def test_a_step_multiplies_the_factors_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for all steps of the attack and once, with a graph, for the weights' own gradient."""
    net = factorise(_nets()[1][0])
    objective = Adversarial(Linf(0.1), PGD(5))
    problem = Problem(objective, {"budget": Sparsity(0.5)}, select=matrices)
    solver = ProjectedGradient()
    state, made, multiply = solver.init(problem, net), list[int](), Factored.forward

    def counted(self: Factored, *factors: torch.Tensor) -> torch.Tensor:
        made.append(1)
        return multiply(self, *factors)

    monkeypatch.setattr(Factored, "forward", counted)
    batch = Batch(torch.rand(6, 4, 4, 4), torch.arange(6) % 4, torch.Generator())
    solver.step(problem, net, batch, state)
    assert len(made) == 2 * 2  # two layers
