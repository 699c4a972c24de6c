"""C code compiled for this computer and loaded: ``x ↦ logits`` by the very code that ships."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.reference import Reference
from hauberk.microcontroller.targets import TARGETS, BuildTarget
from hauberk.types import Images

_DRIVER = """
#include "net.c"
void net_batch(const uint8_t *x, int8_t *logits, int32_t *classes, int32_t count)
{
    int32_t i;
    for (i = 0; i < count; i++, x += NET_INPUTS, logits += NET_CLASSES)
        classes[i] = net_predict(x, logits);
}
"""
_TIMEOUT = 120
_QUOTED = 200


class Compiled(nn.Module):
    """A C file on this computer's processor, without gradients.

    A deep copy is the same object, because the code has no state between calls.
    """

    def __init__(self, file: CodeFile, name: str = "The C file", flags: Sequence[str] = ()) -> None:
        """Compile and load the code.

        Args:
            file: the C file.
            name: subject of errors, such as the file's path.
            flags: more flags of the compiler.

        Raises:
            ValueError: there is no C compiler, or it fails.
        """
        super().__init__()
        self.name, self.graph = name, file.graph
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            write(file, path)
            (path / "driver.c").write_text(_DRIVER)
            library = path / "net.so"
            host = TARGETS["host"]
            built(host, (*flags, "-shared", "-fPIC", "driver.c", "-o", library.name), path, name)
            self._run: Any = ctypes.CDLL(str(library)).net_batch

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class): int8 values, and half a step more for the class."""
        whole, classes = self.predict((x.detach() * 255).round().clamp(0, 255).to(torch.uint8))
        half = torch.nn.functional.one_hot(classes, whole.shape[1]) / 2
        return (whole + half).to(x.device, x.dtype)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The int8 logits (batch, class) and the classes (batch,) of uint8 images, on the CPU.

        Raises:
            ValueError: the images have another shape.
        """
        pixels = np.ascontiguousarray(x.cpu().numpy().reshape(len(x), -1))
        if pixels.dtype != np.uint8 or pixels.shape[1] != self.graph.image.size:
            raise ValueError(
                f"{self.name} takes images of {self.graph.image.shape}, got {tuple(x.shape[1:])}; "
                "give data of the shape that the network was trained on."
            )
        logits = np.zeros((len(x), self.graph.classes), np.int8)
        classes = np.zeros(len(x), np.int32)
        places = (array.ctypes.data_as(ctypes.c_void_p) for array in (pixels, logits, classes))
        self._run(*places, ctypes.c_int32(len(x)))
        return torch.from_numpy(logits), torch.from_numpy(classes).long()

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        return self


def write(file: CodeFile, folder: Path) -> None:
    """Write ``net.c`` and ``net.h`` into a folder, whatever the file is called."""
    same = file if file.stem == "net" else CodeFile(file.graph, file.about, file.target)
    same.save(folder / "net.c")


def built(target: BuildTarget, arguments: Sequence[str], folder: Path, name: str) -> None:
    """Run a target's compiler in a folder.

    Args:
        target: the target.
        arguments: after the target's own flags.
        folder: where it runs.
        name: subject of errors.

    Raises:
        ValueError: the compiler is missing or fails.
    """
    require(target)
    command = [target.compiler, *target.flags, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode:
        said = " ".join(done.stderr.split())[:_QUOTED]
        raise ValueError(f"{name} is refused by {target.compiler} ({said}).")


def require(target: BuildTarget) -> None:
    """Check that the compiler of a target is installed.

    Raises:
        ValueError: it is not; the message names its Debian package.
    """
    if shutil.which(target.compiler) is None:
        raise ValueError(
            f"The compiler {target.compiler} is not installed; install the Debian package "
            f"{target.package}."
        )


def agree(code: Compiled, twin: Reference, x: Images) -> None:
    """Check that the compiled code and the reference give the same integers for some images.

    Args:
        code: the compiled code.
        twin: its reference.
        x: images, (batch, channel, height, width), in [0, 1].

    Raises:
        ValueError: they differ.
    """
    with torch.no_grad():
        if not torch.equal(code(x), twin(x)):
            raise ValueError(
                f"{code.name} computes other integers than its reference in torch; report it as a "
                "fault of hauberk, with the file."
            )
