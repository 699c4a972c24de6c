"""A network as C: ``net.c`` and ``net.h``, made from the integer graph and read again.

The comment of ``net.c`` holds the integer graph. A reader writes the C code for it once more and
accepts the file only if it is the same text, so that nothing but hauberk's own code is compiled.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from hauberk.artifact.artifact import Artifact
from hauberk.artifact.format import About, ArtifactError
from hauberk.microcontroller import description
from hauberk.microcontroller.coding import Coding, smallest
from hauberk.microcontroller.graph import IntegerGraph, Shape
from hauberk.microcontroller.memory import Memory, plan
from hauberk.microcontroller.operators import lower, refuse_operators
from hauberk.microcontroller.reference import Reference
from hauberk.microcontroller.source import body
from hauberk.microcontroller.sums import NoCode
from hauberk.microcontroller.targets import BuildTarget, target_of
from hauberk.onnx.export import trace
from hauberk.onnx.int8 import quantize, ranges
from hauberk.onnx.metadata import described
from hauberk.runtime import files
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST_FILE = 1 << 24
_BATCH = 250
_LOGIT_ROOM = 2
"""Largest logit that int8 holds, over the largest one on the calibration images."""
_MARK = "hauberk:\n"
_NEVER = "cannot be written as C"


@dataclass(frozen=True, eq=False)
class CodeFile:
    """A network as C code.

    Attributes:
        graph: the network in integers.
        about: the description of the file that it was made from, always with ``dense_bytes``.
        target: the part that its memory is planned for.
        stem: name of the files without their endings.
    """

    graph: IntegerGraph
    about: About
    target: BuildTarget
    stem: str = "net"

    @classmethod
    def encode(
        cls,
        artifact: Artifact,
        model: nn.Module,
        images: Images,
        target: BuildTarget,
        stem: str = "net",
    ) -> CodeFile:
        """Round a network to integers and write it as C.

        Args:
            artifact: the compressed file, for its description of the network.
            model: the network decoded from it; it is not modified.
            images: training images, (count, channel, height, width), in [0, 1], that set the
                ranges of the activations.
            target: the part that the code is for.
            stem: name of the files without their endings.

        Raises:
            ValueError: the images have another shape, ``hauberk[onnx]`` is not installed, the
                network has an operator without C code or sums that 32 bits may not hold, or it
                does not fit the part's memory.
        """
        about = described(artifact, None)
        _refuse(about, images)
        try:
            graph = _integers(model, about.input_shape, images)
        except NoCode as reason:
            raise ValueError(f"The network {_NEVER}: {reason}; export it as onnx-int8.") from None
        if graph.layers[-1].output.size != about.classes:
            raise ValueError(f"The network {_NEVER}: its output is no row of logits.")
        graph.refuse_overflow()
        file = cls(graph, about, target, stem)
        file.refuse_memory()
        return file

    @classmethod
    def from_bytes(cls, content: bytes, name: str, stem: str) -> CodeFile:
        """The network in the bytes of a ``.c`` file.

        Args:
            content: the file.
            name: subject of errors, such as the file's path.
            stem: name of the file without its ending.

        Raises:
            ArtifactError: hauberk did not write the file, or it was damaged or changed.
        """
        text = content.decode("ascii", errors="replace")
        begin = text.find(_MARK)
        if begin < 0:
            raise ArtifactError(f"{name} was not written by hauberk; {description.OURS}.")
        held = text[begin + len(_MARK) :].partition("*/")[0]
        graph, about, target = description.read(held, name)
        try:
            file = cls(graph, about, target_of(target), stem)
            same = file.source == text
        except (ValueError, KeyError, IndexError, AssertionError, ArithmeticError, TypeError):
            same = False
        if not same:
            raise ArtifactError(
                f"{name} was changed after its export, or another version of hauberk wrote it; "
                "export it again."
            )
        return file

    @classmethod
    def load(cls, path: str | Path) -> CodeFile:
        """The network in the ``.c`` file at ``path``.

        Raises:
            ArtifactError: hauberk did not write the file, or it was damaged or changed.
            OSError: it is missing, cannot be read, or is too large.
        """
        path = Path(path)
        return cls.from_bytes(files.read(path, "a .c file", LARGEST_FILE), str(path), path.stem)

    def save(self, path: str | Path) -> None:
        """Write ``path`` and the header with the ending ``.h`` next to it.

        Raises:
            OSError: the folder cannot be written or the disk is full.
        """
        path = Path(path)
        files.write(path.with_suffix(".h"), self.header.encode())
        files.write(path, self.source.encode())

    @cached_property
    def coding(self) -> Coding:
        """How the weights are coded."""
        return smallest(self.graph, self.target.entropy_code)

    @cached_property
    def memory(self) -> Memory:
        """Where activations and sums lie in RAM."""
        return plan(self.graph, self._room)

    @property
    def _room(self) -> int | None:
        """Bytes of RAM for the scratch buffer: what stack and image leave."""
        target = self.target
        return target.ram - target.stack - self.graph.image.size if target.bounded else None

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM: the scratch buffer and the image."""
        return self.memory.nbytes + self.graph.image.size

    def json(self) -> dict[str, Any]:
        """The target, sizes, inputs and outputs, for JSON."""
        return {
            "computes": "integers",
            "target": self.target.name,
            "weights": sum(layer.weights for layer in self.graph.layers),
            "weight_bytes": len(self.coding.stream),
            "entropy_coded": self.coding.entropy,
            "scratch_bytes": self.memory.nbytes,
            "dense_bytes": self.about.dense_bytes,
            "inputs": [{"name": "x", "dtype": "uint8", "shape": list(self.graph.image.shape)}],
            "outputs": [{"name": "logits", "dtype": "int8", "shape": [self.graph.classes]}],
        }

    def text(self) -> str:
        """The same as a clause for a terminal."""
        facts = self.json()
        return (
            f"C for {self.target.name} ({self.target.part}), {facts['weights']:,} weights in "
            f"{facts['weight_bytes']:,} bytes, {facts['scratch_bytes']:,} bytes of scratch RAM"
        )

    @cached_property
    def header(self) -> str:
        """The content of the ``.h`` file."""
        guard = re.sub(r"\W", "_", self.stem).upper() + "_H"
        return "\n".join(
            (
                f"#ifndef {guard}",
                f"#define {guard}",
                "#include <stdint.h>",
                "#ifdef __cplusplus",
                'extern "C"',
                "#endif",
                "/* The class of an image, and its logits; see the comment of the .c file. */",
                "int net_predict(const uint8_t *x, int8_t *logits);",
                f"#define NET_INPUTS {self.graph.image.size}",
                f"#define NET_CLASSES {self.graph.classes}",
                f"#define NET_RAM {self.memory.nbytes} /* bytes of scratch memory */",
                "#endif",
                "",
            )
        )

    @cached_property
    def source(self) -> str:
        """The content of the ``.c`` file."""
        code = body(self.graph, self.coding, self.memory)
        held = description.written(self.graph, self.about, self.target.name)
        notes = "\n".join(f"   {line}" for line in self._notes())
        include = f'#include "{self.stem}.h"'
        return f"/*\n{notes}\n\n   {_MARK}{held}\n*/\n{include}\n\n{code}"

    def _notes(self) -> list[str]:
        """What a reader of the C file must know, line by line."""
        channels, height, width = self.graph.image.shape
        about, last = self.about, self.graph.layers[-1].output
        labels = ", ".join(f"{i} {_ascii(label)}" for i, label in enumerate(about.labels))
        return [
            "Written by hauberk export --format c; do not edit.",
            "",
            f"x       {channels} x {height} x {width} pixels, channel by channel, row by row: "
            "0 is black, 255 is 1.0",
            f"logits  {last.shape[0]}, in steps of {last.scale:.6g}; net_predict returns the class",
            *([f"classes {labels}"] if labels else []),
            f"memory  {self.memory.nbytes} bytes of RAM besides x, logits and the stack",
            f"weights {sum(layer.weights for layer in self.graph.layers)} that are not zero, "
            f"{len(self.coding.stream)} bytes, "
            + ("static rANS" if self.coding.entropy else "fixed width"),
            f"target  {self.target.name} ({self.target.part})",
        ]

    def refuse_memory(self) -> None:
        """Check that the network fits the target's memory.

        Raises:
            ValueError: it does not; the message says by how much.
        """
        room, target = self._room, self.target
        if room is None:
            return
        if (over := self.memory.nbytes - room) > 0:
            raise ValueError(
                f"The network needs {self.memory.nbytes:,} bytes of scratch RAM and "
                f"{self.graph.image.size:,} for the image, which is {over:,} bytes more than "
                f"{target.part} has ({target.ram:,} with {target.stack} for the stack); give a "
                "network with smaller activations, or another --target."
            )


def _ascii(text: str) -> str:
    """A label that can stand in a comment."""
    return re.sub(r"[^ -~]|(?<=\*)/|(?<=/)\*|\\", "?", text)


def _refuse(about: About, images: Images) -> None:
    if not about.classes:
        raise ValueError(f"An image-to-image network {_NEVER}; export it as onnx or onnx-int8.")
    if len(about.input_shape) != 3:
        raise ValueError(
            f"A network on inputs of shape {about.input_shape} {_NEVER}; give one on images, "
            "(channel, height, width)."
        )
    if len(images) == 0 or tuple(images.shape[1:]) != about.input_shape:
        raise ValueError(
            f"The calibration images have the shape {tuple(images.shape)}; give one or more of "
            f"shape {about.input_shape}, those that the network was trained on."
        )


def _integers(model: nn.Module, shape: tuple[int, ...], images: Images) -> IntegerGraph:
    """The integer graph of a network, with logits that int8 holds."""
    channels, height, width = shape
    image: Shape = (channels, height, width)
    float_graph = trace(model, image, fold=True)
    refuse_operators(float_graph)
    batches = torch.split(images, _BATCH)
    whole = _quantized(float_graph, batches)
    largest = max(_largest_logit(lower(whole, image, 1.0), x) for x in batches)
    step = _LOGIT_ROOM * largest / 127 or 1.0
    return lower(whole, image, step)


def _quantized(graph: ModelProto, batches: tuple[Images, ...]) -> ModelProto:
    quantize(graph, ranges(graph, batches), codebooks=True)
    return graph


def _largest_logit(graph: IntegerGraph, x: Images) -> float:
    return float(Reference(graph).real(x).abs().max())
