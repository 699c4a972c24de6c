"""Values by their names on the command line: methods, threats, attacks, sizes, devices.

Each is a field type that keeps the text as it was written, since reports and files repeat it, and
builds the object when a run needs it. Torch is imported then, so that ``--help`` answers at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING

from hauberk.cli.flags import Text, near
from hauberk.preparation import Size, sides
from hauberk.runtime.packages import find, is_place, own

if TYPE_CHECKING:
    import torch

    from hauberk.evaluation.named_attacks import Named
    from hauberk.method import Method
    from hauberk.runtime.processes import Group
    from hauberk.threat import Threat


def methods() -> dict[str, type[Method]]:
    """Every method, by its name on the command line."""
    from hauberk import methods

    return {
        "atmc": methods.ATMC,
        "al0": methods.AL0,
        "alr": methods.ALR,
        "ap": methods.AP,
        "nap": methods.NAP,
        "size-target": methods.SizeTarget,
        "robustness-target": methods.RobustnessTarget,
        "admm-pruning": methods.ADMMPruning,
        "reweighted": methods.Reweighted,
        "int8": methods.Int8,
        "gan-slimming": methods.GANSlimming,
        "da": methods.DA,
        "boost": methods.RobustBoosting,
    }


def canonical(name: str) -> str:
    """The name of a method in lower case; one of the user's own, ``module:Name``, as it is."""
    return name if is_place(name) else name.lower()


def method(name: str) -> type[Method]:
    """``atmc`` as a class, whose fields are its flags; or the user's own, ``module:Name``.

    Raises:
        ValueError: no method has this name, or what has it is no method.
    """
    if is_place(name):
        return _own_method(name)
    known = methods()
    if name.lower() == "min-max":
        raise ValueError(
            "min-max is not a method: it weights several threats in training; give --method da and "
            "several threats, such as --threat linf:0.2+l2:2."
        )
    if name.lower() not in known:
        hint = near(name.lower(), known, "")
        raise ValueError(
            f"There is no method {name!r}; {hint + ' The' if hint else 'the'} methods are "
            f"{', '.join(known)}."
        )
    return known[name.lower()]


def _own_method(place: str) -> type[Method]:
    from hauberk.method import Method

    found = find(place)
    if not (isinstance(found, type) and issubclass(found, Method) and is_dataclass(found)):
        raise ValueError(
            f"{place} is no method; give a frozen dataclass that derives from "
            "hauberk.method.Method, see CONTRIBUTING.md."
        )
    return found


def method_name(of: Method) -> str:
    """The name of a method on the command line, ``module:Name`` for the user's own."""
    cls = type(of)
    names = [name for name, known in methods().items() if known is cls]
    return names[0] if names else f"{cls.__module__}:{cls.__qualname__}"


@dataclass(frozen=True)
class Bytes(Text):
    """An amount of memory: ``4GB``, or ``25%`` of what is free."""

    def __post_init__(self) -> None:
        """Validate the text."""
        self.of(1 << 30)

    def of(self, free: int) -> int:
        """The amount in bytes.

        Args:
            free: bytes that a fraction is of.

        Raises:
            ValueError: the text is no amount.
        """
        from hauberk.ops.sizes import size_bytes

        try:
            return size_bytes(self.text, free)
        except ValueError:
            raise ValueError(
                f"--memory was given as {self.text!r}; give bytes with a unit, such as 4GB, or a "
                "fraction of the free memory, such as 25%."
            ) from None


@dataclass(frozen=True)
class ImageSize(Text):
    """Height and width: ``48`` for a square, or ``48x64``; ``0`` leaves images as they are."""

    def __post_init__(self) -> None:
        """Validate the text."""
        if not re.fullmatch(r"\d+(\s*[x×,]\s*\d+)?", self.text):
            raise ValueError(
                f"--image-size was given as {self.text!r}; give the side of a square in pixels, "
                "such as 48, or height and width, such as 48x64."
            )
        if self.size is not None:
            sides(self.size)

    @property
    def size(self) -> Size | None:
        """Height and width; None for images as they are."""
        found = [int(n) for n in re.findall(r"\d+", self.text)]
        return (found[0], found[-1]) if self.text != "0" else None


@dataclass(frozen=True)
class NamedThreat(Text):
    """A threat by name: ``linf:8/255``, or ``linf:0.3+l2:2`` for the union of two."""

    def __post_init__(self) -> None:
        """Validate the text."""
        threat(self.text)

    @property
    def threat(self) -> Threat:
        """The set of images."""
        return threat(self.text)


@dataclass(frozen=True)
class NamedAttack(Text):
    """The attack that a report shows: ``strongest``, ``pgd:40``, one's own; see `named`."""

    @property
    def attacks(self) -> Named:
        """The attacks.

        Raises:
            ValueError: the text is no attack.
        """
        from hauberk.evaluation.named_attacks import named

        return named(self.text)


@dataclass(frozen=True)
class NamedDevice(Text):
    """A device of torch: ``cpu``, ``cuda`` or ``cuda:1``; see `place`."""


def place(device: NamedDevice | None, group: Group) -> torch.device:
    """The device of a process: the named one, or its own GPU where there is any, else the CPU.

    Raises:
        ValueError: the device is not available.
    """
    import torch

    from hauberk.training.run import Run

    name = str(device or "")
    if not name or (name == "cuda" and group.size > 1):
        return Run(group=group).place()
    if name.startswith("cuda:") and group.size > 1:
        raise ValueError(
            f"The device was given as {name!r} for several processes; give cuda, and each has its "
            "own, or cpu."
        )
    try:
        return torch.zeros(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"The device {name!r} is not available ({why}); give cpu, cuda or cuda:N."
        ) from error


def threat(text: str) -> Threat:
    """``linf:8/255`` as a threat; ``linf:0.3+l2:2`` as the union of two; or one's own.

    Raises:
        ValueError: the text is no threat.
    """
    from hauberk.threats import Union

    members = tuple(_ball(part.strip(), text) for part in text.split("+"))
    return members[0] if len(members) == 1 else Union(members)


def _ball(part: str, text: str) -> Threat:
    from hauberk.threat import Threat
    from hauberk.threats import L1, L2, Linf

    if is_place(part):
        wanted = "a hauberk.threat.Threat, or a function that takes nothing and returns one"
        return own(part, Threat, wanted)  # type: ignore[type-abstract]

    known: dict[str, Callable[[float], Threat]] = {"linf": Linf, "l2": L2, "l1": L1}
    norm, _, size = part.partition(":")
    number = re.fullmatch(r"(\d+\.?\d*|\.\d+)(?:/(\d+\.?\d*))?", size.strip())
    divisor = float(number[2] or 1) if number else 0.0
    if norm.lower() not in known or not number or not divisor:
        raise ValueError(
            f"The threat {text!r} could not be read; write a norm ({', '.join(known)}), a colon "
            "and a radius in pixel units of [0, 1], such as linf:8/255 or l2:0.5; a plus joins "
            "several, such as linf:0.3+l2:2. One of your own is package.module:name."
        )
    radius = float(number[1]) / divisor
    if not radius:
        raise ValueError(
            f"The threat {text!r} has {part}, which allows nothing; give a positive radius. Clean "
            "accuracy is always reported next to robust accuracy."
        )
    return known[norm.lower()](radius)
