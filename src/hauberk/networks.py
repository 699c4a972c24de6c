"""Networks from files, and the check that a network fits the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hauberk import models
from hauberk.artifact import About, Artifact
from hauberk.artifact.answer import agree, answer
from hauberk.class_names import few
from hauberk.dataset import Data
from hauberk.models import Ensemble, Normalized, ensemble
from hauberk.parametrize.plain import copied, made_plain, unwrapped
from hauberk.printable import refuse_names
from hauberk.runtime.notes import note
from hauberk.runtime.packages import gist
from hauberk.types import Images


def module(artifact: Artifact, path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in an artifact.

    Args:
        artifact: the content of the file.
        path: the file, for errors.
        model: a user's own module to fill, in place; by default the architecture in the file. If
            the file holds an ensemble, copies of the module are its members.

    Raises:
        ValueError: the file names no architecture, or does not fit the model.
    """
    return filled(artifact, path, blank(artifact.about, path, model))


def filled(artifact: Artifact, path: str | Path, empty: nn.Module) -> nn.Module:
    """The network of `blank`, filled from the file in place, in eval mode.

    Args:
        artifact: the content of the file.
        path: the file, for errors.
        empty: the network to fill.

    Raises:
        ValueError: the file does not fit it, or it gives other outputs than the network that was
            written, so that its code is other code.
    """
    net, about = artifact.fill(empty), artifact.about
    found = answer(net, about.input_shape) if about.answer else ""
    if not agree(found, about.answer):
        raise ValueError(
            f"{path} gives other outputs in this module than in the one that was trained (of size "
            f"{' and '.join(found.split())} for two known images, and then "
            f"{' and '.join(about.answer.split())}); give the same code: the same constants, such "
            "as mean and std of the images, and the same activations."
        )
    return net


def needs_model(about: About) -> bool:
    """Whether a file holds a user's own module, or an ensemble of it, which must be given."""
    named = about.architecture
    return named is None or (named.name == ensemble.NAME and not named.arguments.get("of"))


def blank(about: About, path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network to fill from a file, at full size.

    Args:
        about: the description of the network in the file.
        path: the file, for errors.
        model: a user's own module; its lazy layers are built, and its parametrisations are
            replaced by plain weights, in place; by default the architecture in the file, with
            random weights.

    Raises:
        ValueError: the file names no architecture, or one that cannot be built.
    """
    if model is not None:
        model = unwrapped(model)
        made_plain(model, about.input_shape)
        return _members(about, _normalised(about, path, model))
    if about.architecture is None or needs_model(about):
        raise ValueError(
            f"{path} names no architecture, because it contains a user's own module; give that "
            "module (--model package.module:function, in Python model=MyNet())."
        )
    named = about.architecture
    return _normalised(about, path, models.build_named(named.name, _exact(named.arguments, path)))


def _normalised(about: About, path: str | Path, model: nn.Module) -> nn.Module:
    """The model with the mean and standard deviation that the file records, if it does."""
    mean, std = about.preparation.mean, about.preparation.std
    if not mean:
        return model
    if isinstance(model, Ensemble):
        model.members = nn.ModuleList([_normalised(about, path, m) for m in model.members])
        return model
    if not isinstance(model, Normalized):
        return Normalized(model, mean, std)
    if model.normalization != (mean, std):
        own = model.normalization
        note(
            f"{path} was trained with mean {_numbers(mean)} and std {_numbers(std)}; these are "
            f"used in place of the model's own, mean {_numbers(own[0])} and std {_numbers(own[1])}."
        )
        model.set(mean, std)
    return model


def _numbers(found: Sequence[float]) -> str:
    return ", ".join(f"{n:g}" for n in found)


def _members(about: About, model: nn.Module) -> nn.Module:
    """The module itself; if the file holds an ensemble of it, the ensemble."""
    named = about.architecture
    if named is None or named.name != ensemble.NAME or isinstance(model, Ensemble):
        return model
    count = named.arguments.get("members")
    known = type(count) is int and 1 <= count <= ensemble.MOST
    limited = bool(named.arguments.get("limited"))
    return Ensemble.of(model, int(count or 0), limited=limited) if known else model


def _exact(arguments: Mapping[str, int | float | str], path: str | Path) -> dict[str, int | str]:
    whole = {name: value for name, value in arguments.items() if isinstance(value, int | str)}
    if len(whole) < len(arguments):
        raise ValueError(
            f"{path} names a network with arguments that are not integers; give a file that "
            "hauberk wrote."
        )
    return whole


def _advice(model: nn.Module, who: str) -> str:
    """What to do about a model that fails on the images."""
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()}
    for kind in kinds - {torch.float32}:
        return f"its weights are {str(kind).removeprefix('torch.')}, so give {who}.float()"
    return f"give a {who} for this shape, or other data"


def check_fit(model: nn.Module, data: Data, who: str = "model") -> int:
    """Check that a model fits the data, and return its number of outputs: classes, or channels.

    Args:
        model: the network; it is not changed.
        data: images that the model must accept, and classes that it must distinguish; without
            classes, the model must give images.
        who: the name of the model in errors.

    Raises:
        ValueError: the model has a tensor whose name no file can hold, rejects the images, has
            fewer outputs than there are classes, or gives no images for data without classes.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    example = torch.zeros(2, *data.shape, device=device)
    return int(fitting(copied(model, who).eval(), data, example, who).shape[1])


def fitting(model: nn.Module, data: Data, x: Images, who: str = "model") -> Tensor:
    """The outputs of a model that fits the data.

    Args:
        model: in eval mode.
        data: see `check_fit`.
        x: images of its shape, on the model's device.
        who: the name of the model in errors.

    Raises:
        ValueError: see `check_fit`.
    """
    refuse_names(model.state_dict(), f"The {who}")
    shape = " × ".join(map(str, data.shape))
    try:
        with torch.no_grad():
            found = model(x)
    except (Exception, SystemExit) as error:  # a user's module may fail in any way
        raise ValueError(
            f"The {who} cannot take the images of {data.name}, which are {shape} "
            f"({gist(error)}); {_advice(model, who)}."
        ) from error
    if not isinstance(found, Tensor):
        held = f" with the keys {few([*map(str, found)])}" if isinstance(found, Mapping) else ""
        raise ValueError(
            f"The {who} gives an object of type {type(found).__name__}{held} in eval mode; return "
            "one tensor from its forward, the logits."
        )
    if found.is_complex():
        raise ValueError(
            f"The {who} gives complex numbers; return real ones, such as their absolute values."
        )
    outputs, axes = tuple(found.shape[1:]), found.ndim
    if data.classes and (axes != 2 or found.shape[1] < data.classes):
        raise ValueError(
            f"The {who} gives outputs of shape {outputs} and {data.name} has {data.classes} "
            f"classes; give a {who} with at least one output per class."
        )
    if not data.classes and axes != 4:
        raise ValueError(
            f"The {who} gives outputs of shape {outputs} for images of {shape}; give a {who} from "
            "images to images, whose outputs are (channel, height, width) each."
        )
    return found
