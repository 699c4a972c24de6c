"""Weights as factors, W = U V + C, for any module's ``Conv*`` and ``Linear`` layers.

A convolution's kernel is viewed as the matrix out × (in·k·k). Source: ATMC (Gui et al., 2019,
arXiv 1902.03538, eq. 5): low rank is U, V of few columns; plain sparsity is C alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from hauberk.ops.svd import truncated_svd
from hauberk.types import Factors

_LAYERS = (_ConvNd, nn.Linear)


class _Factoring(nn.Module, ABC):
    """A parametrisation whose originals are the factors of one weight."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Factors that reproduce ``weight`` as well as the coordinates allow."""

    @abstractmethod
    def factors(self, *originals: Tensor) -> Factors:
        """The same factors, in the form the file keeps."""


class Factored(_Factoring):
    """``W = (I + D) V + C`` with ``D = 0, V = W, C = 0`` at the start, all three free.

    The start is ATMC's identity factorisation: nothing is lost, and magnitudes stay those of W.
    D begins at zero, so under a hard budget an entry of D enters only when one step carries it
    over the threshold; an annealed budget gives it that time.
    """

    def forward(self, d: Tensor, v: Tensor, c: Tensor) -> Tensor:
        """``V + D V + C``, in the weight's own shape."""
        return torch.addmm(v + c, d, v).reshape(self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``D = 0, V = W, C = 0``."""
        v = weight.flatten(1).contiguous()
        return v.new_zeros(len(v), len(v)), v, torch.zeros_like(v)

    def factors(self, *originals: Tensor) -> Factors:
        """``U = I + D``."""
        d, v, c = originals
        return Factors(d + torch.eye(len(d), dtype=d.dtype, device=d.device), v, c, self.shape)


class LowRank(_Factoring):
    """``W = U V`` with ``rank`` columns in U, started at the truncated SVD, balanced."""

    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__(shape)
        self.rank = min(rank, shape[0], shape[1:].numel())

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        """``U V``, in the weight's own shape."""
        return (u @ v).reshape(self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """``U √S, √S Vᵀ`` of the best approximation of this rank."""
        u, s, vt = truncated_svd(weight.flatten(1), self.rank)
        return u * s.sqrt(), s.sqrt()[:, None] * vt

    def factors(self, *originals: Tensor) -> Factors:
        """``C = 0``."""
        u, v = originals
        return Factors(u, v, u.new_zeros(len(u), v.shape[1]), self.shape)


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The ``Conv*`` and ``Linear`` layers by name, in the model's own order."""
    return {name: m for name, m in model.named_modules() if isinstance(m, _LAYERS)}


def matrices(model: nn.Module) -> list[str]:
    """The parameters that compress: ``Conv*`` and ``Linear`` weights, or their factors."""
    names = []
    for name, layer in layers(model).items():
        prefix = f"{name}." if name else ""
        if parametrize.is_parametrized(layer, "weight"):
            chain = f"{prefix}parametrizations.weight"
            names += [
                f"{chain}.{n}"
                for n, _ in layer.get_submodule("parametrizations.weight").named_parameters(
                    recurse=False
                )
            ]
        else:
            names.append(f"{prefix}weight")
    known = {name for name, _ in model.named_parameters()}
    return [name for name in names if name in known]  # a tied weight has one name


def coded(model: nn.Module, at_least: int = 128) -> list[str]:
    """The parameters that a codebook makes shorter: `matrices`, and biases of so many entries."""
    every = dict(model.named_parameters())
    biases = [f"{name}.bias".removeprefix(".") for name in layers(model)]
    return matrices(model) + [b for b in biases if b in every and every[b].numel() >= at_least]


def factorise(model: nn.Module, rank: int | None = None) -> nn.Module:
    """Give every ``Conv*`` and ``Linear`` weight of ``model`` factors, in place.

    Args:
        model: any module; already parametrised weights are left alone.
        rank: ``None`` for `Factored` (U V + C); a number for `LowRank` of that rank.
    """
    for layer in layers(model).values():
        if not parametrize.is_parametrized(layer, "weight"):
            shape = _weight(layer).shape
            chain = Factored(shape) if rank is None else LowRank(shape, rank)
            parametrize.register_parametrization(layer, "weight", chain)
    return model


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def collapse(model: nn.Module) -> nn.Module:
    """Replace factors by their product, in place: ordinary layers again."""
    for layer in layers(model).values():
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return model


def state(model: nn.Module) -> dict[str, Tensor | Factors]:
    """The state of ``model`` under the names of its plain layers, factors kept as factors."""
    plain: dict[str, Tensor | Factors] = {}
    chains = {
        f"{name}.": layer
        for name, layer in layers(model).items()
        if parametrize.is_parametrized(layer, "weight")
    }
    for key, value in model.state_dict().items():
        owner, dot, _ = key.partition("parametrizations.weight.")
        if not dot:
            plain[key] = value.detach()
        elif f"{owner}weight" not in plain:
            plain[f"{owner}weight"] = _factors(chains[owner])
    return plain


def _factors(layer: nn.Module) -> Factors:
    chain = layer.get_submodule("parametrizations.weight")
    originals = [p.detach() for p in chain.parameters(recurse=False)]
    factoring = chain.get_submodule("0")
    assert isinstance(factoring, _Factoring)
    return factoring.factors(*originals)
