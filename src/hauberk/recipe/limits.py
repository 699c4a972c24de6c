"""Limits: upper bounds on what a network needs where it runs, besides its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.ops.sizes import count, size_bytes


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds on the memory and the multiplications of one image.

    They are met by removing whole filters, so they need slim.

    Attributes:
        max_ram: peak memory of the activations of one image, in float32 as torch runs the network:
            64kB, or 50% of the dense network's; empty for no bound.
        max_macs: multiplications of one image in convolutions and linear layers: 500k, 2M, or 50%
            of the dense network's; empty for no bound.
    """

    max_ram: str = ""
    max_macs: str = ""

    def __post_init__(self) -> None:
        if self.max_ram:
            size_bytes(self.max_ram, 1 << 30)
        if self.max_macs:
            count(self.max_macs, 1 << 30)

    @property
    def given(self) -> bool:
        """Whether there is any bound."""
        return bool(self.max_ram or self.max_macs)

    def check(self, slim: bool) -> None:
        """Check that filters may be removed.

        Args:
            slim: whether dead filters leave the network.

        Raises:
            ValueError: there is a bound, and they stay.
        """
        if self.given and not slim:
            raise ValueError(
                "max_ram and max_macs are met by removing filters, which needs slim; give --slim "
                "(in Python slim=True)."
            )
