"""A node of an ONNX graph as Python values, and the torch module that applies a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class Unknown(ValueError):
    """An operator or one of its settings has no replay in torch."""


@dataclass(frozen=True)
class Call:
    """One node of a graph.

    Attributes:
        kind: name of the operator.
        settings: attributes by name.
        constants: the value of each input that does not depend on the images; None for the other
            inputs and for omitted ones.
        present: whether each input is given.
    """

    kind: str
    settings: Mapping[str, Any]
    constants: Sequence[Tensor | None]
    present: Sequence[bool]

    def constant(self, place: int) -> Tensor:
        """The constant input number ``place``.

        Raises:
            Unknown: the input is omitted or depends on the images.
        """
        found = self.constants[place] if place < len(self.constants) else None
        if found is None:
            raise Unknown(f"{self.kind} with a varying input {place}")
        return found

    def optional(self, place: int) -> Tensor | None:
        """The constant input number ``place``; None if it is omitted.

        Raises:
            Unknown: the input depends on the images.
        """
        given = place < len(self.present) and self.present[place]
        return self.constant(place) if given else None

    def numbers(self, place: int) -> tuple[int, ...]:
        """The elements of a constant integer input."""
        return tuple(int(n) for n in self.constant(place).flatten().tolist())

    def only(self, **allowed: object) -> None:
        """Check that each given setting has the one supported value.

        Raises:
            Unknown: a setting has another value.
        """
        for name, value in allowed.items():
            if self.settings.get(name, value) != value:
                raise Unknown(f"{self.kind} with {name}")


class Apply(nn.Module):
    """A function of inputs and constants, in the order in which the node lists them."""

    def __init__(self, function: Callable[..., Tensor], constants: Sequence[Tensor | None]) -> None:
        super().__init__()
        self.function = function
        self.places = len(constants)
        for place, constant in enumerate(constants):
            self.register_buffer(f"constant{place}", constant, persistent=False)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Apply the function; ``inputs`` fill the places that have no constant."""
        rest = iter(inputs)
        own = [getattr(self, f"constant{place}") for place in range(self.places)]
        return self.function(*(next(rest) if c is None else c for c in own))
