"""A shipped file in a format that other runtimes read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hauberk import api
from hauberk.artifact import OnnxFile

FORMATS: Mapping[str, Callable[[Path, Path], OnnxFile]] = {"onnx": api.export_onnx}


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
        """``{"file", "format", "source", "bytes", "opset", "inputs", "outputs", …}``."""
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
            f"float32, {ports}; it computes what {self.source} does."
        )


def export(source: Path, format: str, out: str | Path = "") -> Exported:
    """Write ``source`` in another format, checked against what it decodes to.

    Args:
        source: an ``.hbk`` file.
        format: one of `FORMATS`.
        out: where; beside the source where it is empty.

    Raises:
        ValueError: an unknown format, or one of `hauberk.api.export_onnx`.
        OSError: a file that cannot be read or written.
    """
    if format not in FORMATS:
        raise ValueError(f"There is no format {format!r}; the formats are {', '.join(FORMATS)}.")
    target = Path(out) if out else source.with_suffix(f".{format}")
    return Exported(target, format, source, FORMATS[format](source, target))
