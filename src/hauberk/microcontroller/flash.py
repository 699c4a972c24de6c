"""Bytes of flash and RAM of a C file, as the target's linker and ``size`` count them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.compiled import built, write

_BARE = ("-nostdlib", "-Wl,-e,net_predict", "-Wl,--gc-sections")


@dataclass(frozen=True)
class Sizes:
    """What a C file takes of a part's memory.

    Attributes:
        flash: bytes of code and tables, with the compiler's own arithmetic.
        ram: bytes of static RAM.
    """

    flash: int
    ram: int


def measured(file: CodeFile, name: str = "The C file") -> Sizes:
    """Compile a C file for its target, link it alone, and count.

    Args:
        file: the C file.
        name: subject of errors, such as the file's path.

    Raises:
        ValueError: the compiler is missing or fails.
    """
    target = file.target
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write(file, path)
        if target.bounded:
            # linked without a library of C, which the code does not need
            arguments: tuple[str, ...] = ("net.c", "-lgcc", *_BARE, "-o", "net.o")
        else:
            arguments = ("-c", "net.c", "-o", "net.o")
        built(target, arguments, path, name)
        done = subprocess.run(
            [target.size, "net.o"], cwd=path, capture_output=True, text=True, check=True
        )
    text, data, bss = map(int, done.stdout.splitlines()[1].split()[:3])
    return Sizes(text + data, data + bss)


def installed(file: CodeFile) -> bool:
    """Whether the compiler of the file's target is installed."""
    return shutil.which(file.target.compiler) is not None


def fitting(file: CodeFile, name: str = "The network") -> Sizes | None:
    """The sizes of a C file for a part, after a check that they fit it.

    Args:
        file: the C file.
        name: subject of errors.

    Returns:
        ``None`` if the target's compiler is not installed.

    Raises:
        ValueError: the code needs more flash than the part has; the message says how much more.
    """
    if not installed(file):
        return None
    sizes, target = measured(file, name), file.target
    if target.bounded and sizes.flash > target.flash:
        raise ValueError(
            f"{name} needs {sizes.flash:,} bytes of flash, which is "
            f"{sizes.flash - target.flash:,} bytes more than {target.part} has "
            f"({target.flash:,}); compress it further, or give another --target."
        )
    return sizes


def code_bytes(file: CodeFile, name: str = "The C file") -> int:
    """Bytes of flash of a C file, code and tables.

    Args:
        file: the C file.
        name: subject of errors, such as the file's path.

    Raises:
        ValueError: the target's compiler is missing or fails.
    """
    return measured(file, name).flash
