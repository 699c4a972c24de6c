"""Networks from files, and the check that a network fits the data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hauberk import models
from hauberk.artifact import About, Artifact
from hauberk.dataset import Data
from hauberk.runtime.packages import gist


def module(artifact: Artifact, path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in an artifact.

    Args:
        artifact: the content of the file.
        path: the file, for errors.
        model: a user's own module to fill, in place; by default the architecture in the file.

    Raises:
        ValueError: the file names no architecture, or does not fit the model.
    """
    return artifact.fill(blank(artifact.about, path) if model is None else model)


def blank(about: About, path: str | Path) -> nn.Module:
    """The network that a file names, at full size and with random weights.

    Raises:
        ValueError: the file names no architecture, or one that cannot be built.
    """
    if about.architecture is None:
        raise ValueError(
            f"{path} names no architecture, because it contains a user's own module; give that "
            "module (--model package.module:function, in Python model=MyNet())."
        )
    named = about.architecture
    return models.build_named(named.name, _whole(named.arguments, path))


def _whole(arguments: Mapping[str, int | float | str], path: str | Path) -> dict[str, int]:
    whole = {name: value for name, value in arguments.items() if isinstance(value, int)}
    if len(whole) < len(arguments):
        raise ValueError(
            f"{path} names a network with arguments that are not integers; give a file that "
            "hauberk wrote."
        )
    return whole


def check_fit(model: nn.Module, data: Data, who: str = "model") -> int:
    """Check that a model fits the data, and return its number of outputs.

    Args:
        model: the network; it is not changed.
        data: images that the model must accept, and classes that it must distinguish.
        who: the name of the model in errors.

    Raises:
        ValueError: the model rejects the images, or has fewer outputs than there are classes.
    """
    example = torch.zeros(2, *data.shape)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            logits = copy.deepcopy(model).eval()(example.to(device))
    except Exception as error:  # a user's module may fail in any way
        shape = " × ".join(map(str, data.shape))
        raise ValueError(
            f"The {who} cannot take the images of {data.name}, which are {shape} "
            f"({gist(error)}); give a {who} for this shape, or other data."
        ) from error
    outputs = tuple(logits.shape[1:]) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < data.classes:
        raise ValueError(
            f"The {who} gives outputs of shape {outputs} and {data.name} has {data.classes} "
            f"classes; give a {who} with at least one output per class."
        )
    return int(logits.shape[1])
