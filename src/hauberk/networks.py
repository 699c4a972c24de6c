"""The network in a file, and whether a network fits the data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from hauberk import models
from hauberk.artifact import About, Artifact
from hauberk.dataset import Data


def module(artifact: Artifact, path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in an artifact; ``path`` is named in errors."""
    return artifact.fill(blank(artifact.about, path) if model is None else model)


def blank(about: About, path: str | Path) -> nn.Module:
    """The network that a file names, at its full size and with weights of its own."""
    if about.architecture is None:
        raise ValueError(
            f"{path} names no architecture, because it holds a user's own module; name that one "
            "(--model package.module:function, in Python model=MyNet())."
        )
    named = about.architecture
    return models.build_named(named.name, _whole(named.arguments, path))


def _whole(arguments: Mapping[str, int | float | str], path: str | Path) -> dict[str, int]:
    whole = {name: value for name, value in arguments.items() if isinstance(value, int)}
    if len(whole) < len(arguments):
        raise ValueError(f"{path} names a network with arguments that no known network takes.")
    return whole


def check_fit(model: nn.Module, data: Data, who: str = "model") -> int:
    """How many outputs the model has; data whose shape or classes it cannot take are refused.

    Args:
        model: that is tried.
        data: for which.
        who: it is, in the sentence.

    Raises:
        ValueError: it does not fit.
    """
    example = torch.zeros(2, *data.shape)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    trial = copy.deepcopy(model).eval()
    try:
        with torch.no_grad():
            logits = trial(example.to(device))
    except RuntimeError as error:
        shape = " × ".join(map(str, data.shape))
        why = str(error).splitlines()[0]
        raise ValueError(
            f"The {who} cannot take the images of {data.name}, which are {shape} ({why}); "
            f"give a {who} for this shape, or other data."
        ) from error
    if logits.ndim != 2 or logits.shape[1] < data.classes:
        raise ValueError(
            f"The {who} gives outputs of shape {tuple(logits.shape[1:])} and {data.name} has "
            f"{data.classes} classes; give a {who} with at least one output per class."
        )
    return int(logits.shape[1])
