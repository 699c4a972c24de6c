"""Small networks, and the examples they learn in a second."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from hauberk.artifact import Architecture, Artifact
from hauberk.batch import Batch
from hauberk.data import load as load_data
from hauberk.dataset import Data, Examples
from hauberk.parametrize import state


def toy(n: int = 256) -> Data:
    """Three classes of 6 × 6 images, told apart by one bright pixel on the diagonal."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 3
    x = torch.rand(n, 1, 6, 6, generator=rng) * 0.3
    x[torch.arange(n), 0, y, y] = 1.0
    both = Examples((x * 255).to(torch.uint8), y)
    return Data("toy", both, both.first(60), both.first(60), 3)


def noise(*shape: int, count: int = 64, classes: int = 10) -> Data:
    """Random images of a shape; the labels mean nothing."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.rand(count, *shape, generator=g), torch.arange(count) % classes
    some = Examples(x, y)
    return Data("noise", some, some.first(16), some, classes)


def batch(progress: float = 1.0) -> Batch:
    """Eight inputs of five features, for `normed`."""
    rng = torch.Generator().manual_seed(0)
    return Batch(torch.rand(8, 5, generator=rng), torch.arange(8) % 3, rng, progress)


def mlp() -> nn.Module:
    """780 weights on `toy`."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Linear(20, 3))


def conv() -> nn.Module:
    """A convolution, batch-norm and dropout on `toy`."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def normed() -> nn.Module:
    """Batch-norm between two linear layers, on `batch`."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def alive(net: nn.Module) -> nn.Module:
    """Statistics, scales and shifts of batch-norm as after a training."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_()
    return net.eval()


def artifact_of(net: nn.Module, shape: tuple[int, ...], classes: int = 10) -> Artifact:
    """The file of a network whose structure it names."""
    return Artifact.encode(
        state(net), architecture=Architecture.of(net), input_shape=shape, classes=classes
    )


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    """The shapes of all parameters, in order."""
    return [tuple(p.shape) for p in model.parameters()]


def honest_net() -> nn.Module:
    """A small convolutional net, trained on digits for a second or two."""
    data = load_data("digits")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(15):
            for part in torch.randperm(len(data.train)).split(64):
                loss = F.cross_entropy(net(data.train.images(part)), data.train.y[part])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net
