"""Factored weights, W = U V + C, for the layers of any module.

A convolution kernel is viewed as the matrix out × (in·k·k). A low-rank weight is U V, with few
columns in U; a sparse weight is C alone.

Source: ATMC (Gui et al., 2019, arXiv 1902.03538, eq. 5).
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
"""Key of a parametrised tensor in a state dict."""


class _Factoring(nn.Module, ABC):
    """A parametrisation whose originals are the factors of one weight."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, ...]:
        """Factors that reproduce ``weight`` as well as the parametrisation allows."""

    @abstractmethod
    def factors(self, *originals: Tensor) -> Factors:
        """The same factors, in the form that the file stores."""

    def _shaped(self, matrix: Tensor) -> Tensor:
        """The weight in its own shape; kernels become channels-last by a copy.

        A view would not do. A kernel of one channel fits both memory formats, and a network whose
        kernels and gray images look contiguous computes in that format: a step took twice as long.
        """
        weight = matrix.reshape(self.shape)
        return weight.clone(memory_format=torch.channels_last) if weight.ndim == 4 else weight


class Factored(_Factoring):
    """``W = (I + D) V + C``, initialised with ``D = 0, V = W, C = 0``; all three are trained.

    The initialisation is ATMC's identity factorisation: it is exact, and V has the magnitudes of
    W. D starts at zero, so under a hard budget an entry of D survives only if a single step
    carries it over the threshold; an annealed budget gives it more steps.
    """

    def forward(self, d: Tensor, v: Tensor, c: Tensor) -> Tensor:
        """``V + D V + C``, in the weight's own shape.

        Args:
            d: (rows, rows).
            v: (rows, columns), the weight as a matrix.
            c: (rows, columns).
        """
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
    """``W = U V`` with ``rank`` columns in U, initialised by the balanced truncated SVD."""

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
    """Replace weights of ``model`` by factors, in place.

    Args:
        model: any module; weights that are already parametrised, or that layers share, are not
            changed.
        rank: ``None`` for `Factored` (U V + C); a number for `LowRank` of that rank.
        selection: the weights to factorise; by default all `matrices`.

    Returns:
        ``model``.

    Raises:
        ValueError: a pattern of the selection matches no layer, or it selects nothing.
    """
    chosen, shared = set((selection or Selection())(model)), _shared(model)
    for name, layer, tensor in list(tensors(model)):
        weight = getattr(layer, tensor)
        plain = f"{name}.{tensor}".removeprefix(".") in chosen and weight not in shared
        plain = plain and len(weight) > 1  # one row has no rank to lower
        if plain and not parametrize.is_parametrized(layer, tensor):
            chain = Factored(weight.shape) if rank is None else LowRank(weight.shape, rank)
            parametrize.register_parametrization(layer, tensor, chain)
            if isinstance(layer, nn.RNNBase):
                _follow_factors(layer)
    return model


def _follow_factors(layer: nn.RNNBase) -> None:
    """Let a recurrent layer compute its list of weights from the factors, at every use.

    Torch keeps that list as an attribute: it would hold the weights of an earlier step, and with
    them a graph, which no copy may hold.
    """
    vars(layer).pop("_flat_weights", None)
    type(layer)._flat_weights = property(  # type: ignore[assignment]  # a class of this layer alone
        lambda own: [getattr(own, name, None) for name in own._flat_weights_names],
        lambda own, weights: None,
    )


def _shared(model: nn.Module) -> set[Tensor]:
    """Parameters with more than one name."""
    seen, shared = set[Tensor](), set[Tensor]()
    for _, p in model.named_parameters(remove_duplicate=False):
        (shared if p in seen else seen).add(p)
    return shared


def collapse(model: nn.Module) -> nn.Module:
    """Replace factors by their product, in place, which restores ordinary layers."""
    for _, layer, tensor in list(tensors(model)):
        if parametrize.is_parametrized(layer, tensor):
            parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
        if isinstance(layer, nn.RNNBase) and not parametrize.is_parametrized(layer):
            layer._init_flat_weights()
    return model


def state(model: nn.Module) -> dict[str, Tensor | Factors]:
    """The state dict of ``model`` under the names of its plain layers, with factors kept apart."""
    plain: dict[str, Tensor | Factors] = {}
    for key, value in model.state_dict().items():
        found = _CHAIN.match(key)
        name = f"{found[1]}{found[2]}" if found else key
        if not found:
            plain[name] = value.detach()
        elif name not in plain:
            plain[name] = _factors(model.get_submodule(f"{found[1]}parametrizations.{found[2]}"))
    return plain


def is_ours(chain: nn.Module) -> bool:
    """Whether the parametrisation of a tensor is one of this module's."""
    return isinstance(chain.get_submodule("0"), _Factoring)


def _factors(chain: nn.Module) -> Factors:
    originals = [p.detach() for p in chain.parameters(recurse=False)]
    factoring = chain.get_submodule("0")
    assert isinstance(factoring, _Factoring)
    return factoring.factors(*originals)
