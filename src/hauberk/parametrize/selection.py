"""Selection of the parameters to compress: a module's matrices, or some of them by name.

Layers that torch has no kind for count by the shape of their parameters: recurrent weights,
position embeddings, experts. Norms, biases and scales are not compressed: they are small, and
accuracy is sensitive to them. A parameter that several layers share has one name and is compressed
once. `dense_parts` names what stays dense.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

_TENSORS: tuple[tuple[type[nn.Module], tuple[str, ...]], ...] = (
    (_ConvNd, ("weight",)),
    (nn.Linear, ("weight",)),
    (nn.Embedding, ("weight",)),
    (
        nn.MultiheadAttention,
        ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"),
    ),
)
"""The matrices of each kind of layer; an attention's output projection is a Linear layer."""
_SCALES = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Layers whose weights are scales, of whatever shape."""
_LEAST = 16
"""Fewest entries of a matrix in a layer of no kind above; smaller ones hold no bytes worth it."""
_LONG = 0.1
"""Fraction of a network's numbers from which a vector that stays dense is named."""
_FACTOR = re.compile(r"(.*?)\.?parametrizations\.(\w+)\.original\d*$")
_FEW = 8  # names that an error lists
_NAMED = 3  # dense tensors that a line names


@dataclass(frozen=True)
class Selection:
    """Selects parameters by patterns over the names of their layers.

    A parameter of a layer that torch has no kind for also matches by its own name.

    Attributes:
        include: shell patterns (``blocks.*``); a layer must match one. Empty selects all layers.
        exclude: patterns of layers to leave out.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __call__(self, model: nn.Module) -> list[str]:
        """The selected `matrices`, in the model's own order.

        Raises:
            ValueError: a pattern matches no layer, or nothing is selected.
        """
        every = {name: _called(model, name) for name in matrices(model)}
        for pattern in (*self.include, *self.exclude):
            if not any(_matches(called, (pattern,)) for called in every.values()):
                raise ValueError(
                    f"The pattern {pattern!r} matches no layer that can be compressed; these are "
                    f"{_listed(every.values())}."
                )
        chosen = [name for name, called in every.items() if self._takes(called)]
        if not chosen:
            raise ValueError(
                "include and exclude leave nothing to compress; include one of the model's layers "
                f"({_listed(every.values()) or 'it has none that can be compressed'})."
            )
        return chosen

    def _takes(self, called: Sequence[str]) -> bool:
        taken = not self.include or _matches(called, self.include)
        return taken and not _matches(called, self.exclude)


def _matches(called: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in called for pattern in patterns)


def _called(model: nn.Module, name: str) -> tuple[str, ...]:
    """The names by which a pattern finds a parameter: its layer's, in some layers also its own."""
    layer = owner(name)
    known = isinstance(model.get_submodule(layer), tuple(kind for kind, _ in _TENSORS))
    return (layer,) if known else (layer, plain_name(name))


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The ``Conv*`` and ``Linear`` layers by name, in the model's own order."""
    return {n: m for n, m in model.named_modules() if isinstance(m, _ConvNd | nn.Linear)}


def tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Every matrix: the name of its layer, the layer, and the tensor's name in the layer."""
    for name, layer in model.named_modules():
        if not isinstance(layer, (*_SCALES, parametrize.ParametrizationList)):
            yield from ((name, layer, tensor) for tensor in _matrices_of(layer))


def _matrices_of(layer: nn.Module) -> list[str]:
    """Names of the matrices in a layer; factors are not multiplied out to find them."""
    chains = layer.get_submodule("parametrizations") if parametrize.is_parametrized(layer) else None
    made = [] if chains is None else [name for name, _ in chains.named_children()]
    for kind, names in _TENSORS:
        if isinstance(layer, kind):
            return [n for n in names if n in made or getattr(layer, n, None) is not None]
    own = {n: p for n, p in layer.named_parameters(recurse=False) if p.numel() >= _LEAST}
    return [*made, *(n for n, p in own.items() if is_matrix(p))]


def is_matrix(tensor: Tensor) -> bool:
    """Whether a tensor has two axes that are longer than 1, which a class token does not have."""
    return sum(size > 1 for size in tensor.shape) >= 2


def matrices(model: nn.Module) -> list[str]:
    """Names of the parameters that can be compressed, or of their factors.

    Frozen ones are left out, unless the whole model is frozen.
    """
    every, names = dict(model.named_parameters()), list[str]()
    trained = any(p.requires_grad for p in every.values())
    known = {name for name, p in every.items() if p.requires_grad or not trained}
    for prefix, layer, tensor in tensors(model):
        found = [tensor]
        if parametrize.is_parametrized(layer, tensor):
            chain = layer.get_submodule(f"parametrizations.{tensor}")
            factors = (n for n, _ in chain.named_parameters(recurse=False))
            found = [f"parametrizations.{tensor}.{n}" for n in factors]
        names += [f"{prefix}.{n}".removeprefix(".") for n in found]
    return [name for name in names if name in known]  # a tied weight has one name


def coded(model: nn.Module, names: Sequence[str], at_least: int = 128) -> list[str]:
    """Names of the parameters that a codebook shortens: ``names`` and their layers' long biases.

    Args:
        model: the module that owns the parameters.
        names: some of `matrices`.
        at_least: fewest entries of a bias.
    """
    every = dict(model.named_parameters())
    biases = dict.fromkeys(_bias(name) for name in names)
    trained = any(p.requires_grad for p in every.values())
    long = {n for n, p in every.items() if p.numel() >= at_least and p.requires_grad >= trained}
    return [*names, *(b for b in biases if b in long.difference(names))]


def _bias(name: str) -> str:
    """The bias beside a weight: ``fc.bias``, ``rnn.bias_ih_l0``."""
    layer, _, tensor = plain_name(name).rpartition(".")
    return f"{layer}.{tensor.replace('weight', 'bias')}".removeprefix(".")


def dense_parts(model: nn.Module, names: Iterable[str]) -> dict[str, float]:
    """What stays dense and is large: its fraction of all numbers by name, the largest first.

    Args:
        model: the network.
        names: the parameters that are compressed.
    """
    gone = {plain_name(name) for name in names}
    every = dict(model.named_parameters()) | dict(model.named_buffers())
    kept = model.state_dict()
    total = sum(t.numel() for n, t in every.items() if n in kept)
    parts = {
        n: t.numel() / total
        for n, t in every.items()
        if n in kept and plain_name(n) not in gone and (is_matrix(t) or t.numel() >= _LONG * total)
    }
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def dense_line(parts: dict[str, float]) -> str:
    """``pos (12%), cls (3%) and 2 more (1%)``: what `dense_parts` found."""
    first = [f"{name} ({part:.1%})" for name, part in parts.items()][:_NAMED]
    rest = list(parts.values())[_NAMED:]
    more = f" and {len(rest)} more ({sum(rest):.1%})" if rest else ""
    return ", ".join(first) + more


def owner(name: str) -> str:
    """The layer of a parameter: ``fc`` for ``fc.weight`` and for each of its factors."""
    factor = _FACTOR.match(name)
    return factor[1] if factor else name.rpartition(".")[0]


def plain_name(name: str) -> str:
    """The name of a parameter in plain layers: ``fc.weight`` for each of its factors."""
    factor = _FACTOR.match(name)
    return f"{factor[1]}.{factor[2]}".removeprefix(".") if factor else name


def _listed(every: Iterable[Sequence[str]]) -> str:
    """Names for an error: of layers, or of the parameters that the model itself holds."""
    names = list(dict.fromkeys(called[0] or called[-1] for called in every))
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
