"""Windows of convolutions and pooling that the C code can slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hauberk.microcontroller.sums import NoCode


@dataclass(frozen=True)
class Window:
    """A window that slides over the positions of a channel.

    Attributes:
        kernel: height and width.
        stride: rows and columns from one position to the next.
        pad: rows above and columns left of the input.
        after: rows below and columns right of it.
        dilation: distance of neighbouring elements.
        ceil: whether a last, incomplete window counts.
    """

    kernel: tuple[int, int]
    stride: int
    pad: tuple[int, int]
    after: tuple[int, int]
    dilation: int
    ceil: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any], kernel: Sequence[int]) -> Window:
        """The window of an operator with two axes.

        Args:
            settings: attributes of the operator.
            kernel: height and width.

        Raises:
            NoCode: different steps along the two axes, or automatic padding.
        """
        strides, dilations = settings.get("strides", [1, 1]), settings.get("dilations", [1, 1])
        if settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET"):
            raise NoCode("automatic padding is not supported")
        if strides[0] != strides[1] or dilations[0] != dilations[1]:
            raise NoCode("its steps along the two axes differ")
        pads = [int(n) for n in settings.get("pads", [0] * 4)]
        return cls(
            (int(kernel[0]), int(kernel[1])),
            int(strides[0]),
            (pads[0], pads[1]),
            (pads[2], pads[3]),
            int(dilations[0]),
            bool(settings.get("ceil_mode", 0)),
        )

    def over(self, plane: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the result on a plane."""
        return self._positions(plane, 0), self._positions(plane, 1)

    def rounded_up(self, plane: tuple[int, int]) -> bool:
        """Whether an incomplete last window counts on a plane."""
        return self.ceil and any(self._free(plane, axis) % self.stride for axis in (0, 1))

    def _positions(self, plane: tuple[int, int], axis: int) -> int:
        return self._free(plane, axis) // self.stride + 1

    def _free(self, plane: tuple[int, int], axis: int) -> int:
        """Rows or columns by which the window can move."""
        reach = (self.kernel[axis] - 1) * self.dilation + 1
        return plane[axis] + self.pad[axis] + self.after[axis] - reach
