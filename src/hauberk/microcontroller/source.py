"""The C source of an integer graph: tables, a description, and the parts of ``kernel.c`` it needs.

A field of the layers with one value throughout is written as that number, so that the compiler can
remove what depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources

import numpy as np

from hauberk.microcontroller.coding import Coding
from hauberk.microcontroller.graph import IntegerGraph, IntegerLayer
from hauberk.microcontroller.memory import Memory

Fields = dict[str, int]
_COLUMNS = 96
_TYPES = (("uint8_t", 0, 255), ("int8_t", -128, 127), ("uint16_t", 0, 65535))
_WIDER = (("int16_t", -32768, 32767), ("int32_t", -(1 << 31), (1 << 31) - 1))
_LARGEST_CODE = 1 << 13


def body(graph: IntegerGraph, coding: Coding, memory: Memory) -> str:
    """The source after its comment and includes.

    Args:
        graph: the network.
        coding: its weights.
        memory: the plan of the scratch buffer.
    """
    tables = _Tables(graph, coding)
    rows = [
        _fields(layer, graph, band) | tables.fields(n, layer)
        for n, (layer, band) in enumerate(zip(graph.layers, memory.bands, strict=True))
    ]
    text = _kept(_kernel(), _parts(graph, coding, tables.per_channel))
    constant, varying = _sorted(rows)
    for name, number in constant.items():
        text = re.sub(rf"L->{name}\b", str(number) if number >= 0 else f"({number})", text)
    text = text.replace("/*fields*/\n", "".join(_declared(varying)))
    text = text.replace("/*tables*/\n", "".join((*tables.text(), *_layers(rows, varying))))
    return text.replace("/*calls*/\n", "".join(_calls(graph, memory)))


@cache
def _kernel() -> str:
    return resources.files("hauberk.microcontroller").joinpath("kernel.c").read_text()


def _parts(graph: IntegerGraph, coding: Coding, per_channel: bool) -> set[str]:
    """The parts of the kernel that a network needs, by the names of their markers."""
    layers = graph.layers
    weighted = [layer for layer in layers if layer.weight is not None]
    wanted = {
        "rans": coding.entropy,
        "fixed": not coding.entropy,
        "book": not coding.raw,
        "raw": coding.raw,
        "channels": per_channel,
        "layers": not per_channel,
        "linear": any(layer.linear for layer in layers),
        "planes": any(not layer.linear for layer in layers),
        "conv": any(not layer.linear for layer in weighted),
        "total": len(weighted) < len(layers),
        "padded": any(_padded(layer, graph) for layer in weighted),
    }
    return {name for name, needed in wanted.items() if needed}


def _kept(text: str, parts: set[str]) -> str:
    """The text without the parts that are not needed, and without markers."""
    out: list[str] = []
    open_parts: list[bool] = []
    for line in text.splitlines(keepends=True):
        if marker := re.fullmatch(r"/\*if (\w+)\*/\n", line):
            open_parts.append(marker[1] in parts)
        elif line == "/*end*/\n":
            open_parts.pop()
        elif all(open_parts):
            out.append(line)
    return "".join(out)


def _padded(layer: IntegerLayer, graph: IntegerGraph) -> bool:
    """Whether a weight meets positions outside of the input."""
    if layer.weight is None or layer.linear:
        return False
    plane = graph.tensors[layer.inputs[0]].shape[1:]
    for axis in (0, 1):
        reach = (layer.weight.shape[2 + axis] - 1) * layer.dilation
        end = (layer.plane[axis] - 1) * layer.stride - layer.pad[axis] + reach
        if layer.pad[axis] or end >= plane[axis]:
            return True
    return False


def _fields(layer: IntegerLayer, graph: IntegerGraph, band: int) -> Fields:
    """The numbers of a layer that its code reads; those of another kind of layer are left out."""
    inputs = [graph.tensors[i] for i in layer.inputs]
    common = {"channels": len(layer.start), "zero": inputs[0].zero}
    if layer.linear:
        return {**common, "weights": inputs[0].size}
    pool = layer.pool
    window = (1, 1, 1, 0, 0) if pool is None else (pool.height, pool.width, pool.stride, *pool.pad)
    names = ("pool_height", "pool_width", "pool_stride", "pool_top", "pool_left")
    common |= dict(zip(names, window, strict=True))
    common |= {"mean": int(pool is not None and pool.kind == "mean"), "relu": int(layer.relu)}
    common |= dict(zip(("height", "width"), layer.plane, strict=True))
    common |= dict(zip(("out_height", "out_width"), layer.output.shape[1:], strict=True))
    common["band"] = band
    if layer.weight is None:
        factors = (*layer.factors, 0)
        return {**common, "factor_a": factors[0], "factor_b": factors[1], "zero_b": inputs[-1].zero}
    return common | _convolution(layer, graph)


def _convolution(layer: IntegerLayer, graph: IntegerGraph) -> Fields:
    assert layer.weight is not None
    outputs, channels, height, width = layer.weight.shape
    shape = graph.tensors[layer.inputs[0]].shape
    return {
        "weights": channels * height * width,
        "kernel": height * width,
        "kernel_width": width,
        "stride": layer.stride,
        "dilation": layer.dilation,
        "pad_top": layer.pad[0],
        "pad_left": layer.pad[1],
        "in_height": shape[1],
        "in_width": shape[2],
        "in_plane": shape[1] * shape[2],
        # without groups no division is left to the compiler
        "group_channels": outputs // layer.groups if layer.groups > 1 else 1,
        "group_bytes": channels * shape[1] * shape[2] if layer.groups > 1 else 0,
    }


class _Tables:
    """The arrays of constants that layers have parts of."""

    def __init__(self, graph: IntegerGraph, coding: Coding) -> None:
        self.coding, self.layers = coding, graph.layers
        self.per_channel = any(
            len(np.unique(layer.rescaling.m)) > 1 or len(np.unique(layer.rescaling.t)) > 1
            for layer in graph.layers
        )
        self.start: list[int] = []
        self.m: list[int] = []
        self.t: list[int] = []
        self.first: list[int] = []
        for layer in graph.layers:
            self.first.append(self._add_channels(layer))
        self.weights = sum(0 if x.weight is None else x.weight.size for x in graph.layers)
        tables = {code.gaps for code in coding.layers} | {code.values for code in coding.layers}
        self.counts, self.counts_at = _joined(
            t.counts for t in sorted(tables, key=lambda t: t.counts) if len(t.counts) > 1
        )
        self.book, self.book_at = _joined(sorted({code.book for code in coding.layers}))
        # a damaged stream may name any code of a table
        ends = [self.book_at[c.book] + c.values.largest + 1 for c in coding.layers]
        self.book += [0] * (max(ends) - len(self.book))

    def _add_channels(self, layer: IntegerLayer) -> int:
        """Add the numbers of a layer's channels; return their place."""
        first = len(self.start)
        self.start += layer.start.tolist()
        self.m += layer.rescaling.m.tolist()
        self.t += layer.rescaling.t.tolist()
        return first

    def fields(self, n: int, layer: IntegerLayer) -> Fields:
        """The places of layer ``n`` in the tables."""
        fields = {"first": self.first[n]}
        if not self.per_channel:
            fields |= {"m": int(layer.rescaling.m[0]), "t": int(layer.rescaling.t[0])}
        if n and layer.weight is None:
            return fields
        code = self.coding.layers[n]
        for name, table in (("gap", code.gaps), ("value", code.values)):
            fields |= {f"{name}_low": table.low, f"{name}_parts": len(table.counts)}
            fields[f"{name}_at"] = self.counts_at.get(table.counts, 0)
        return fields | {"book": self.book_at[code.book]}

    def text(self) -> Iterator[str]:
        """The arrays in C."""
        place = self.weights + _LARGEST_CODE
        yield f"typedef {_type([0, place])} place;\n"
        yield f"typedef {_type([0, len(self.coding.stream) + 256])} address;\n\n"
        yield f"#define WEIGHTS {self.weights}{'u' if place > 32767 else ''}\n\n"
        yield _array("stream", list(self.coding.stream))
        if self.counts and self.coding.entropy:
            yield _array("counts", self.counts)
        elif self.coding.entropy:
            yield _array("counts", [0])
        if not self.coding.raw:
            yield _array("book", self.book, signed=True)
        yield _array("start", self.start, signed=True)
        if self.per_channel:
            yield _array("factor", self.m)
            yield _array("shift", self.t)


def _joined(
    parts: Iterator[tuple[int, ...]] | Sequence[tuple[int, ...]],
) -> tuple[list[int], Mapping[tuple[int, ...], int]]:
    """Sequences one after the other, and the place of each."""
    out: list[int] = []
    places: dict[tuple[int, ...], int] = {}
    for part in parts:
        if part not in places:
            places[part] = len(out)
            out += part
    return out, places


def _sorted(rows: Sequence[Fields]) -> tuple[Fields, dict[str, str]]:
    """The fields of one value, and the types of the others, wide ones first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    seen = {name: {row[name] for row in rows if name in row} for name in names}
    constant = {name: min(values) for name, values in seen.items() if len(values) == 1}
    varying = {name: _type(seen[name]) for name in names if name not in constant}
    order = sorted(varying, key=lambda name: -_bytes(varying[name]))
    return constant, {name: varying[name] for name in order}


def _bytes(name: str) -> int:
    return int(re.sub(r"\D", "", name)) // 8


def _type(numbers: Sequence[int] | set[int], signed: bool = False) -> str:
    """The smallest type of C that holds the numbers."""
    types = [*_TYPES, *_WIDER, ("uint32_t", 0, (1 << 32) - 1)]
    for name, low, high in types:
        if low <= min(numbers) and max(numbers) <= high and not (signed and name[0] == "u"):
            return name
    raise AssertionError(f"numbers from {min(numbers)} to {max(numbers)}")


def _declared(varying: Mapping[str, str]) -> Iterator[str]:
    if not varying:
        yield "    uint8_t unused;\n"
    for name, kind in varying.items():
        yield f"    {kind} {name};\n"


def _layers(rows: Sequence[Fields], varying: Mapping[str, str]) -> Iterator[str]:
    yield "static const FLASH layer layers[] = {\n"
    for row in rows:
        numbers = [str(row.get(name, 0)) for name in varying] or ["0"]
        yield f"    {{{', '.join(numbers)}}},\n"
    yield "};\n\n"


def _array(name: str, numbers: Sequence[int], signed: bool = False) -> str:
    """A constant array, wrapped at `_COLUMNS`."""
    lines, line = [], "   "
    for number in numbers:
        word = f" {number},"
        if len(line) + len(word) > _COLUMNS:
            lines.append(line)
            line = "   "
        line += word
    kind = _type(numbers, signed)
    return "\n".join([f"static const FLASH {kind} {name}[] = {{", *lines, line, "};\n\n"])


def _calls(graph: IntegerGraph, memory: Memory) -> Iterator[str]:
    """The statements that run the layers."""
    ends = ["x", *(f"ram + {offset}" for offset in memory.offsets)]
    ends[-1] = "out"
    for n, layer in enumerate(graph.layers):
        kind = "linear" if layer.linear else "conv" if layer.weight is not None else "total"
        places = [ends[i] for i in layer.inputs]
        if kind == "total" and len(places) == 1:
            places *= 2
        if n + 1 == len(graph.layers):
            yield "    r.top = r.best = 0;\n"
        given = ", ".join(("&r", f"layers + {n}", *places, ends[n + 1]))
        yield f"    {kind}({given}); /* {_comment(layer.name)} */\n"


def _comment(name: str) -> str:
    return re.sub(r"[^\w. -]", "_", name)
