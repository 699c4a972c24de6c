"""Plain weights from any training code: a state_dict in ``.safetensors``, ``.pt``, ``.pth``, ….

A ``.pt`` is read by ``torch.load(weights_only=True)``: a restricted unpickler that accepts tensors
only and runs no code. A tensor whose type or layout would change its numbers is refused by name.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from torch import Tensor, nn

from hauberk.artifact.artifact import refuse_misfit, shapes
from hauberk.artifact.key_names import matched
from hauberk.class_names import few
from hauberk.runtime import files
from hauberk.runtime.notes import note
from hauberk.runtime.packages import gist

ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pt.tar", ".pth.tar")
_WANTED = "a .safetensors file, or a .pt, .pth, .bin, .ckpt or .pth.tar of a state_dict"
_WRAPPED = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "ema",
    "model_ema",
    "state_dict_ema",
    "ema_state_dict",
)
"""Keys under which training code keeps the weights; the first that exists is taken."""
_DEEPEST = 3  # mappings around a state_dict
_ADVICE = "give weights of the same architecture"
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
    """Whether a file holds plain weights, judged by its ending in any letter case."""
    return Path(path).name.lower().endswith(ENDINGS)


def fill_plain(model: nn.Module, path: str | Path) -> nn.Module:
    """Load the state at ``path`` into ``model`` in place and return the model.

    The names may have a prefix that the model's lack, such as ``module.``, or the reverse; a note
    says which. A ``num_batches_tracked`` that the file lacks stays as it is.

    Args:
        model: a network with the same architecture; one that does not fit is left unchanged.
        path: the weights; a ``.pt`` may hold them under ``state_dict``, ``model``, ``net``, ….

    Raises:
        ValueError: the file is damaged or holds no state_dict; a tensor is sparse, quantised,
            complex, without storage, of the wrong kind of number, NaN or infinite, or too large
            for the model's type; or names or shapes differ (the first of each kind are listed).
        OSError: the file cannot be read.
    """
    path = Path(path)
    loaded = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pt(path)
    own = model.state_dict()
    for name, tensor in loaded.items():
        _refuse_layout(tensor, f"{path} holds {name!r}")
    state = _named_as(loaded, own, path)
    refuse_misfit(shapes(state), shapes(own), str(path), _ADVICE)
    model.load_state_dict(
        {name: _cast(t, own[name].dtype, name, path) for name, t in state.items()}
    )
    return model


def _named_as(
    loaded: Mapping[str, Tensor], own: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """The tensors under the names of the model, and those that it has no place for."""
    try:
        found = matched(loaded, own)
    except ValueError as error:
        raise ValueError(f"{path} {error}.") from None
    if found.note:
        note(f"{path}: {found.note}.")
    state = {name: loaded[file] for name, file in found.names.items()}
    counters = {n: t for n, t in own.items() if n.rpartition(".")[2] == "num_batches_tracked"}
    return counters | state | {name: loaded[name] for name in found.extra}


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
        raise ValueError(_more_than_tensors(content, path)) from error
    except Exception as error:  # torch raises many types of error on damaged bytes
        raise ValueError(f"{path} is damaged ({gist(error)}); give {_WANTED}.") from error
    return _unwrapped(found, path)


def _refuse_packed(content: bytes, path: Path) -> None:
    """Raise a ValueError for TorchScript, and for an archive whose size says nothing."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # the older format, or damage that torch will find
    if any(m.filename.endswith("/constants.pkl") for m in members):
        raise ValueError(
            f"{path} is TorchScript, which is code; save its weights alone: "
            f"torch.save(torch.jit.load({str(path)!r}).state_dict(), 'weights.pt')."
        )
    if any(m.compress_type != zipfile.ZIP_STORED for m in members):
        raise ValueError(f"{path} is compressed, as torch.save never writes; give {_WANTED}.")


def _more_than_tensors(content: bytes, path: Path) -> str:
    """The error of a pickle that holds a module or other objects, with the line that saves it."""
    try:
        unsafe = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(content)))
    except Exception:  # not a zip file, or a damaged one: there is no list
        unsafe = []
    whole = any(name.startswith("torch.nn.modules.") for name in unsafe)
    kind = ", a whole module" if whole else f", such as {unsafe[0] if unsafe else 'a whole module'}"
    damaged = "" if whole else "is damaged, or "
    return (
        f"{path} {damaged}holds more than tensors{kind}; save the weights alone, with the code "
        "that made it: torch.save(net.state_dict(), 'weights.pt')."
    )


def _unwrapped(found: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in what was loaded, under the keys of training code."""
    states = dict(_states(found))
    known = [keys for keys in states if all(k in _WRAPPED for k in keys)]
    known.sort(key=lambda keys: [_WRAPPED.index(k) for k in keys])
    if not known and len(states) != 1:
        keys = [k for k in found if isinstance(k, str)] if isinstance(found, Mapping) else []
        held = f"; its keys are {few(keys)}" if keys else ""
        raise ValueError(f"{path} does not hold a state_dict of tensors{held}; give {_WANTED}.")
    taken, *others = known or states
    if others:
        took, left = ".".join(taken), ".".join(others[0])
        note(f"{path}: the weights under {took!r} are taken, not those under {left!r}.")
    return dict(states[taken])


def _states(found: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every mapping from names to tensors in a tree of mappings, with the keys that lead to it."""
    if not isinstance(found, Mapping):
        return
    if all(isinstance(k, str) and isinstance(t, Tensor) for k, t in found.items()):
        if found or not keys:
            yield keys, found
    elif len(keys) < _DEEPEST:
        for key, value in found.items():
            yield from _states(value, (*keys, str(key)))
