"""The log: one row per epoch, as CSV and optionally as TensorBoard events."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.printable import sheet
from hauberk.runtime import schema
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Log:
    """The history of a run; ``metrics.csv`` in the folder always holds all of it.

    Args:
        out: folder, or ``None`` to keep the rows in memory only.
        tensorboard: also write events; needs the extra ``hauberk[tensorboard]``.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, out: Path | None, tensorboard: bool) -> None:
        self.out = out
        self.history: list[dict[str, Any]] = []
        self.events = _writer(out) if out and tensorboard else None

    def add(self, row: Mapping[str, Any]) -> None:
        """Append an epoch and write the files."""
        self.history.append(dict(row))
        self._write()
        if self.events:
            for name, value in row.items():
                if isinstance(value, float):
                    self.events.add_scalar(f"{row['stage']}/{name}", value, len(self.history))

    def tree(self) -> dict[str, Any]:
        """The rows so far."""
        return {"history": self.history}

    def load(self, tree: dict[str, Any]) -> None:
        """Go on from the rows of a checkpoint; later rows of ``metrics.csv`` are overwritten.

        Raises:
            Misfit: no log wrote them.
        """
        schema.keys(tree, ("history",), "the log")
        schema.conforms(tree["history"], Sequence[Mapping[str, float | str]], "the log")
        for row in tree["history"]:
            if type(row.get("stage")) is not str or type(row.get("epoch")) is not int:
                raise schema.Misfit("a row of the log names no stage and epoch")
        self.history = list(tree["history"])
        self._write()

    def close(self) -> None:
        """Flush buffered events."""
        if self.events:
            self.events.close()

    def _write(self) -> None:
        if not self.out:
            return
        columns = list(dict.fromkeys(name for row in self.history for name in row))
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(map(sheet, columns))
        table.writerows([sheet(row.get(name, "")) for name in columns] for row in self.history)
        write(self.out / "metrics.csv", text.getvalue().encode())


def _writer(out: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard logs were requested but tensorboard is not installed; "
            "run pip install 'hauberk[tensorboard]' or leave --tensorboard out."
        ) from error
    return SummaryWriter(out / "tensorboard")
