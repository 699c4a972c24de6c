"""One row per epoch, as CSV and, where asked for, as TensorBoard events."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.runtime.files import write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Log:
    """The history of a run; ``metrics.csv`` in the folder is always the whole of it.

    Args:
        out: folder, or ``None`` to keep the rows in memory alone.
        tensorboard: also write events, for which the extra ``hauberk[tensorboard]`` is needed.
    """

    def __init__(self, out: Path | None, tensorboard: bool) -> None:
        self.out = out
        self.history: list[dict[str, Any]] = []
        self.events = _writer(out) if out and tensorboard else None

    def add(self, row: Mapping[str, Any]) -> None:
        """One more epoch."""
        self.history.append(dict(row))
        self._write()
        if self.events:
            for name, value in row.items():
                if isinstance(value, float):
                    self.events.add_scalar(f"{row['stage']}/{name}", value, len(self.history))

    def restore(self, history: list[dict[str, Any]]) -> None:
        """Go on from a checkpoint's rows: later ones were never part of this run."""
        self.history = list(history)
        self._write()

    def close(self) -> None:
        """Flush what is buffered."""
        if self.events:
            self.events.close()

    def _write(self) -> None:
        if not self.out:
            return
        columns = list(dict.fromkeys(name for row in self.history for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.history)
        write(self.out / "metrics.csv", text.getvalue().encode())


def _writer(out: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "TensorBoard logs were asked for but tensorboard is not installed; "
            "run pip install 'hauberk[tensorboard]' or leave --tensorboard out."
        ) from error
    return SummaryWriter(out / "tensorboard")
