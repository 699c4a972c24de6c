"""Plain weights from any training code: a state_dict in ``.safetensors``, ``.pt`` or ``.pth``.

A ``.pt`` is read by ``torch.load(weights_only=True)``: a restricted unpickler that accepts tensors
only and runs no code.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn

from hauberk.artifact.artifact import refuse_misfit, shapes
from hauberk.runtime import files
from hauberk.runtime.packages import gist

ENDINGS = (".safetensors", ".pt", ".pth")
_WANTED = "a .safetensors file, or a .pt or .pth of a state_dict"
_WRAPPED = ("state_dict", "model")


def is_plain(path: str | Path) -> bool:
    """Whether a file holds plain weights, judged by its ending."""
    return Path(path).suffix.lower() in ENDINGS


def fill_plain(model: nn.Module, path: str | Path) -> nn.Module:
    """Load the state at ``path`` into ``model`` in place and return the model.

    Args:
        model: a network with the same architecture; one that does not fit is left unchanged.
        path: the weights; a ``.pt`` may hold them under ``state_dict`` or ``model``.

    Raises:
        ValueError: the file is damaged or holds no state_dict, weights are NaN or infinite, or
            names or shapes differ; the message lists the first five differences.
        OSError: the file cannot be read.
    """
    path = Path(path)
    state = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pt(path)
    wanted = model.state_dict()
    advice = "give weights of the same architecture"
    refuse_misfit(shapes(state), shapes(wanted), str(path), advice)
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path} holds NaN or infinite numbers in {name!r}; {advice}.")
    model.load_state_dict(state)
    return model


def _safetensors(path: Path) -> dict[str, Tensor]:
    content = files.read(path, _WANTED)
    try:
        return from_safetensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({gist(error)}); give {_WANTED}.") from error


def _pt(path: Path) -> dict[str, Tensor]:
    files.read(path, _WANTED)  # a missing or oversized file is a one-line error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of other protocols
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # its message is a page about how to unpickle all the same
        raise ValueError(
            f"{path} is damaged, or holds more than tensors, such as a whole module; save the "
            "weights alone: torch.save(net.state_dict(), PATH)."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path} is damaged ({gist(error)}); give {_WANTED}.") from error
    for key in _WRAPPED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(t, Tensor) for t in found.values()):
        raise ValueError(f"{path} does not hold a state_dict of tensors; give {_WANTED}.")
    return dict(found)
