"""Export a compressed network to another format, checked against what the file decodes to.

ONNX takes any batch size, holds its weights and uses standard operators only. ``onnx`` computes in
float32: ``max |f_onnx − f_torch| ≤ 1e-5 max |f_torch|``, checked in ONNX Runtime first. Codebooks
and pruned weights stay small in the file and become dense, bit-exact float32 weights when a runtime
loads it.

``onnx-int8`` computes in 8 bits: weights per output channel, activations in the ranges that the
first 1,000 training images show. ONNX Runtime must agree with the graph in torch on those images:
logits within one 8-bit step, the same answer on 99.9%. Rounding changes the answers, so evaluate
the written file. Both need ``pip install 'hauberk[onnx]'``.

The graph of a generator takes images of one size and gives images, ``output``. In 8 bits it is
calibrated on the first 100 training images, and ONNX Runtime must agree with the graph in torch to
a root mean square of 1/32 of the largest value (see `hauberk.onnx.agreement`).

``c`` writes ``net.c`` and ``net.h``: integers alone, no library, weights coded in flash and
executed in place (see `hauberk.microcontroller.graph`). It is calibrated like ``onnx-int8``;
``hauberk[onnx]`` reads the network for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hauberk.artifact import About, Artifact
from hauberk.data import Given
from hauberk.data import load as load_data
from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.flash import fitting
from hauberk.microcontroller.targets import target_of
from hauberk.networks import module
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.metadata import described
from hauberk.preparation import Size, sides
from hauberk.runtime.notes import note
from hauberk.types import Images

FORMATS = ("onnx", "onnx-int8", "c")
_ROUNDED = ("onnx-int8", "c")
_CALIBRATION = 1000
"""Training images that set the ranges of 8-bit activations."""
_GENERATOR_CALIBRATION = 100
"""The same for a generator, whose activations are as large as its images."""


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        file: where it was written.
        format: one of `FORMATS`.
        source: the ``.hbk`` file.
        made: its content.
        flash: bytes of code and tables of C code on its target; ``None`` for ONNX, and where the
            target's compiler is not installed.
    """

    file: Path
    format: str
    source: Path
    made: OnnxFile | CodeFile
    flash: int | None = None

    def json(self) -> dict[str, Any]:
        """``{"file", "format", "source", "computes", …}``, and the sizes of the format."""
        where = {"file": str(self.file), "format": self.format, "source": str(self.source)}
        flash = {"flash_bytes": self.flash} if isinstance(self.made, CodeFile) else {}
        return {**where, **self.made.json(), **flash}

    def text(self) -> str:
        """One line for a terminal."""
        if isinstance(self.made, CodeFile):
            flash = "" if self.flash is None else f"{self.flash:,} bytes of flash, "
            return (
                f"{self.file}: {flash}{self.made.text()}; it computes what {self.source} does, "
                "rounded."
            )
        facts = self.made.json()
        ports = ", ".join(
            f"{port['name']} ({', '.join(map(str, port['shape']))})"
            for port in (*facts["inputs"], *facts["outputs"])
        )
        rounded = ", rounded to eight bits" if self.made.int8 else ""
        return (
            f"{self.file}: {facts['bytes']:,} bytes, {self.format}, opset {self.made.opset}, "
            f"{facts['computes']}, {ports}; it computes what {self.source} does{rounded}."
        )


def export(
    path: str | Path,
    format: str = "onnx",
    *,
    out: str | Path | None = None,
    data: Given | None = None,
    model: nn.Module | None = None,
    image_size: int | Size | None = None,
    target: str = "host",
) -> Exported:
    """Write the network in a file as ONNX or as C; `hauberk.verbs.export` describes the formats.

    Args:
        path: an ``.hbk`` file.
        format: one of `FORMATS`.
        out: where to write, a path that ends in ``.onnx`` or ``.c``; by default next to ``path``,
            as ``model.onnx``, ``model-int8.onnx`` or ``net.c`` for ``model.hbk``.
        data: the data that the network was trained on; ``onnx-int8`` and ``c`` need it.
        model: a module to fill, where the file names no architecture.
        image_size: for a generator, side of the square in pixels that the graph takes, or height
            and width; by default the size of its training. Photographs for the calibration are
            brought to it, and those of a classifier to the size that its file records.
        target: for ``c``, the part whose memory the code must fit: ``m0``, ``m3``, ``m4``, ``avr``,
            or ``host`` for no limit.

    Raises:
        ValueError: an unknown format or target, a damaged or foreign file, missing data or data
            that do not fit, an image size for a classifier, a missing package, or a network that
            cannot be exported or does not fit the target.
        OSError: a file that cannot be read or written.
    """
    _refuse(format, data)
    part, where = target_of(target), _target(Path(path), out, format)
    artifact = Artifact.load(path)
    net = module(artifact, path, model)
    size = sides(image_size)
    about = described(artifact, size)
    images = _calibration(data, about) if data and format in _ROUNDED else None
    file: OnnxFile | CodeFile
    if images is None:
        file = OnnxFile.encode(artifact, net, image_size=size)
    elif format == "c":
        file = CodeFile.encode(artifact, net, images, part, where.stem)
    else:
        file = OnnxFile.encode_int8(artifact, net, images, image_size=size)
    sizes = fitting(file) if isinstance(file, CodeFile) else None
    file.save(where)
    if isinstance(file, OnnxFile) and format == "onnx" and artifact.about.classes:
        _note_blind(file, where, path)
    return Exported(where, format, Path(path), file, sizes.flash if sizes else None)


def _note_blind(file: OnnxFile, target: Path, path: str | Path) -> None:
    if blind := file.blind:
        note(
            f"{target} runs anywhere, and evaluate attacks it as a black box, without gradients: "
            f"{blind}. Evaluate {path} for an attack with gradients."
        )


def _refuse(format: str, data: Given | None) -> None:
    if format not in FORMATS:
        raise ValueError(f"There is no format {format!r}; the formats are {', '.join(FORMATS)}.")
    if format in _ROUNDED and not data:
        raise ValueError(
            f"export --format {format} was given no --data; give the data that the network was "
            "trained on, whose training images set the range of each activation."
        )


def _calibration(data: Given, about: About) -> Images:
    """The first training images, prepared as the file records; a generator's have its size."""
    if about.classes:
        loaded = load_data(data, recorded=about.photographs)
        return loaded.train.first(_CALIBRATION).images().cpu()
    loaded = load_data(data, recorded=about.input_shape, labelled=False)
    return loaded.train.first(_GENERATOR_CALIBRATION).images().cpu()


def _target(source: Path, out: str | Path | None, format: str) -> Path:
    name = {"onnx": f"{source.stem}.onnx", "onnx-int8": f"{source.stem}-int8.onnx", "c": "net.c"}
    target = Path(out) if out else source.with_name(name[format])
    ending = Path(name[format]).suffix
    if target.suffix.lower() != ending:
        raise ValueError(
            f"The file to write was given as {target}; give a path ending in {ending}."
        )
    return target
