"""A shipped file in a format that other runtimes read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hauberk.onnx.file import OnnxFile
from hauberk.verbs.export import export_onnx, export_onnx_int8

FORMATS = ("onnx", "onnx-int8")


@dataclass(frozen=True)
class Exported:
    """What `hauberk export` wrote.

    Attributes:
        file: where.
        format: one of `FORMATS`.
        source: the ``.hbk`` file.
        made: what it holds.
    """

    file: Path
    format: str
    source: Path
    made: OnnxFile

    def json(self) -> dict[str, Any]:
        """``{"file", "format", "source", "bytes", "opset", "computes", "inputs", …}``."""
        where = {"file": str(self.file), "format": self.format, "source": str(self.source)}
        return {**where, **self.made.json()}

    def text(self) -> str:
        """The same for a person."""
        facts = self.made.json()
        ports = ", ".join(
            f"{port['name']} ({', '.join(map(str, port['shape']))})"
            for port in (*facts["inputs"], *facts["outputs"])
        )
        return (
            f"{self.file}: {facts['bytes']:,} bytes, {self.format}, opset {self.made.opset}, "
            f"{facts['computes']}, {ports}; it computes {self._exactness()}."
        )

    def _exactness(self) -> str:
        return f"what {self.source} does" + (", rounded to eight bits" if self.made.int8 else "")


def export(
    source: Path,
    format: str,
    out: str | Path = "",
    data: str = "",
    model: nn.Module | None = None,
) -> Exported:
    """Write ``source`` in another format, checked against what it decodes to.

    Args:
        source: an ``.hbk`` file.
        format: one of `FORMATS`.
        out: where; beside the source where it is empty.
        data: what the network was trained on; ``onnx-int8`` needs it.
        model: a module to fill, where the file names no architecture.

    Raises:
        ValueError: an unknown format, missing data, or one of `hauberk.verbs.export_onnx` and
            `hauberk.verbs.export_onnx_int8`.
        OSError: a file that cannot be read or written.
    """
    if format not in FORMATS:
        raise ValueError(f"There is no format {format!r}; the formats are {', '.join(FORMATS)}.")
    ending = "-int8" if format == "onnx-int8" else ""
    target = Path(out) if out else source.with_name(f"{source.stem}{ending}.onnx")
    if format == "onnx":
        return Exported(target, format, source, export_onnx(source, target, model))
    if not data:
        raise ValueError(
            "export --format onnx-int8 was given no --data; give the data that the network was "
            "trained on, whose training images show what range each value needs."
        )
    return Exported(target, format, source, export_onnx_int8(source, data, target, model))
