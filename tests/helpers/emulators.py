"""The programs of examples/microcontroller in emulators of their boards."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "microcontroller"
_TIMEOUT = 60


@dataclass(frozen=True)
class Board:
    """A program of the example's Makefile, and what runs it.

    Attributes:
        program: its name in the Makefile.
        target: of the export.
        tools: commands that it needs.
        packages: Debian packages that have them.
        machine: of qemu; empty for simavr.
        ticks: instructions or cycles in a tick of its timer.
    """

    program: str
    target: str
    tools: tuple[str, ...]
    packages: str
    machine: str
    ticks: float

    def run(self, net: Path, images: bytes, count: int) -> list[list[int]]:
        """The class, the logits and the instructions of each image.

        Args:
            net: the folder of ``net.c``.
            images: the bytes of all images.
            count: number of images.
        """
        missing = [tool for tool in ("make", *self.tools) if shutil.which(tool) is None]
        if missing:
            pytest.skip(f"{', '.join(missing)} missing: apt-get install {self.packages}")
        made = net / "build"
        program = f"{made}/{self.program}.elf"
        words = ["make", "-s", "-C", str(EXAMPLE), f"NET={net}", f"OUT={made}", program]
        subprocess.run(words, check=True, timeout=_TIMEOUT)
        lines = _lines(self._command(made, program, count), images, count)
        return [[*line[:-1], round(line[-1] * self.ticks)] for line in lines]

    def _command(self, made: Path, program: str, count: int) -> list[str]:
        if self.machine:
            line = ("-chardev", "stdio,id=line,signal=off", "-serial", "chardev:line")
            quiet = ("-icount", "shift=0", "-display", "none", "-monitor", "none")
            return ["qemu-system-arm", "-M", self.machine, *quiet, *line, "-kernel", program]
        runner = made / "simavr"
        source = Path(__file__).with_name("simavr.c")
        built = subprocess.run(
            ["cc", "-O2", str(source), "-o", str(runner), "-lsimavr"], capture_output=True
        )
        if built.returncode:
            pytest.skip(f"no headers of simavr: apt-get install {self.packages}")
        return [str(runner), program, str(count)]


def _lines(command: Sequence[str], images: bytes, count: int) -> list[list[int]]:
    """The numbers of the first ``count`` lines of a program that is fed with images."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as ran:
        assert ran.stdin is not None and ran.stdout is not None
        try:
            ran.stdin.write(images)
            ran.stdin.flush()
            if "qemu" not in command[0]:  # simavr waits for a byte or the end
                ran.stdin.close()
            found = [ran.stdout.readline().split() for _ in range(count)]
        finally:
            ran.kill()
    return [[int(word) for word in line] for line in found]


_QEMU = ("arm-none-eabi-gcc", "qemu-system-arm")
_ARM = "gcc-arm-none-eabi qemu-system-arm"
BOARDS = (
    Board("microbit", "m0", _QEMU, _ARM, "microbit", 1000 / 16),
    Board("mps2_m3", "m3", _QEMU, _ARM, "mps2-an385", 1000 / 25),
    Board("mps2_m4", "m4", _QEMU, _ARM, "mps2-an386", 1000 / 25),
    Board("uno", "avr", ("avr-gcc",), "gcc-avr avr-libc libsimavr-dev", "", 1024),
)
