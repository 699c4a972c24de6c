"""Packaging: how trained weights are written to the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class FileSettings(Protocol):
    """The form in which trained weights are written to the file."""

    @property
    def half(self) -> bool:
        """Whether values outside a codebook become float16."""

    @property
    def slim(self) -> bool:
        """Whether dead filters and channels are removed."""


@dataclass(frozen=True, kw_only=True)
class Packaging:
    """The form in which trained weights are written to the file.

    Attributes:
        half: write biases, norms and values outside a codebook as float16.
        slim: remove dead filters and channels from the network; needs a traceable graph.
    """

    half: bool = True
    slim: bool = False


@dataclass(frozen=True, kw_only=True)
class FactorPackaging:
    """The form of low-rank factors in the file: they have no dead filters.

    Attributes:
        half: write values as float16.
    """

    half: bool = True

    @property
    def slim(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, kw_only=True)
class GridPackaging:
    """The form of weights on a uniform grid: multiples of a scale are no float16 numbers.

    Attributes:
        slim: remove dead filters and channels from the network; needs a traceable graph.
    """

    slim: bool = False

    @property
    def half(self) -> bool:
        """Never."""
        return False
