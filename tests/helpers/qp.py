"""A small quadratic program with a known answer: what every solver must reach."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hauberk.batch import Batch
from hauberk.dataset import Data, Examples
from hauberk.problem import Loss, Objective


class Point(nn.Module):
    """A model that is only a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))


class Quadratic(Objective):
    """½ (w − c)ᵀ A (w − c), whatever the batch."""

    A = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.5]])
    c = torch.tensor([1.0, -2.0, 0.3])

    def __call__(self, model: nn.Module, batch: Batch) -> Loss:
        d = model.w - self.c
        return Loss(0.5 * d @ self.A @ d)


def kkt() -> Tensor:
    """The minimiser over the box [−0.5, 0.5]³, by trying all 27 active sets."""
    best, answer = math.inf, torch.zeros(3)
    for pattern in range(27):
        sides = [(pattern // 3**i) % 3 for i in range(3)]
        fixed = {i: (-0.5, 0.5)[s] for i, s in enumerate(sides) if s < 2}
        w = torch.zeros(3)
        for i, v in fixed.items():
            w[i] = v
        free = [i for i in range(3) if i not in fixed]
        if free:
            a, rest = Quadratic.A[free][:, free], [i for i in range(3) if i in fixed]
            pull = Quadratic.A[free][:, rest] @ (w[rest] - Quadratic.c[rest])
            w[free] = Quadratic.c[free] - torch.linalg.solve(a, pull)
        d = w - Quadratic.c
        value = float(0.5 * d @ Quadratic.A @ d)
        if w.abs().max() <= 0.5 + 1e-6 and value < best:
            best, answer = value, w
    return answer


def no_data() -> Data:
    """Examples that `Quadratic` never looks at."""
    one = Examples(torch.zeros(64, 1), torch.arange(64) % 2)
    none = Examples(torch.zeros(0, 1), torch.zeros(0, dtype=torch.long))
    return Data("nothing", one, none, none, 2)
