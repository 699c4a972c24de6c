"""Weights as factors, W = U V + C, for the layers of any module.

A convolution's kernel is viewed as the matrix out × (in·k·k). Source: ATMC (Gui et al., 2019,
arXiv 1902.03538, eq. 5): low rank is U, V of few columns; plain sparsity is C alone.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from hauberk.ops.svd import truncated_svd
from hauberk.parametrize.factors import Factors
from hauberk.parametrize.selection import Selection, tensors

_CHAIN = re.compile(r"(|.*\.)parametrizations\.(\w+)\.")
"""A parametrised tensor's key in a state."""


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

    def _shaped(self, matrix: Tensor) -> Tensor:
        """The weight in its own shape; kernels channels-last, which a copy alone makes certain.

        A kernel of one channel fits either layout, and a network that sees the older one in its
        kernels and in gray images computes in it: a step took twice as long.
        """
        weight = matrix.reshape(self.shape)
        return weight.clone(memory_format=torch.channels_last) if weight.ndim == 4 else weight


class Factored(_Factoring):
    """``W = (I + D) V + C`` with ``D = 0, V = W, C = 0`` at the start, all three free.

    The start is ATMC's identity factorisation: nothing is lost, and magnitudes stay those of W.
    D begins at zero, so under a hard budget an entry of D enters only when one step carries it
    over the threshold; an annealed budget gives it that time.
    """

    def forward(self, d: Tensor, v: Tensor, c: Tensor) -> Tensor:
        """``V + D V + C``, in the weight's own shape."""
        return self._shaped(torch.addmm(v + c, d, v))

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
        return self._shaped(u @ v)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """``U √S, √S Vᵀ`` of the best approximation of this rank."""
        u, s, vt = truncated_svd(weight.flatten(1), self.rank)
        return u * s.sqrt(), s.sqrt()[:, None] * vt

    def factors(self, *originals: Tensor) -> Factors:
        """``C = 0``."""
        u, v = originals
        return Factors(u, v, u.new_zeros(len(u), v.shape[1]), self.shape)


def factorise(
    model: nn.Module, rank: int | None = None, selection: Selection | None = None
) -> nn.Module:
    """Give the weights of ``model`` factors, in place.

    Args:
        model: any module; already parametrised weights, and those that layers share, are left
            alone.
        rank: ``None`` for `Factored` (U V + C); a number for `LowRank` of that rank.
        selection: which weights; all that `matrices` names if left out.
    """
    chosen, shared = set((selection or Selection())(model)), _shared(model)
    for name, layer, tensor in list(tensors(model)):
        weight = getattr(layer, tensor)
        plain = f"{name}.{tensor}".removeprefix(".") in chosen and weight not in shared
        if plain and not parametrize.is_parametrized(layer, tensor):
            chain = Factored(weight.shape) if rank is None else LowRank(weight.shape, rank)
            parametrize.register_parametrization(layer, tensor, chain)
    return model


def _shared(model: nn.Module) -> set[Tensor]:
    """Parameters with more than one name."""
    seen, shared = set[Tensor](), set[Tensor]()
    for _, p in model.named_parameters(remove_duplicate=False):
        (shared if p in seen else seen).add(p)
    return shared


def collapse(model: nn.Module) -> nn.Module:
    """Replace factors by their product, in place: ordinary layers again."""
    for _, layer, tensor in list(tensors(model)):
        if parametrize.is_parametrized(layer, tensor):
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
    return model


def state(model: nn.Module) -> dict[str, Tensor | Factors]:
    """The state of ``model`` under the names of its plain layers, factors kept as factors."""
    plain: dict[str, Tensor | Factors] = {}
    for key, value in model.state_dict().items():
        found = _CHAIN.match(key)
        name = f"{found[1]}{found[2]}" if found else key
        if not found:
            plain[name] = value.detach()
        elif name not in plain:
            plain[name] = _factors(model.get_submodule(f"{found[1]}parametrizations.{found[2]}"))
    return plain


def _factors(chain: nn.Module) -> Factors:
    originals = [p.detach() for p in chain.parameters(recurse=False)]
    factoring = chain.get_submodule("0")
    assert isinstance(factoring, _Factoring)
    return factoring.factors(*originals)
