"""Packaging: how trained weights are written to the file, and in which format it ships."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

HBK, ONNX_INT8 = "hbk", "onnx-int8"
FORMATS = (HBK, "onnx", ONNX_INT8)
"""Formats that may ship; `hauberk.allocation.forms.FORMS` has the lengths of each."""


class FileSettings(Protocol):
    """The form in which trained weights are written to the file."""

    @property
    def float16(self) -> bool:
        """Whether values outside a codebook become float16."""

    @property
    def slim(self) -> bool:
        """Whether dead filters and channels are removed."""

    @property
    def ship(self) -> str:
        """The format that ships, one of `FORMATS`."""


@dataclass(frozen=True, kw_only=True)
class Packaging:
    """The form in which trained weights are written to the file.

    Attributes:
        half: write biases, norms and values outside a codebook as float16; without effect on
            onnx-int8.
        slim: remove dead filters and channels from the network; needs a traceable graph.
        ship: format that ships: hbk, onnx (float32) or onnx-int8. It is written next to the .hbk;
            its bytes are what a size limits and what the report shows.
    """

    half: bool = True
    slim: bool = False
    ship: str = HBK

    def __post_init__(self) -> None:
        _check_format(self.ship)

    @property
    def float16(self) -> bool:
        """``half``, but not for whole numbers: multiples of a scale are no float16 numbers."""
        return self.half and self.ship != ONNX_INT8


@dataclass(frozen=True, kw_only=True)
class FactorPackaging:
    """The form of low-rank factors in the file: they have no dead filters.

    Attributes:
        half: write values as float16.
        ship: format that ships, as for other methods: hbk, onnx or onnx-int8.
    """

    half: bool = True
    ship: str = HBK

    def __post_init__(self) -> None:
        _check_format(self.ship)

    @property
    def float16(self) -> bool:
        """``half``."""
        return self.half

    @property
    def slim(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, kw_only=True)
class GridPackaging:
    """The form of weights on a uniform grid: multiples of a scale are no float16 numbers.

    Attributes:
        slim: remove dead filters and channels from the network; needs a traceable graph.
        ship: format that ships: hbk, onnx (float32) or onnx-int8. It is written next to the .hbk;
            its bytes are what a size limits and what the report shows.
    """

    slim: bool = False
    ship: str = HBK

    def __post_init__(self) -> None:
        _check_format(self.ship)

    @property
    def float16(self) -> bool:
        """Never."""
        return False


def _check_format(ship: str) -> None:
    """Raise a ValueError for a format that cannot ship."""
    if ship not in FORMATS:
        raise ValueError(f"ship was given as {ship!r}; give one of {', '.join(FORMATS)}.")
