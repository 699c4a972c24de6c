"""A network by name, or a user's own: ``package.module:function``.

Own networks take images in [0, 1], the units of every threat; `Normalized` puts the mean and the
deviation that a net was trained with inside of it, so that eps stays in pixel units.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hauberk.models.build import build
from hauberk.runtime.packages import find, gist, is_place
from hauberk.types import Images


class Normalized(nn.Module):
    """``net((x − mean) / std)``: for a net that was trained on normalised images.

    Args:
        net: takes normalised images.
        mean: of each channel, in pixel units of [0, 1].
        std: of each channel, positive.

    Raises:
        ValueError: another number of means than of deviations, or a deviation that is none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not mean or not all(s > 0 for s in std):
            raise ValueError(
                f"mean was given as {tuple(mean)} and std as {tuple(std)}; give one number for "
                "each channel to both, those of std positive."
            )
        self.net = net
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, x: Images) -> Tensor:
        """Logits for images in [0, 1], (batch, channel, …)."""
        shape = (-1, *[1] * (x.ndim - 2))
        logits: Tensor = self.net((x - self.mean.view(shape)) / self.std.view(shape))
        return logits


def network(spec: str, *, seed: int = 0) -> nn.Module:
    """What ``spec`` names: a known network (see `build`), or what a user's function returns.

    Args:
        spec: ``digits-cnn``, ``lenet:8``, …, or ``package.module:function``, looked for in the
            current directory first; the function takes nothing and returns a module.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        ValueError: an unknown name, a module that does not import, a function that fails or does
            not return a module.
    """
    if not is_place(spec):
        return build(spec, seed=seed)
    with torch.random.fork_rng(devices=[]):
        function = find(spec)  # a module may draw weights while it is imported
        torch.manual_seed(seed)
        try:
            ready = isinstance(function, nn.Module) or not callable(function)
            net = function if ready else function()
        except Exception as error:  # a user's function may fail in any way
            raise ValueError(
                f"The function {spec} failed ({type(error).__name__}: {gist(error)}); give one "
                "that takes no arguments and returns a torch module."
            ) from error
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"{spec} gives a {type(net).__name__}; give a function that returns a torch module."
        )
    return net
