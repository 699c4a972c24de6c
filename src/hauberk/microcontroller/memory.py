"""The plan of the scratch RAM: where each activation lies, and how many rows a band of sums has.

The sums of a layer lie at the start while it runs. Activations that live at the same time do not
overlap; those that live at different times share room. A layer whose sums do not fit is computed in
bands of fewer rows, and its weights are then decoded once for each band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hauberk.microcontroller.graph import IntegerGraph, IntegerLayer

_WORD = 4


@dataclass(frozen=True)
class Memory:
    """A plan.

    Attributes:
        offsets: of the output of each layer in the scratch buffer; the last is not in it.
        bands: rows of the output that each layer computes at a time; 0 for a linear layer.
        nbytes: size of the scratch buffer.
    """

    offsets: tuple[int, ...]
    bands: tuple[int, ...]
    nbytes: int


def plan(graph: IntegerGraph, limit: int | None = None) -> Memory:
    """The plan with the widest bands that fit.

    Args:
        graph: the network.
        limit: bytes that the scratch buffer may have; ``None`` for any number. The plan of a
            network that does not fit is the smallest that was found.
    """
    bands = [0 if layer.linear else layer.output.shape[1] for layer in graph.layers]
    smallest = placed(graph, bands)
    while True:
        made = placed(graph, bands)
        smallest = min(smallest, made, key=lambda plan: plan.nbytes)
        sums = [
            _sums(layer, band) if band > 1 else 0
            for layer, band in zip(graph.layers, bands, strict=True)
        ]
        if limit is None or made.nbytes <= limit or not any(sums):
            return smallest
        widest = sums.index(max(sums))
        bands[widest] = -(-bands[widest] // 2)


def _sums(layer: IntegerLayer, band: int) -> int:
    """Bytes of the sums of a band."""
    if band == 0:
        return 0
    stride, height = (layer.pool.stride, layer.pool.height) if layer.pool else (1, 1)
    rows = min(layer.plane[0], (band - 1) * stride + height)
    return _WORD * rows * layer.plane[1]


def placed(graph: IntegerGraph, bands: Sequence[int]) -> Memory:
    """The plan for given bands.

    Args:
        graph: the network.
        bands: rows of the output that each layer computes at a time; 0 for a linear layer.
    """
    layers = graph.layers
    sums = [_sums(layer, band) for layer, band in zip(layers, bands, strict=True)]
    last = {i: n for n, layer in enumerate(layers) for i in layer.inputs}
    lives = {n: range(n, last.get(n + 1, n) + 1) for n in range(len(layers) - 1)}
    offsets = dict.fromkeys(range(len(layers)), 0)
    done: list[int] = []
    for n in sorted(lives, key=lambda n: -layers[n].output.size):
        taken = [(0, max(sums[i] for i in lives[n]))]
        taken += [
            (offsets[m], offsets[m] + layers[m].output.size)
            for m in done
            if lives[m].start < lives[n].stop and lives[n].start < lives[m].stop
        ]
        offsets[n] = _first_gap(sorted(taken), layers[n].output.size)
        done.append(n)
    ends = [offsets[n] + layers[n].output.size for n in lives]
    size = max([*sums, *ends, _WORD])
    return Memory(tuple(offsets.values()), tuple(bands), -(-size // _WORD) * _WORD)


def _first_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    end = 0
    for start, stop in taken:
        if start - end >= size:
            break
        end = max(end, stop)
    return end
