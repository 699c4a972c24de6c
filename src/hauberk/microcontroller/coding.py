"""How the weights of a network are coded: the smallest of all combinations of tables.

Zero runs and values have tables for each layer or for all layers; values are indices into a list of
the different ones, or the 8-bit numbers themselves; codes are entropy-coded or of a fixed width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hauberk.microcontroller.codes import (
    Coded,
    Table,
    fixed,
    gap_table,
    rans,
    run_parts,
    value_parts,
    value_table,
)
from hauberk.microcontroller.graph import IntegerGraph, Integers

_RAW_ZERO = 128
_LAYER_FIELDS = 4
"""Bytes of a layer's own table and its place in flash."""


@dataclass(frozen=True)
class LayerCode:
    """The code of one layer.

    Attributes:
        gaps: table of the zero runs that follow its weights.
        values: table of the values.
        book: the values by index; empty for 8-bit numbers.
    """

    gaps: Table
    values: Table
    book: tuple[int, ...]


@dataclass(frozen=True)
class Coding:
    """The weights of a network as bytes.

    Attributes:
        layers: the code of each layer; of one without weights that of the layer before.
        stream: all weights.
        entropy: whether codes are entropy-coded; otherwise they have a fixed width.
    """

    layers: tuple[LayerCode, ...]
    stream: bytes
    entropy: bool

    @property
    def raw(self) -> bool:
        """Whether values are the 8-bit numbers themselves."""
        return not self.layers[0].book


def smallest(graph: IntegerGraph, entropy_code: int) -> Coding:
    """The coding of the fewest bytes of tables and decoder.

    Args:
        graph: the network.
        entropy_code: bytes of code that entropy decoding takes more than a fixed width.
    """
    weights = _Weights.of(graph)
    choices = [(layers, entropy) for entropy in (False, True) for layers in weights.tables(entropy)]
    layers, entropy = min(choices, key=lambda c: weights.nbytes(c[0]) + entropy_code * c[1])
    stream = weights.stream(layers)
    return Coding(layers, rans(stream) if entropy else fixed(stream), entropy)


@dataclass(frozen=True, eq=False)
class _Weights:
    """The weights that are not zero, in the order in which they are used.

    Attributes:
        layer: the layer of each weight.
        values: the weights.
        gaps: zeros before the first weight, and after each one.
        count: number of layers.
    """

    layer: Integers
    values: Integers
    gaps: Integers
    count: int

    @classmethod
    def of(cls, graph: IntegerGraph) -> _Weights:
        flat = [
            np.zeros(0, np.int64) if layer.weight is None else layer.weight.flatten()
            for layer in graph.layers
        ]
        owner = np.repeat(np.arange(len(flat)), [len(part) for part in flat])
        whole = np.concatenate(flat)
        places = np.flatnonzero(whole)
        ends = np.concatenate([[-1], places, [len(whole)]])
        return cls(owner[places], whole[places], np.diff(ends) - 1, len(flat))

    def tables(self, entropy: bool) -> Iterator[tuple[LayerCode, ...]]:
        """The codes of all layers, for each choice of tables.

        Args:
            entropy: whether codes are entropy-coded.
        """
        both = (True, False)
        gaps = [
            [gap_table(part, not entropy) for part in self._parts(self.gaps, self._before, shared)]
            for shared in both
        ]
        values = [
            [
                _values(part, book, not entropy)
                for part in self._parts(self.values, self.layer, shared)
            ]
            for shared in both
            for book in both
        ]
        for runs, numbers in itertools.product(gaps, values):
            yield tuple(LayerCode(gap, *pair) for gap, pair in zip(runs, numbers, strict=True))

    @property
    def _before(self) -> Integers:
        """The layer whose table codes each zero run: that of the weight before it."""
        return np.concatenate([[0], self.layer])

    def nbytes(self, layers: Sequence[LayerCode]) -> float:
        """Bytes of stream, tables, lists, and of fields that differ between layers."""
        bits = 0.0
        for n, code in enumerate(layers):
            gaps, values = self.gaps[self._before == n], self.values[self.layer == n]
            runs = run_parts(gaps, code.gaps.low, len(code.gaps.counts))
            bits += code.gaps.bits(runs)
            bits += code.values.bits(value_parts(_indices(values, code.book), code.values))
        tables = {table for code in layers for table in (code.gaps, code.values)}
        books = {code.book for code in layers}
        own = _LAYER_FIELDS * len(layers) * (len(set(layers)) > 1)
        return bits / 8 + own + sum(t.nbytes for t in tables) + sum(map(len, books))

    def _parts(self, numbers: Integers, owner: Integers, shared: bool) -> list[Integers]:
        """The numbers of each layer, or all of them for each; of an empty layer
        those of the layer before."""
        own = [numbers if shared else numbers[owner == i] for i in range(self.count)]
        for i in range(1, self.count):
            own[i] = own[i] if len(own[i]) else own[i - 1]
        return own

    def stream(self, layers: Sequence[LayerCode]) -> list[Coded]:
        """All weights as codes, in the order in which they are used."""
        out = _run(layers[0].gaps, int(self.gaps[0]))
        numbers = np.zeros(len(self.values), np.int64)
        for n, code in enumerate(layers):
            numbers[self.layer == n] = _indices(self.values[self.layer == n], code.book)
        for owner, number, gap in zip(
            self.layer.tolist(), numbers.tolist(), self.gaps[1:].tolist(), strict=True
        ):
            out.append(Coded(layers[owner].values, number))
            out += _run(layers[owner].gaps, gap)
        return out


def _run(table: Table, gap: int) -> list[Coded]:
    times, rest = divmod(gap, table.largest)
    return [Coded(table, table.largest)] * times + [Coded(table, rest)]


def _indices(values: Integers, book: Sequence[int]) -> Integers:
    """The codes of values: indices into the list, or the numbers themselves without one."""
    if not book:
        return values + _RAW_ZERO
    index = np.zeros(256, np.int64)
    index[np.array(book) + _RAW_ZERO] = np.arange(len(book))
    return index[values + _RAW_ZERO]


def _values(values: Integers, book: bool, narrow: bool) -> tuple[Table, tuple[int, ...]]:
    """The table of values, and their list."""
    if not book:
        return value_table(values + _RAW_ZERO, 256, narrow), ()
    distinct, counts = np.unique(values, return_counts=True)
    order = tuple(distinct[np.argsort(-counts, kind="stable")].tolist()) or (0,)
    return value_table(_indices(values, order), len(order), narrow), order
