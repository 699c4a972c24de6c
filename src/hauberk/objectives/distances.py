"""Distances between a student's outputs and its teacher's, as values.

    mean squared error      ‖a − b‖² / n
    perceptual              ‖φ(a) − φ(b)‖₁ / n + s Σ_l ‖G_l(a) − G_l(b)‖² / n_l

with the Gram matrices G_l = φ_l φ_lᵀ / n_l.

Source of the second: Johnson et al. (2016, arXiv 1603.08155), §3.2; weight s = 1e5 as in GAN
Slimming (Wang et al., 2020, arXiv 2008.11062). φ are the activations of any network of one's own:
a robust classifier's are good perceptual features (Engstrom et al., 2019, arXiv 1906.00945).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.objectives.distill import Teacher
from hauberk.types import Images, Scalar


class Distance(ABC):
    """A distance between outputs and their targets; 0 for equal ones."""

    @abstractmethod
    def __call__(self, output: Tensor, target: Tensor) -> Scalar:
        """A differentiable mean over the batch; both of the same shape."""


@final
@dataclass(frozen=True)
class MeanSquared(Distance):
    """``‖a − b‖² / n``: plain, for images and for logits."""

    def __call__(self, output: Tensor, target: Tensor) -> Scalar:
        """The mean of the squared differences."""
        return F.mse_loss(output, target)


@final
class Perceptual(Distance):
    """Content and style on the activations of a network.

    Args:
        features: a network that takes the images; a frozen copy is used.
        content: name of the layer whose output is compared by ℓ1.
        style: names of the layers whose Gram matrices are compared.
        strength: s, the weight of the style.

    Raises:
        ValueError: a layer that the network does not have, or a negative strength.
    """

    def __init__(
        self, features: nn.Module, content: str, style: Sequence[str] = (), strength: float = 1e5
    ) -> None:
        known = dict(features.named_modules())
        for name in (content, *style):
            if name not in known:
                raise ValueError(
                    f"The features have no layer {name!r}; give one of {', '.join(known)[:300]}."
                )
        if not strength >= 0:
            raise ValueError(f"strength was given as {strength}; give 0 or more.")
        self.features = Teacher(features)
        self.content, self.style, self.strength = content, tuple(style), strength

    def __repr__(self) -> str:
        """The settings and a digest of the weights: equal distances have equal names."""
        named = f"{self.content!r}, {self.style!r}, {self.strength!r}"
        return f"Perceptual({named}, features={self.features.digest()})"

    def __call__(self, output: Images, target: Images) -> Scalar:
        """Content plus style; the target's activations carry no gradient."""
        own = self._activations(output)
        with torch.no_grad():
            wanted = self._activations(target)
        loss = F.l1_loss(own[self.content], wanted[self.content])
        for name in self.style:
            loss = loss + self.strength * F.mse_loss(gram(own[name]), gram(wanted[name]))
        return loss

    def _activations(self, x: Images) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        hooks = [
            self.features.net.get_submodule(name).register_forward_hook(_keep(found, name))
            for name in dict.fromkeys((self.content, *self.style))
        ]
        try:
            self.features.net.to(x.device)(x)
        finally:
            for hook in hooks:
                hook.remove()
        return found


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, Tensor], None]:
    def hook(layer: nn.Module, inputs: object, output: Tensor) -> None:
        found[name] = output

    return hook


def gram(
    activations: Float[Tensor, "batch channel *place"],
) -> Float[Tensor, "batch channel channel"]:
    """``φ φᵀ / (channels · places)`` of each example."""
    flat = activations.flatten(2)
    product: Tensor = flat @ flat.transpose(1, 2)
    return product / (flat.shape[1] * flat.shape[2])
