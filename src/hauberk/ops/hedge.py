"""Robust boosting of finitely many hypotheses on finite perturbation sets: exact, with a bound.

    M_h(i, y') = 1[∀δ: h(x_i + δ) = y_i] − 1[∃δ: h(x_i + δ) = y'],   y' ≠ y_i
    D_t ∝ exp(−Σ_{s<t} η_s M_{h_s}),   h_t = argmax_h E_{D_t} M_h = γ_t,   η_t = artanh γ_t
    robust training error of argmax_k Σ_s η_s 1[h_s(x) = k]   ≤   (K − 1) Π_s √(1 − γ_s²)

Hedge keeps a distribution D over pairs of an example and a wrong label; the weak oracle returns the
hypothesis of the largest edge γ, found here by looking at all of them. Derivation: if the
vote errs at x_i + δ, some y' has at least as many votes as y_i there, so Σ η_s M_{h_s}(i, y') ≤ 0
and exp(−Σ η_s M_{h_s}(i, y')) ≥ 1; the mean of these over examples is (K − 1) Π_s Z_s, and
Z_s = E_{D_s} exp(−η_s M_{h_s}) ≤ cosh η_s − γ_s sinh η_s = √(1 − γ_s²), since M is in [−1, 1].

Sources: Abernethy, Awasthi and Kale (2021), arXiv 2103.01276, for the weak learner over pairs;
Schapire and Singer (1999), Machine Learning 37, for the weights η. Limit: the bound is on training
examples and needs the exact oracle. Networks and attacks are neither finite nor exact, so nothing
here carries over to `hauberk.methods.robust_boosting`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SURE = 1 - 1e-9
"""An edge of 1, a hypothesis that is always right, would have an infinite weight."""


@dataclass(frozen=True)
class Rounds:
    """What boosting did, round by round.

    Attributes:
        chosen: index of each round's hypothesis.
        weights: η of each.
        edges: γ of each.
        bounds: on the robust training error after each round.
        errors: the robust training error after each round, over all perturbations.
    """

    chosen: list[int]
    weights: list[float]
    edges: list[float]
    bounds: list[float]
    errors: list[float]


def boost(
    answers: Int[Tensor, "hypothesis example perturbation"],
    y: Int[Tensor, " example"],
    classes: int,
    rounds: int,
) -> Rounds:
    """Boost until no hypothesis has an edge, at most for so many rounds.

    Args:
        answers: the class that each hypothesis gives to each perturbed example.
        y: class indices.
        classes: K.
        rounds: most rounds.

    Raises:
        ValueError: fewer than two classes, or an answer that is none of them.
    """
    if classes < 2 or not bool(((answers >= 0) & (answers < classes)).all()):
        raise ValueError(
            f"classes was given as {classes}; give at least 2, and answers from 0 to classes - 1."
        )
    gains, wrong = _gains(answers, y, classes), _wrong(y, classes)
    score = torch.zeros_like(gains[0])
    votes = torch.zeros(*answers.shape[1:], classes, dtype=torch.float64)
    done = Rounds([], [], [], [], [])
    bound = float(classes - 1)
    for _ in range(rounds):
        weight = torch.where(wrong, (-score).exp(), 0.0)
        edges = (gains * weight).sum((1, 2)) / weight.sum()
        best = int(edges.argmax())
        edge = min(float(edges[best]), _SURE)
        if edge <= 0:
            break
        eta = float(torch.atanh(torch.tensor(edge, dtype=torch.float64)))
        score = score + eta * gains[best]
        votes = votes + eta * torch.nn.functional.one_hot(answers[best], classes)
        bound *= (1 - edge**2) ** 0.5
        for record, value in zip(
            (done.weights, done.edges, done.bounds, done.errors),
            (eta, edge, bound, _error(votes, y)),
            strict=True,
        ):
            record.append(value)
        done.chosen.append(best)
    return done


def _wrong(y: Tensor, classes: int) -> Tensor:
    """Mask of the wrong labels of each example, (example, class)."""
    return torch.arange(classes) != y[:, None]


def _gains(answers: Tensor, y: Tensor, classes: int) -> Float[Tensor, "hypothesis example class"]:
    """M of each hypothesis, for each example and wrong label; 0 for the right one."""
    right = (answers == y[:, None]).all(2)
    possible = torch.stack([(answers == k).any(2) for k in range(classes)], 2)
    gains = right[:, :, None].double() - possible.double()
    return torch.where(_wrong(y, classes), gains, 0.0)


def _error(votes: Tensor, y: Tensor) -> float:
    """Fraction of the examples with a perturbation at which another class has as many votes."""
    mine = votes.gather(2, y[:, None, None].expand(*votes.shape[:2], 1))[..., 0]
    others = torch.where(_wrong(y, votes.shape[2])[:, None], votes, -1.0).amax(2)
    return float((mine <= others).any(1).double().mean())
