"""Peak memory of activations, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hauberk.evaluation.activation_memory import peak_bytes

IMAGE = 4 * 64


class Sum(nn.Module):
    """A residual sum keeps the block's input alive."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x)) + x


@pytest.mark.parametrize(
    ("net", "shape", "peak"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), (1, 8, 8), IMAGE + 40),
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()), (1, 8, 8), 9 * IMAGE),
        (nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(True)), (1, 8, 8), 5 * IMAGE),
        (Sum(), (2, 8, 8), 3 * 2 * IMAGE),
        (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (64, 1)), nn.Flatten()), (1, 8, 8), IMAGE),
    ],
)
def test_it_is_what_a_count_by_hand_gives(
    net: nn.Module, shape: tuple[int, ...], peak: int
) -> None:
    assert peak_bytes(net, shape) == peak
    assert peak_bytes(net, shape) == peak, "the first call left nothing behind"
