"""Join tensors side by side into one matrix, row by row, and split it again.

A family (a, b, …) becomes ``[w_a | w_b | …]``, each tensor viewed as rows × (all else): groups that
span layers are then rows of one matrix.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Families = tuple[tuple[str, ...], ...]
"""Tuples of names whose tensors have equally many rows; names in none of them are on their own."""


def join(w: Mapping[str, Tensor], families: Families) -> dict[str, Tensor]:
    """One matrix for each family, under the name of its first tensor.

    Args:
        w: a tree; families of other names are dropped.
        families: which tensors belong together.

    Raises:
        ValueError: tensors of a family differ in their number of rows.
    """
    return {
        first: _joined([w[name].reshape(len(w[name]), -1) for name in names])
        for first, names in _present(w, families).items()
    }


def part(
    joined: dict[str, Tensor], w: Mapping[str, Tensor], families: Families
) -> dict[str, Tensor]:
    """Undo `join`; ``joined`` is consumed.

    Args:
        joined: matrices (rows, columns) by name, as `join` returns them.
        w: gives the names, shapes and order of the result.
        families: as for `join`.

    Raises:
        ValueError: tensors of a family differ in their number of rows.
    """
    out: dict[str, Tensor] = {}
    for first, names in _present(w, families).items():
        parts = torch.split(joined.pop(first), [_width(w[name]) for name in names], dim=1)
        out |= {n: part.reshape(w[n].shape) for n, part in zip(names, parts, strict=True)}
    return {name: out[name] for name in w}


def _present(w: Mapping[str, Tensor], families: Families) -> dict[str, tuple[str, ...]]:
    """The families of this tree; those of other names are dropped."""
    home = {name: family for family in families for name in family if name in w}
    found: dict[str, tuple[str, ...]] = {}
    for name in w:
        names = tuple(n for n in home.get(name, (name,)) if n in w)
        found.setdefault(names[0], names)
    for names in found.values():
        if len({len(w[name]) for name in names}) > 1:
            rows = ", ".join(f"{name} has {len(w[name])} rows" for name in names)
            raise ValueError(f"tensors can be tied only row by row, but {rows}")
    return found


def _joined(matrices: list[Tensor]) -> Tensor:
    """Side by side; one alone is not copied."""
    return matrices[0] if len(matrices) == 1 else torch.cat(matrices, 1)


def _width(t: Tensor) -> int:
    return t[0].numel() if len(t) else 0
