from __future__ import annotations

import pytest
import torch
from torch import nn

from hauberk.artifact import dense_bytes
from hauberk.evaluation import Timing, latency, macs


def test_bytes_count_every_float_once() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    assert dense_bytes(net.state_dict()) == 4 * (27 + 3 + 3 + 3 + 3 + 3)
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert dense_bytes(tied.state_dict()) == 4 * (16 + 4 + 4)


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (nn.Linear(5, 7), (5,), 35),
        (nn.Linear(5, 7), (3, 5), 105),
        (nn.Conv2d(4, 6, 3, padding=1), (4, 8, 8), 6 * 4 * 9 * 64),
        (nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 9, 9), 6 * 2 * 9 * 16),
        (nn.Conv1d(2, 3, 5), (2, 10), 3 * 2 * 5 * 6),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 4 * 6 * 4 * 25),
    ],
)
def test_macs(layer: nn.Module, shape: tuple[int, ...], count: int) -> None:
    layer.eval()
    with torch.no_grad():
        layer.weight.view(-1)[0] = 0
    found = macs(nn.Sequential(layer), shape)
    weights = layer.weight.numel()
    assert found.dense == count and found.sparse == count * (weights - 1) // weights
    assert not layer._forward_hooks


def test_latency_is_measured_beside_the_dense_net() -> None:
    small = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).train()
    big = nn.Sequential(nn.Flatten(), nn.Linear(64, 4000), nn.ReLU(), nn.Linear(4000, 10))
    threads = torch.get_num_threads()
    found = latency(small, big, (1, 8, 8), repeats=20, threads=1)
    assert set(found) == {"batch1", "batch64"} and torch.get_num_threads() == threads
    assert small.training
    for timing in found.values():
        assert 0 < timing.p05 <= timing.median <= timing.p95
        assert timing.ratio == timing.median / timing.dense_median
    assert found["batch64"].ratio < 0.8
    assert set(found["batch1"].json()) == {"median", "p05", "p95", "dense_median", "ratio"}
    assert isinstance(found["batch1"], Timing)
