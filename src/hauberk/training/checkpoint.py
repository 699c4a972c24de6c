"""Checkpoints: nested values in one safetensors file, nothing pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from hauberk.runtime.files import write
from hauberk.runtime.processes import ALONE, Group

_TENSOR = "\x00tensor"
_PAIRS = "\x00pairs"


def save(path: Path, tree: dict[str, Any]) -> None:
    """Write nested dicts, lists, numbers, strings and tensors atomically."""
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(tree, tensors)
    write(path, to_bytes(tensors, metadata={"tree": json.dumps(skeleton)}))


def load(path: Path, group: Group = ALONE) -> dict[str, Any] | None:
    """Read what `save` wrote, with tensors on the CPU; None if there is no such file.

    Args:
        path: the file.
        group: its first process reads the file and broadcasts it.

    Raises:
        ValueError: the file is damaged or is not a checkpoint.
    """
    mine = group.first and path.exists()
    content = group.broadcast_bytes(path.read_bytes() if mine else None)
    if content is None:
        return None
    try:
        tree = _unpack(json.loads(_metadata(content)["tree"]), from_bytes(content))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({error}); delete it and run without --resume."
        ) from error
    assert isinstance(tree, dict)
    return tree


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: its header is JSON, after its length in 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {_TENSOR: name}
    if isinstance(value, dict):
        return {_PAIRS: [[k, _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_pack(v, tensors) for v in value]
    assert value is None or isinstance(value, (bool, int, float, str)), type(value)
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    return {k: _unpack(v, tensors) for k, v in value[_PAIRS]}
