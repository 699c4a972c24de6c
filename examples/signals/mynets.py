"""A user's own network for signals: one-dimensional convolutions."""

from __future__ import annotations

from torch import Tensor, nn


class Waves(nn.Module):
    """Signals (batch, 1, 1, length) in [0, 1] to logits (batch, 4)."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv1d(1, 16, 9, 2, 4), nn.BatchNorm1d(16), nn.ReLU()),
            *(nn.Conv1d(16, 32, 9, 2, 4), nn.BatchNorm1d(32), nn.ReLU()),
            *(nn.Conv1d(32, 32, 9, 2, 4), nn.BatchNorm1d(32), nn.ReLU()),
        )
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, from the mean over time."""
        logits: Tensor = self.head(self.body(x.flatten(2)).mean(2))
        return logits


def waves() -> nn.Module:
    """The network that ``--model mynets:waves`` names."""
    return Waves()
