"""Plain weights from any training code: a state_dict in ``.safetensors``, ``.pt`` or ``.pth``.

A ``.pt`` is read by ``torch.load(weights_only=True)``: a restricted unpickler that accepts tensors
only and runs no code. A tensor whose type or layout would change its numbers is refused by name.
"""

from __future__ import annotations

import io
import warnings
import zipfile
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

_ADVICE = "give weights of the same architecture"
ENDINGS = (".safetensors", ".pt", ".pth")
_WANTED = "a .safetensors file, or a .pt or .pth of a state_dict"
_WRAPPED = ("state_dict", "model")
_FLOATS = {
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
}
_INTEGERS = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def is_plain(path: str | Path) -> bool:
    """Whether a file holds plain weights, judged by its ending."""
    return Path(path).suffix.lower() in ENDINGS


def fill_plain(model: nn.Module, path: str | Path) -> nn.Module:
    """Load the state at ``path`` into ``model`` in place and return the model.

    Args:
        model: a network with the same architecture; one that does not fit is left unchanged.
        path: the weights; a ``.pt`` may hold them under ``state_dict`` or ``model``.

    Raises:
        ValueError: the file is damaged or holds no state_dict; a tensor is sparse, quantised,
            complex, without storage, of the wrong kind of number, NaN or infinite, or too large
            for the model's type; or names or shapes differ (the first five are listed).
        OSError: the file cannot be read.
    """
    path = Path(path)
    state = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pt(path)
    wanted = model.state_dict()
    for name, tensor in state.items():
        _refuse_layout(tensor, f"{path} holds {name!r}")
    refuse_misfit(shapes(state), shapes(wanted), str(path), _ADVICE)
    model.load_state_dict(
        {name: _cast(t, wanted[name].dtype, name, path) for name, t in state.items()}
    )
    return model


def _refuse_layout(tensor: Tensor, held: str) -> None:
    """Raise a ValueError unless the tensor is an ordinary one, with all its numbers in memory."""
    if tensor.is_meta:
        why, advice = "without its numbers (device meta)", "save the weights from the CPU"
    elif tensor.is_quantized:
        why, advice = "in quantised form", "save tensor.dequantize()"
    elif tensor.is_nested or tensor.layout is not torch.strided:
        why, advice = "in sparse or nested form", "save tensor.to_dense()"
    elif type(tensor) not in (Tensor, nn.Parameter, nn.Buffer):
        why, advice = f"as a {type(tensor).__name__}", "save plain tensors"
    elif tensor.dtype not in _FLOATS | _INTEGERS:
        why, advice = f"as {_kind(tensor.dtype)}", "save tensor.float()"
    else:
        return
    raise ValueError(f"{held} {why}; {advice}.")


def _cast(tensor: Tensor, dtype: torch.dtype, name: str, path: Path) -> Tensor:
    """The same numbers in the model's type.

    Raises:
        ValueError: they are whole numbers for weights that are not, or do not fit the type.
    """
    if tensor.dtype in _INTEGERS and dtype not in _INTEGERS:
        raise ValueError(
            f"{path} holds {name!r} as {_kind(tensor.dtype)}, and the model computes in "
            f"{_kind(dtype)}; save the weights as floats, multiplied by their scale."
        )
    # float8 has few operations of its own, and float64 holds all of its numbers
    exact = tensor.double() if tensor.dtype in _FLOATS else tensor
    if not torch.isfinite(exact).all():
        raise ValueError(f"{path} holds NaN or infinite numbers in {name!r}; {_ADVICE}.")
    cast = exact.to(dtype)
    fits = torch.isfinite(cast).all() if dtype in _FLOATS else torch.equal(cast.to(exact), exact)
    if not fits:
        raise ValueError(
            f"{path} holds numbers in {name!r} that the model's {_kind(dtype)} cannot represent; "
            f"{_ADVICE}."
        )
    return cast


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _safetensors(path: Path) -> dict[str, Tensor]:
    content = files.read(path, _WANTED)
    try:
        return from_safetensors(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({gist(error)}); give {_WANTED}.") from error


def _pt(path: Path) -> dict[str, Tensor]:
    content = files.read(path, _WANTED)
    _refuse_packed(content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of other protocols
            found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # its message is a page about how to unpickle all the same
        raise ValueError(
            f"{path} is damaged, or holds more than tensors, such as a whole module; save the "
            "weights alone: torch.save(net.state_dict(), PATH)."
        ) from error
    except Exception as error:  # torch raises many types of error on damaged bytes
        raise ValueError(f"{path} is damaged ({gist(error)}); give {_WANTED}.") from error
    for key in _WRAPPED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(t, Tensor) for name, t in found.items()
    ):
        raise ValueError(f"{path} does not hold a state_dict of tensors; give {_WANTED}.")
    return dict(found)


def _refuse_packed(content: bytes, path: Path) -> None:
    """Raise a ValueError for a compressed archive, whose size says nothing about its contents."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            packed = any(m.compress_type != zipfile.ZIP_STORED for m in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # the older format, or damage that torch will find
    if packed:
        raise ValueError(f"{path} is compressed, as torch.save never writes; give {_WANTED}.")
