"""A run's memory on disk: nested values in one safetensors file, nothing pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from hauberk.files import write

_TENSOR = "\x00tensor"
_PAIRS = "\x00pairs"


def save(path: Path, tree: dict[str, Any]) -> None:
    """Write nested dicts, lists, numbers, strings and tensors, atomically."""
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(tree, tensors)
    content = to_bytes(tensors, metadata={"tree": json.dumps(skeleton)})
    write(path, content)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, tensors on the CPU.

    Raises:
        ValueError: when the file is damaged or is no checkpoint.
    """
    try:
        with safe_open(path, "pt") as file:
            skeleton = json.loads(file.metadata()["tree"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tree = _unpack(skeleton, tensors)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is no readable checkpoint ({error}); delete it and run without --resume."
        ) from error
    assert isinstance(tree, dict)
    return tree


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
