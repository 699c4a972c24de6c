"""The instructions of an image on an Arm target, counted by an emulator.

Under ``-icount shift=0`` the clock of qemu counts instructions, the same number at every run.
Code for a Cortex-M0 runs on the emulated Cortex-M3, which executes the same instructions.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.compiled import built, write

_QEMU = "qemu-system-arm"
_MACHINES: Mapping[str, str] = MappingProxyType(
    {"m0": "mps2-an385", "m3": "mps2-an385", "m4": "mps2-an386"}
)
_TICK = 40
"""Instructions in a tick of the boards' timer."""
_QUIET = ("-icount", "shift=0", "-display", "none", "-monitor", "none", "-serial", "stdio")


def instructions(file: CodeFile, name: str = "The C file") -> int | None:
    """The instructions of one image, to the nearest tick of 40.

    Args:
        file: the C file.
        name: subject of errors, such as the file's path.

    Returns:
        ``None`` if the target is no Arm, or if ``qemu-system-arm`` is not installed.

    Raises:
        ValueError: the target's compiler is missing or fails.
    """
    machine = _MACHINES.get(file.target.name)
    if machine is None or shutil.which(_QEMU) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write(file, path)
        for part in ("count.c", "count.ld"):
            text = resources.files("hauberk.microcontroller").joinpath(part).read_text()
            (path / part).write_text(text)
        sources = ("count.c", "net.c", "-lgcc")
        built(file.target, ("-nostdlib", "-T", "count.ld", *sources, "-o", "net.elf"), path, name)
        return _TICK * _ticks([_QEMU, "-M", machine, *_QUIET, "-kernel", str(path / "net.elf")])


def _ticks(command: list[str]) -> int:
    """The number that an emulated program writes to its serial line."""
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=null, stdout=pipe, stderr=null) as ran:
        assert ran.stdout is not None
        try:
            return int(ran.stdout.readline())
        finally:
            ran.kill()
