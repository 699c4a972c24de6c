"""Checkpoints: nested values in one safetensors file, nothing pickled."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from hauberk.runtime import files
from hauberk.runtime.files import write
from hauberk.runtime.packages import gist
from hauberk.runtime.processes import ALONE, Group

AGAIN = "delete it and run without --resume"
"""Advice for a checkpoint that cannot be used."""
_LARGEST_HEADER = 1 << 26
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
    mine = group.first and os.path.lexists(path)
    content = group.broadcast_bytes(files.read(path, "a checkpoint") if mine else None)
    if content is None:
        return None
    try:
        skeleton = json.loads(_metadata(content)["tree"])
        tensors = from_bytes(content)
        tree = _unpack(skeleton, tensors)
        if tensors or not isinstance(tree, dict):
            raise ValueError("it holds other values")
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no readable checkpoint ({gist(error)}); {AGAIN}.") from error
    except (RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is no readable checkpoint (too deep); {AGAIN}.") from error
    return tree


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: its header is JSON, after its length in 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    if length > _LARGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes")
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
        return tensors.pop(value[_TENSOR])  # used once: two values must not share their memory
    return {k: _unpack(v, tensors) for k, v in value[_PAIRS]}
