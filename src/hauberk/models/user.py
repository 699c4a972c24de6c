"""A network by name, or a user's own: ``package.module:function``.

A user's network takes images in [0, 1], the units of every threat. `Normalized` moves the
normalisation that a network was trained with inside it, so that eps stays in pixel units; the file
records it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.models.build import build
from hauberk.runtime.packages import find, is_place, own
from hauberk.types import Images


class Normalized(nn.Module):
    """``net((x − mean) / std)``, for a network that was trained on normalised images.

    Its tensors are those of ``net``. Mean and deviation are recorded in the header of an ``.hbk``,
    and are those of the file once it is loaded.

    Args:
        net: a network for normalised images.
        mean: mean of each channel, or one for all, in pixel units of [0, 1].
        std: standard deviation of each channel, or one for all, positive, in the same units.

    Raises:
        ValueError: different numbers of means and deviations, a number that is not finite, or a
            deviation not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.net = net
        self.set(mean, std)

    def set(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Replace mean and standard deviation.

        Raises:
            ValueError: see the class.
        """
        known = len(mean) == len(std) > 0 and all(map(math.isfinite, (*mean, *std)))
        if not known or not all(s > 0 for s in std):
            raise ValueError(
                f"mean was given as {tuple(mean)} and std as {tuple(std)}; give one number for "
                "each channel for both, finite ones, and positive ones for std."
            )
        place = next((p.device for p in self.net.parameters()), None)
        for name, given in (("mean", mean), ("std", std)):
            numbers = torch.tensor(list(given), dtype=torch.float32, device=place)
            self.register_buffer(name, numbers, persistent=False)

    @property
    def normalization(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation, as short as float32 can tell them; a file records them."""
        mean, std = (
            tuple(float(str(n)) for n in each.cpu().numpy()) for each in (self.mean, self.std)
        )
        return mean, std

    @property
    def architecture(self) -> object:
        """That of ``net``, if it was built by name."""
        return getattr(self.net, "architecture", None)

    def forward(self, x: Images) -> Tensor:
        """Logits for images in [0, 1], (batch, channel, …).

        Raises:
            ValueError: images of another number of channels.
        """
        if len(self.mean) not in (1, x.shape[1]):  # broadcasting would make channels of it
            raise ValueError(f"mean and std have {len(self.mean)} channels, images {x.shape[1]}")
        shape = (-1, *[1] * (x.ndim - 2))
        logits: Tensor = self.net((x - self.mean.view(shape)) / self.std.view(shape))
        return logits


def network(spec: str, *, seed: int = 0) -> nn.Module:
    """Build the network that ``spec`` names: a known one (see `build`), or a user's own.

    Args:
        spec: ``digits-cnn``, ``lenet:8``, …, or ``package.module:function``; the current directory
            is searched first. The function takes no arguments and returns a module.
        seed: seeds the initial weights; the global random state does not change.

    Raises:
        ValueError: an unknown name, a module that cannot be imported, or a function that fails or
            does not return a module.
    """
    if not is_place(spec):
        return build(spec, seed=seed)
    with torch.random.fork_rng(devices=[]):
        find(spec)  # importing a module may draw weights
        torch.manual_seed(seed)
        wanted = "a function that takes no arguments and returns a torch module"
        return own(spec, nn.Module, wanted)
