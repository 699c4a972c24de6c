"""What the words of a command name: methods, threats, attacks, data, networks, devices.

Each is one sentence where it names nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hauberk.cli.console import Bars
    from hauberk.dataset import Data
    from hauberk.evaluation import Evaluation
    from hauberk.method import Method
    from hauberk.runtime.processes import Group
    from hauberk.threat import Threat
    from hauberk.training.run import Run


def methods() -> dict[str, type[Method]]:
    """Every method by the name that its users write."""
    from hauberk import methods

    return {
        "atmc": methods.ATMC,
        "al0": methods.AL0,
        "alr": methods.ALR,
        "ap": methods.AP,
        "nap": methods.NAP,
        "sized": methods.SizeTarget,
        "constrained": methods.RobustnessTarget,
        "admm": methods.ADMMPruning,
        "reweighted": methods.Reweighted,
        "int8": methods.Int8,
        "min-max": methods.MinMax,
        "da": methods.DA,
    }


def method(name: str) -> type[Method]:
    """``atmc`` as a class, whose fields are its flags."""
    known = methods()
    if name.lower() not in known:
        raise ValueError(f"There is no method {name!r}; the methods are {', '.join(known)}.")
    return known[name.lower()]


def own(flags: Any) -> nn.Module | None:
    """The network of --model."""
    from hauberk import models

    return models.network(flags.model, seed=getattr(flags, "seed", 0)) if flags.model else None


def data(flags: Any) -> Data:
    """The data that the flags name; what was odd is said."""
    from hauberk.cli.console import say
    from hauberk.data import load

    data = load(flags.data, on_error=flags.on_error, memory=memory(flags.memory))
    for note in data.notes:
        say(note)
    return data


def memory(text: str) -> int | None:
    """``4GB`` or ``0.25`` of what is free, in bytes; None where nothing is said."""
    from hauberk.ops.sizes import size_bytes
    from hauberk.runtime.memory import free

    try:
        return size_bytes(text, free()) if text else None
    except ValueError:
        raise ValueError(
            f"--memory was given as {text!r}; give bytes with a unit, such as 4GB, or a share of "
            "what is free, such as 25%."
        ) from None


def threat(text: str) -> Threat:
    """``linf:8/255`` as a threat; ``linf:0.3+l2:2`` as the union of two."""
    from hauberk.threats import Union

    members = tuple(_ball(part.strip(), text) for part in text.split("+"))
    return members[0] if len(members) == 1 else Union(members)


def _ball(part: str, text: str) -> Threat:
    from hauberk.threats import L1, L2, Linf

    known: dict[str, Callable[[float], Threat]] = {"linf": Linf, "l2": L2, "l1": L1}
    norm, _, size = part.partition(":")
    number = re.fullmatch(r"(\d+\.?\d*|\.\d+)(?:/(\d+\.?\d*))?", size.strip())
    divisor = float(number[2] or 1) if number else 0.0
    if norm.lower() not in known or not number or not divisor:
        raise ValueError(
            f"The threat {text!r} could not be read; write a norm ({', '.join(known)}), a colon "
            "and a radius in pixel units of [0, 1], such as linf:8/255 or l2:0.5; a plus joins "
            "several, such as linf:0.3+l2:2."
        )
    radius = float(number[1]) / divisor
    if not radius:
        raise ValueError(
            f"The threat {text!r} has {part}, which allows nothing; give a positive radius. Clean "
            "accuracy is always reported beside a threat."
        )
    return known[norm.lower()](radius)


def proof(flags: Any, threat: Threat) -> Evaluation:
    """How the file is attacked."""
    from hauberk.evaluation import Evaluation
    from hauberk.evaluation.named_attacks import named

    chosen = named(flags.attack)
    if flags.limit < 0:
        raise ValueError(f"--limit was given as {flags.limit}; give a count of 1 or more.")
    return Evaluation(
        threat,
        flags.threat,
        {} if chosen is None else {flags.attack: chosen},
        autoattack=chosen is None,
        limit=flags.limit or None,
        check_limit=200 if getattr(flags, "checks", True) else 0,
        restarts=getattr(flags, "restarts", 1),
        seed=flags.seed,
    )


def run(flags: Any, place: torch.device, what: str, bar: Bars, group: Group) -> Run:
    """Where and how a training goes; ``what`` tells one run from another."""
    from hauberk.cli.console import say
    from hauberk.runtime.device import bf16_in_software
    from hauberk.training.run import Run, Watcher

    bf16 = flags.precision == "bf16-mixed"
    if bf16 and group.first and bf16_in_software(place):
        say(
            f"precision was given as {flags.precision}, and bfloat16 is computed in software on "
            f"this {place.type}, slower than float32: without --precision it is faster."
        )
    return Run(
        seed=flags.seed,
        resume=flags.resume,
        device=place,
        bf16=bf16,
        compiled=flags.compiled,
        tensorboard=flags.tensorboard,
        identity=f"{what} seed={flags.seed} precision={flags.precision}",
        watcher=bar if group.first else Watcher(),
        group=group,
    )


def device(text: str, group: Group | None = None) -> torch.device:
    """The device named, if it is there; of several processes on GPUs each has its own."""
    import torch

    from hauberk.runtime.processes import ALONE
    from hauberk.training.run import Run

    several = group is not None and group.size > 1
    if not text or (text == "cuda" and several):
        return Run(group=group or ALONE).place()
    if text.startswith("cuda:") and several:
        raise ValueError(
            f"The device was given as {text!r} for several processes; give cuda, and each has its "
            "own, or cpu."
        )
    try:
        return torch.zeros(0, device=text).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"The device {text!r} is not to be had ({why}); give cpu, cuda or cuda:N."
        ) from error
