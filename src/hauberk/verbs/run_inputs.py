"""What a run is made of, as digests: its data, start weights, network code and teacher.

A run that is resumed, and a row that a sweep reuses, must have the same: names alone would let
other data of the same name in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hauberk.dataset import Data
from hauberk.runtime.source_code import digest_of_classes

DATA, START, CODE, TEACHER = "data", "start weights", "network code", "teacher"
_WHOLE = 1 << 30  # bytes of pixels of a split that are read whole; of larger ones so many
_PIECE = 1 << 24


def run_inputs(model: nn.Module, data: Data, trained: bool) -> dict[str, str]:
    """The digests of a run, by what they are of.

    Args:
        model: the network that the run starts from.
        data: what it is trained on.
        trained: whether the network starts from trained weights; random ones do not count.
    """
    code = digest_of_classes({type(module) for module in model.modules()})
    return {
        DATA: data_digest(data),
        **({START: state_digest(model.state_dict())} if trained else {}),
        **({CODE: code} if code else {}),
    }


def merged(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Both; where both have a digest of one thing, the two together."""
    return {
        name: " ".join(filter(None, (one.get(name), other.get(name)))) for name in {**one, **other}
    }


def changes(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs; what only one of them knows does not."""
    return [name for name in was if name in now and was[name] != now[name]]


def data_digest(data: Data) -> str:
    """A digest of images, labels and class names of all splits.

    Of a split above 1 GiB, evenly spaced images of so many bytes stand for all.
    """
    found = hashlib.blake2b(digest_size=8)
    found.update(repr((data.labels, data.classes)).encode())
    for part in (data.train, data.validation, data.test):
        stride = max(1, -(-part.x.nbytes // _WHOLE))
        found.update(repr((tuple(part.x.shape), str(part.x.dtype))).encode())
        for piece in (*_pieces(part.x[::stride]), *_pieces(part.y)):
            found.update(piece)
    return found.hexdigest()


def state_digest(state: Mapping[str, Tensor]) -> str:
    """A digest of tensors by name."""
    found = hashlib.blake2b(digest_size=8)
    for name, t in state.items():
        if t.is_meta or t.is_quantized or t.layout is not torch.strided:
            continue  # no file can hold it, which the rehearsal says
        found.update(f"{name} {tuple(t.shape)} {t.dtype} ".encode())
        for piece in _pieces(t.detach()):
            found.update(piece)
    return found.hexdigest()


def file_digest(path: Path) -> str:
    """A digest of a file; empty if it cannot be read, which whoever opens it says."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError:
        return ""


def _pieces(t: Tensor) -> Iterator[bytes]:
    """The bytes of a tensor, some rows at a time."""
    if not t.numel():
        return
    rows = t[None] if t.ndim == 0 else t
    count = max(1, _PIECE // max(1, rows[0].nbytes))
    for some in torch.split(rows, count):
        yield some.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
