"""What a file will take of a part, before it is exported: flash, RAM, instructions.

The network is rounded with random images in place of training images. Ranges of activations change
the numbers in the tables, hardly their size: flash is within 5% of that of the exported code. The
target's linker counts the bytes, an emulator the instructions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from hauberk.artifact.artifact import Artifact
from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.emulator import instructions
from hauberk.microcontroller.flash import measured
from hauberk.microcontroller.targets import BuildTarget
from hauberk.ops.random import generator

_IMAGES = 32


@dataclass(frozen=True)
class Footprint:
    """What a network takes of a part.

    Attributes:
        target: name of the target.
        part: the part.
        flash_bytes: code and tables.
        ram_bytes: scratch buffer and image, without the stack.
        instructions: of one image on an Arm; ``None`` for others, and without qemu-system-arm.
    """

    target: str
    part: str
    flash_bytes: int
    ram_bytes: int
    instructions: int | None

    @classmethod
    def of(cls, artifact: Artifact, model: nn.Module, target: BuildTarget) -> Footprint:
        """The footprint of a network.

        Args:
            artifact: the compressed file.
            model: the network decoded from it; it is not modified.
            target: the part.

        Raises:
            ValueError: the network cannot be written as C, does not fit the part's RAM, or the
                target's compiler is missing.
        """
        shape = artifact.about.input_shape
        images = torch.rand(_IMAGES, *shape, generator=generator(0, "footprint"))
        file = CodeFile.encode(artifact, model, images, target)
        flash = measured(file).flash
        return cls(target.name, target.part, flash, file.ram_bytes, instructions(file))

    def json(self) -> dict[str, Any]:
        """The attributes by name."""
        return asdict(self)

    def text(self) -> str:
        """One line for a terminal."""
        count = self.instructions
        time = "" if count is None else f", {count:,} instructions an image"
        return (
            f"{self.target} ({self.part}): {self.flash_bytes:,} bytes of flash, "
            f"{self.ram_bytes:,} bytes of RAM{time}"
        )
