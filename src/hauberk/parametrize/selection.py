"""Selection of the parameters to compress: a module's matrices, or some of them by name.

Norms, biases and scales are not compressed: they are small, and accuracy is sensitive to them. A
parameter that several layers share has one name and is compressed once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
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
_FACTOR = re.compile(r"(.*?)\.?parametrizations\.(\w+)\.original\d*$")
_FEW = 8  # names that an error lists


@dataclass(frozen=True)
class Selection:
    """Selects parameters by patterns over the names of their layers.

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
        every = {name: owner(name) for name in matrices(model)}
        for pattern in (*self.include, *self.exclude):
            if not any(fnmatchcase(layer, pattern) for layer in every.values()):
                raise ValueError(
                    f"The pattern {pattern!r} matches no layer that can be compressed; these are "
                    f"{_few(every)}."
                )
        chosen = [name for name, layer in every.items() if self._takes(layer)]
        if not chosen:
            raise ValueError(
                "include and exclude leave nothing to compress; include one of the model's layers "
                f"({_few(every) or 'it has none that can be compressed'})."
            )
        return chosen

    def _takes(self, layer: str) -> bool:
        taken = not self.include or any(fnmatchcase(layer, p) for p in self.include)
        return taken and not any(fnmatchcase(layer, p) for p in self.exclude)


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """The ``Conv*`` and ``Linear`` layers by name, in the model's own order."""
    return {n: m for n, m in model.named_modules() if isinstance(m, _ConvNd | nn.Linear)}


def tensors(model: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Every matrix: the name of its layer, the layer, and the tensor's name in the layer."""
    for name, layer in model.named_modules():
        for kind, names in _TENSORS:
            if isinstance(layer, kind):
                yield from ((name, layer, n) for n in names if _has(layer, n))


def _has(layer: nn.Module, tensor: str) -> bool:
    """Whether the layer has this matrix; factors are not multiplied out to check."""
    made = parametrize.is_parametrized(layer, tensor)
    return made or getattr(layer, tensor, None) is not None


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
    biases = dict.fromkeys(f"{owner(name)}.bias".removeprefix(".") for name in names)
    trained = any(p.requires_grad for p in every.values())
    long = {n for n, p in every.items() if p.numel() >= at_least and p.requires_grad >= trained}
    return [*names, *(b for b in biases if b in long)]


def owner(name: str) -> str:
    """The layer of a parameter: ``fc`` for ``fc.weight`` and for each of its factors."""
    factor = _FACTOR.match(name)
    return factor[1] if factor else name.rpartition(".")[0]


def _few(every: dict[str, str]) -> str:
    names = list(dict.fromkeys(every.values()))
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more
