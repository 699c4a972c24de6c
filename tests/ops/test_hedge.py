"""Exact robust boosting: the training error is below its bound at every round."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hauberk.ops.hedge import boost


def points(seed: int, count: int = 60, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Points of the unit square, labelled by noisy stripes."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 2, generator=rng)
    y = ((x.sum(1) / 2 + 0.03 * torch.randn(count, generator=rng)) * classes).long()
    return x, y.clamp(0, classes - 1)


def stumps(x: Tensor, eps: float, classes: int = 3) -> Tensor:
    """The answers of every stump ``a if x_j < θ else b``, at shifts of 0 and ± eps in each axis."""
    shifts = torch.tensor([[a, b] for a in (-eps, 0.0, eps) for b in (-eps, 0.0, eps)])
    moved = x[:, None] + shifts
    made = []
    for axis in (0, 1):
        for threshold in torch.linspace(0.05, 0.95, 19):
            below = moved[..., axis] < threshold
            made += [torch.where(below, a, b) for a in range(classes) for b in range(classes)]
    return torch.stack(made)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("eps", [0.0, 0.02, 0.05])
def test_the_error_is_below_its_bound_at_every_round(seed: int, eps: float) -> None:
    x, y = points(seed)
    done = boost(stumps(x, eps), y, 3, rounds=80)
    assert done.edges and len(done.bounds) == len(done.errors) == len(done.chosen)
    assert all(error <= bound for error, bound in zip(done.errors, done.bounds, strict=True))
    assert all(a > b for a, b in zip(done.bounds, done.bounds[1:], strict=False))


def test_boosting_reaches_zero_error_that_no_stump_reaches() -> None:
    y = torch.tensor([0, 0, 1, 1, 2, 2])
    x = torch.tensor([[0.1], [0.2], [0.45], [0.55], [0.8], [0.9]]).expand(6, 2)
    answers = stumps(x, 0.03)
    alone = (answers != y[:, None]).any(2).double().mean(1)
    done = boost(answers, y, 3, rounds=300)
    assert alone.min() > 0.3
    assert done.errors[-1] == 0 and done.bounds[-1] < done.bounds[0]


def test_the_errors_are_those_of_the_vote_by_brute_force() -> None:
    x, y = points(7, count=20)
    answers = stumps(x, 0.02)
    done = boost(answers, y, 3, rounds=6)
    wrong = 0
    for i in range(20):
        votes = torch.zeros(answers.shape[2], 3, dtype=torch.float64)
        for h, eta in zip(done.chosen, done.weights, strict=True):
            for d in range(answers.shape[2]):
                votes[d, answers[h, i, d]] += eta
        others = [k for k in range(3) if k != y[i]]
        wrong += bool((votes[:, y[i], None] <= votes[:, others]).any())
    assert done.errors[-1] == wrong / 20


def test_without_an_edge_it_stops() -> None:
    constant = torch.zeros(1, 4, 1, dtype=torch.long)
    assert boost(constant, torch.tensor([0, 1, 0, 1]), 2, 5).chosen == []
    perfect = torch.tensor([0, 1, 0, 1])[None, :, None]
    assert boost(perfect, torch.tensor([0, 1, 0, 1]), 2, 1).errors == [0.0]


def test_answers_outside_of_the_classes_are_one_line() -> None:
    with pytest.raises(ValueError, match="answers from 0") as caught:
        boost(torch.full((1, 2, 1), 3), torch.tensor([0, 1]), 2, 1)
    assert "\n" not in str(caught.value)
