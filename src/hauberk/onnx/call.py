"""One node of an ONNX graph, read into Python values, and a torch module that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class Unknown(ValueError):
    """An operator, or a use of one, that has no replay in torch."""


@dataclass(frozen=True)
class Call:
    """One node of a graph.

    Attributes:
        kind: the operator.
        settings: its attributes.
        constants: of its inputs, those that do not depend on the images; None for the others and
            for those that are left out.
        present: which inputs are given.
    """

    kind: str
    settings: Mapping[str, Any]
    constants: Sequence[Tensor | None]
    present: Sequence[bool]

    def constant(self, place: int) -> Tensor:
        """An input that must not depend on the images."""
        found = self.constants[place] if place < len(self.constants) else None
        if found is None:
            raise Unknown(f"{self.kind} with a varying input {place}")
        return found

    def optional(self, place: int) -> Tensor | None:
        """The same, where it may be left out."""
        given = place < len(self.present) and self.present[place]
        return self.constant(place) if given else None

    def numbers(self, place: int) -> tuple[int, ...]:
        """A constant input's whole numbers."""
        return tuple(int(n) for n in self.constant(place).flatten().tolist())

    def only(self, **allowed: object) -> None:
        """Raise for settings with other values than these."""
        for name, value in allowed.items():
            if self.settings.get(name, value) != value:
                raise Unknown(f"{self.kind} with {name}")


class Apply(nn.Module):
    """A function of some inputs and some constants, in the order in which a node lists them."""

    def __init__(self, function: Callable[..., Tensor], constants: Sequence[Tensor | None]) -> None:
        super().__init__()
        self.function = function
        self.places = len(constants)
        for place, constant in enumerate(constants):
            self.register_buffer(f"constant{place}", constant, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """``function`` of the inputs in the places that no constant takes."""
        rest = iter(inputs)
        own = [getattr(self, f"constant{place}") for place in range(self.places)]
        return self.function(*(next(rest) if c is None else c for c in own))
