"""The nearest of sorted values: ``argmin_j |v_i − c_j|`` for each i, exactly, at memory speed."""

from __future__ import annotations

import torch
from torch import Tensor

_CELLS = 1 << 16
_CHUNK = 1 << 14  # stays in cache, and below the size from which torch wakes its threads
_MOST_COMPARES = 4


@torch.no_grad()
def nearest(v: Tensor, centroids: Tensor) -> Tensor:
    """``argmin_{c ∈ centroids} |v_i − c|`` for each value; of two equally near ones the lower.

    Args:
        v: values, one axis.
        centroids: ascending, in the type of ``v``.
    """
    codes = bucketize(v, middles(centroids))
    return centroids.index_select(0, codes)


def middles(centroids: Tensor) -> Tensor:
    """The largest numbers of the type at most half way between neighbours: ``v ≤ m`` is "left"."""
    wide = centroids.double()
    half = (wide[1:] + wide[:-1]) / 2
    near = half.to(centroids.dtype)
    return torch.where(near.double() > half, near.nextafter(near.new_tensor(-torch.inf)), near)


def bucketize(v: Tensor, edges: Tensor) -> Tensor:
    """``#{j : edges_j < v_i}`` for each i, as int32; on CPU several times faster than torch's.

    A table over equal cells counts the edges in lower cells; comparing with the next edge, as often
    as the fullest cell holds edges, adds those in the value's own cell. The cell of a value is a
    monotone function of it even when rounded, so the answer is exact.
    """
    if v.device.type != "cpu" or len(v) < 4 * _CELLS or len(edges) < 2 or v.dtype != torch.float32:
        return torch.bucketize(v.contiguous(), edges, out_int32=True)
    low = edges[0]
    scale = (_CELLS / (edges[-1] - low)).nan_to_num(0)  # equal edges fall into one cell
    own = _cell(edges, low, scale)
    compares = int(torch.bincount(own).max())
    if compares > _MOST_COMPARES:
        return torch.bucketize(v.contiguous(), edges, out_int32=True)
    table = torch.searchsorted(own, torch.arange(_CELLS, dtype=torch.int32)).int()
    limits = torch.cat([edges, edges.new_tensor([torch.inf] * compares)])
    codes = torch.empty(len(v), dtype=torch.int32)
    for out, part in zip(torch.split(codes, _CHUNK), torch.split(v, _CHUNK), strict=True):
        torch.index_select(table, 0, _cell(part, low, scale), out=out)
        for _ in range(compares):
            out += part > limits.index_select(0, out)
    return codes


def _cell(v: Tensor, low: Tensor, scale: Tensor) -> Tensor:
    return (v - low).mul_(scale).clamp_(0, _CELLS - 1).int()
