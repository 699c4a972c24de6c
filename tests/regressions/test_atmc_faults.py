"""Faults of the published ATMC code that must never come back."""

import resource

import torch
from torch.nn import functional as F

from hauberk.attacks import PGD
from hauberk.ops.kmeans import kmeans
from hauberk.threats import Linf


def test_the_random_start_really_moves() -> None:
    """The published PGD added its noise with ``add`` for ``add_``, and so started at x."""
    x = torch.full((4, 3), 0.5)
    start = PGD(0)(lambda z: z.sum(1), x, Linf(0.1), torch.Generator().manual_seed(0))
    assert (start != x).all() and (start - x).abs().max() <= 0.1 + 1e-6


def test_the_gradient_is_taken_at_the_projected_image() -> None:
    """Differentiated through the clamp, saturated pixels would have gradient zero and stay."""
    x = torch.tensor([[0.0, 1.0]])
    w = torch.tensor([[1.0, -1.0]])
    x_adv = PGD(10)(lambda z: (z * w).sum(1), x, Linf(0.3), torch.Generator().manual_seed(0))
    torch.testing.assert_close(x_adv, torch.tensor([[0.3, 0.7]]))


def test_kmeans_builds_no_matrix_of_weights_by_codebook() -> None:
    """The published one needs 4 · N · 256 bytes: 2 GB here."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    w = torch.randn(2_000_000, generator=torch.Generator().manual_seed(0))
    kmeans(w, 256)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 400e6


def test_the_loss_is_per_example_so_one_example_cannot_steer_another() -> None:
    x = torch.rand(2, 5, generator=torch.Generator().manual_seed(1))
    net = torch.nn.Linear(5, 3)
    y = torch.tensor([0, 1])

    def run(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        attack = PGD(5, 0.05, random_start=False)
        rng = torch.Generator()
        return attack(
            lambda z: F.cross_entropy(net(z), labels, reduction="none"), images, Linf(0.2), rng
        )

    together = run(x, y)
    alone = torch.cat([run(x[:1], y[:1]), run(x[1:], y[1:])])
    torch.testing.assert_close(together, alone)
