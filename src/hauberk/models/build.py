"""Networks by name: ``digits-cnn``, ``lenet:8``, ``lenet:width=8,classes=5``.

``ensemble:4xlenet:2`` is the sum of four of them.

An artifact stores the name and the arguments, so that its architecture can be rebuilt.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from hauberk.models import ensemble
from hauberk.models.ensemble import Ensemble
from hauberk.models.generators import cyclegan_resnet9, pix2pix_unet
from hauberk.models.lenet import caffe_lenet, digits_cnn, lenet
from hauberk.models.resnet import resnet18, resnet34, wrn
from hauberk.models.vgg import vgg16

_LARGEST = 65536
"""Largest value of an argument: layers, channels or classes."""
_APART = 1_000_003
"""Distance between the seeds of two members, so that ensembles of near seeds share none."""
_PARAMETERS = 1_000_000_000
"""Most parameters of a network, checked before allocation: a damaged file may name any size."""


@dataclass(frozen=True)
class Family:
    """A family of networks.

    Attributes:
        builder: makes a network with torch's default initialisation from integer arguments.
        input_shape: (channel, height, width) of one input.
    """

    builder: Callable[..., nn.Module]
    input_shape: tuple[int, ...]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "digits-cnn": Family(digits_cnn, (1, 8, 8)),
        "caffe-lenet": Family(caffe_lenet, (1, 28, 28)),
        "lenet": Family(lenet, (1, 28, 28)),
        "vgg16": Family(vgg16, (3, 32, 32)),
        "resnet18": Family(resnet18, (3, 32, 32)),
        "resnet34": Family(resnet34, (3, 32, 32)),
        "wrn": Family(wrn, (3, 32, 32)),
        "cyclegan-resnet9": Family(cyclegan_resnet9, (3, 64, 64)),
        "pix2pix-unet": Family(pix2pix_unet, (3, 64, 64)),
    }
)


def build(spec: str, *, seed: int = 0) -> nn.Module:
    """Build a network with random weights.

    Args:
        spec: a name, then arguments after a colon: ``lenet:8`` or ``lenet:width=8,classes=5``; or
            ``ensemble:``, a number, ``x`` and the spec of each member.
        seed: seeds the initial weights; the global random state does not change.

    Raises:
        ValueError: an unknown name or argument.
    """
    name, arguments = parse(spec)
    return build_named(name, arguments, seed=seed)


def build_named(name: str, arguments: Mapping[str, int | str], *, seed: int = 0) -> nn.Module:
    """Build the network that `parse` or an artifact names; every argument is checked first.

    The network's attribute ``architecture`` is the pair of its name and all its arguments.

    Args:
        name: a key of `FAMILIES`, or ``ensemble``.
        arguments: integers by name; of an ensemble ``of``, the spec of each member, and
            ``members``.
        seed: seeds the initial weights; the global random state does not change.

    Raises:
        ValueError: an unknown name or argument, or too many parameters.
    """
    if name == ensemble.NAME:
        return _ensemble(arguments, seed)
    bound = _bind(name, (), arguments)
    _check_size(name, bound)
    state = torch.get_rng_state()
    try:
        torch.default_generator.manual_seed(seed)
        net = _family(name).builder(**bound)
    finally:
        torch.set_rng_state(state)
    vars(net)["architecture"] = (name, bound)  # artifacts store it
    return net


def parse(spec: str) -> tuple[str, Mapping[str, int | str]]:
    """The name and all arguments of a spec, defaults included.

    Raises:
        ValueError: an unknown name, or arguments that the network does not take.
    """
    name, _, rest = spec.partition(":")
    if name == ensemble.NAME:
        count, _, of = rest.partition("x")
        return name, {"of": of, "members": _number(count, spec)}
    positional: list[int] = []
    named: dict[str, int] = {}
    for item in rest.split(",") if rest else []:
        key, equals, value = item.rpartition("=")
        number = _number(value, spec)
        if equals:
            named[key.strip()] = number
        else:
            positional.append(number)
    return name, _bind(name, tuple(positional), named)


def _ensemble(arguments: Mapping[str, int | str], seed: int) -> Ensemble:
    """Members of one network, each from its own random weights."""
    of, count = arguments.get("of"), arguments.get("members")
    if not isinstance(of, str) or type(count) is not int or not 1 <= count <= ensemble.MOST:
        raise ValueError(
            f"An ensemble was given {dict(arguments)}; give 1 to {ensemble.MOST} members of one "
            "network, as in ensemble:4xlenet:2."
        )
    name, each = parse(of)
    if name == ensemble.NAME:
        raise ValueError(
            f"An ensemble was given {of!r} as its members; give a network, as in "
            "ensemble:4xlenet:2."
        )
    _check_size(name, _bind(name, (), each), count)
    members = [build(of, seed=seed + _APART * number) for number in range(count)]
    return Ensemble(members, spreads=[1.0] * (count - 1) if arguments.get("limited") else None)


def _family(name: str) -> Family:
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    if name.endswith(".hbk"):
        hint = "; read a trained net's file with compress --from or hauberk.load."
    raise ValueError(f"There is no model {name!r}: the known ones are {', '.join(FAMILIES)}{hint}")


def _bind(name: str, positional: tuple[int, ...], named: Mapping[str, int | str]) -> dict[str, int]:
    signature = inspect.signature(_family(name).builder)
    try:
        bound = signature.bind(*positional, **named)
    except TypeError as error:
        raise ValueError(
            f"The model {name!r} does not take these arguments ({error}): "
            f"it takes {', '.join(signature.parameters)}."
        ) from error
    bound.apply_defaults()
    for key, value in bound.arguments.items():
        if type(value) is not int or not 1 <= value <= _LARGEST:
            raise ValueError(
                f"The model {name!r} has {key} = {value!r}: "
                f"give a whole number from 1 to {_LARGEST}."
            )
    return dict(bound.arguments)


def _check_size(name: str, arguments: Mapping[str, int], members: int = 1) -> None:
    with torch.device("meta"):  # shapes only: nothing is allocated
        each = sum(p.numel() for p in _family(name).builder(**arguments).parameters())
    count = members * each
    if count > _PARAMETERS:
        raise ValueError(
            f"The model {name!r} with {dict(arguments)} has {count:,} parameters: "
            f"give arguments for at most {_PARAMETERS:,}."
        )


def _number(text: str, spec: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(
            f"The model {spec!r} has the argument {text!r}: give whole numbers, as in 'lenet:8'."
        ) from None
