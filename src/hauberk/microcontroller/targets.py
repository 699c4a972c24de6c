"""The parts that C code is written for: memory, compiler, and what its decoder costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class BuildTarget:
    """A processor, and a part that has it.

    Attributes:
        name: as the user writes it.
        part: the part whose memory is the limit.
        flash: bytes of flash.
        ram: bytes of RAM.
        stack: bytes of RAM that are kept free for the stack and the program.
        compiler: the C compiler.
        package: the Debian package that has it.
        flags: of the compiler, without ``-I`` and files.
        size: the tool that counts bytes of code and tables.
        entropy_code: bytes of code that entropy decoding takes more than a fixed width, measured
            on LeNet's layers.
    """

    name: str
    part: str
    flash: int
    ram: int
    stack: int
    compiler: str
    package: str
    flags: tuple[str, ...]
    size: str
    entropy_code: int

    @property
    def bounded(self) -> bool:
        """Whether the part limits memory."""
        return self.flash > 0


_SMALL = ("-Os", "-ffreestanding")
_ARM = ("arm-none-eabi-gcc", "gcc-arm-none-eabi", "arm-none-eabi-size")


def _arm(name: str, part: str, memory: tuple[int, int], processor: str) -> BuildTarget:
    compiler, package, size = _ARM
    flags = (f"-mcpu={processor}", "-mthumb", "-std=c99", *_SMALL)
    flash, ram = memory
    return BuildTarget(name, part, flash, ram, 512, compiler, package, flags, size, 120)


TARGETS: Mapping[str, BuildTarget] = MappingProxyType(
    {
        "m0": _arm("m0", "nRF51822", (256 << 10, 16 << 10), "cortex-m0"),
        "m3": _arm("m3", "STM32F103C8", (64 << 10, 20 << 10), "cortex-m3"),
        "m4": _arm("m4", "STM32F401CC", (256 << 10, 64 << 10), "cortex-m4"),
        "avr": BuildTarget(
            "avr",
            "ATmega328P",
            32 << 10,
            2 << 10,
            128,
            "avr-gcc",
            "gcc-avr",
            ("-mmcu=atmega328p", "-std=gnu99", *_SMALL),
            "avr-size",
            330,
        ),
        "host": BuildTarget(
            "host",
            "this computer",
            0,
            0,
            0,
            "cc",
            "gcc",
            ("-std=c99", "-O2"),
            "size",
            350,
        ),
    }
)


def target_of(name: str) -> BuildTarget:
    """The target of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in TARGETS:
        raise ValueError(f"There is no target {name!r}; the targets are {', '.join(TARGETS)}.")
    return TARGETS[name]
