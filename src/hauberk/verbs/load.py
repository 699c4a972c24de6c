"""Load the network in a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hauberk.artifact import Artifact, fill_plain
from hauberk.artifact.state_dicts import is_plain
from hauberk.networks import module
from hauberk.parametrize.plain import copied


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in a file: ordinary torch layers, in eval mode, on the CPU.

    Args:
        path: an ``.hbk`` file, or the weights of ``model``: ``.safetensors``, or a state_dict in a
            ``.pt``, ``.pth``, ``.bin``, ``.ckpt`` or ``.pth.tar``, read with a restricted
            unpickler that accepts tensors only. A prefix of all names, such as ``module.``, is
            matched, and a warning (`hauberk.runtime.notes.Note`) says so.
        model: a module to fill, in place; an ``.hbk`` that names its architecture needs none.

    Raises:
        ValueError: a damaged or foreign file, a module that does not match it, or none where one is
            needed.
        OSError: a file that cannot be read.
    """
    if not is_plain(path):
        return module(Artifact.load(path), path, model)
    if model is None:
        raise ValueError(f"{path} holds weights alone; name the network that they are of (model).")
    return fill_plain(model, path).eval()


def loaded(what: str | Path | nn.Module, model: nn.Module | None = None) -> nn.Module:
    """A network that is given as a module, or as a file with the code to fill; both stay as is.

    Args:
        what: the module itself, or a path for `load`.
        model: a copy of it is filled, if ``what`` is a path.
    """
    if isinstance(what, nn.Module):
        return what
    return load(what, None if model is None else copied(model))
