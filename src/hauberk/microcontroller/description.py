"""The integer graph as text in the comment of a C file, from which `evaluate` reads it again.

base64( zlib( JSON {"version", "about", "target", "image", "layers"} ) )
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import zlib
from typing import Any

import numpy as np

from hauberk.artifact import format
from hauberk.artifact.format import About, ArtifactError
from hauberk.microcontroller.graph import (
    IntegerGraph,
    IntegerLayer,
    Integers,
    Pool,
    Rescaling,
    Tensor8,
)

VERSION = 1
_LARGEST = 1 << 26
"""Limit on the bytes of the JSON, which a damaged file could exceed without end."""
_COLUMNS = 96
OURS = "give a .c file that hauberk export wrote"
"""Advice at the end of errors."""


def written(graph: IntegerGraph, about: About, target: str) -> str:
    """The description as lines of base64.

    Args:
        graph: the network.
        about: the description of its file.
        target: name of the target.
    """
    found = {
        "version": VERSION,
        "about": format.facts(about),
        "target": target,
        "image": dataclasses.asdict(graph.image),
        "layers": [_plain(layer) for layer in graph.layers],
    }
    packed = zlib.compress(json.dumps(found, separators=(",", ":")).encode(), 9)
    text = base64.b64encode(packed).decode()
    return "\n".join(text[i : i + _COLUMNS] for i in range(0, len(text), _COLUMNS))


def read(text: str, name: str) -> tuple[IntegerGraph, About, str]:
    """The graph, the description and the target of `written`; errors call the file ``name``.

    Raises:
        ArtifactError: the text is damaged or of another version.
    """
    try:
        unpacker = zlib.decompressobj()
        packed = base64.b64decode("".join(text.split()), validate=True)
        found = json.loads(unpacker.decompress(packed, _LARGEST))
        version = found["version"]
    except (binascii.Error, zlib.error, ValueError, KeyError, TypeError, RecursionError):
        raise ArtifactError(f"{name} has a damaged description; {OURS}.") from None
    if version != VERSION:
        raise ArtifactError(
            f"{name} has format version {version!r}, and this hauberk reads {VERSION} only; "
            "export it again."
        )
    try:
        layers = tuple(_layer(entry) for entry in found["layers"])
        graph = IntegerGraph(_tensor(found["image"]), layers)
        return graph, format.about_of(found["about"]), str(found["target"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise ArtifactError(f"{name} has a damaged description; {OURS}.") from None


def _plain(layer: IntegerLayer) -> dict[str, Any]:
    weight = layer.weight
    return {
        "name": layer.name,
        "inputs": layer.inputs,
        "output": dataclasses.asdict(layer.output),
        "start": layer.start.tolist(),
        "m": layer.rescaling.m.tolist(),
        "t": layer.rescaling.t.tolist(),
        "plane": layer.plane,
        "shape": None if weight is None else weight.shape,
        "weight": [] if weight is None else weight.flatten().tolist(),
        "factors": layer.factors,
        "groups": layer.groups,
        "stride": layer.stride,
        "pad": layer.pad,
        "dilation": layer.dilation,
        "relu": layer.relu,
        "pool": None if layer.pool is None else dataclasses.asdict(layer.pool),
    }


def _layer(entry: dict[str, Any]) -> IntegerLayer:
    shape, pool = entry["shape"], entry["pool"]
    return IntegerLayer(
        name=str(entry["name"]),
        inputs=tuple(map(int, entry["inputs"])),
        output=_tensor(entry["output"]),
        start=_integers(entry["start"]),
        rescaling=Rescaling(_integers(entry["m"]), _integers(entry["t"])),
        plane=_pair(entry["plane"]),
        weight=None if shape is None else _integers(entry["weight"]).reshape(shape),
        factors=tuple(map(int, entry["factors"])),
        groups=int(entry["groups"]),
        stride=int(entry["stride"]),
        pad=_pair(entry["pad"]),
        dilation=int(entry["dilation"]),
        relu=bool(entry["relu"]),
        pool=None if pool is None else Pool(**{**pool, "pad": _pair(pool["pad"])}),
    )


def _tensor(entry: dict[str, Any]) -> Tensor8:
    channels, height, width = map(int, entry["shape"])
    return Tensor8((channels, height, width), float(entry["scale"]), int(entry["zero"]))


def _integers(numbers: list[int]) -> Integers:
    return np.array(numbers, dtype=np.int64).reshape(-1)


def _pair(numbers: list[int]) -> tuple[int, int]:
    first, second = map(int, numbers)
    return first, second
