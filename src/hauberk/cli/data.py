"""The summary that ``hauberk data`` prints: shapes, and classes with their counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hauberk.dataset import Data, Examples
from hauberk.plots.contact_sheet import class_name
from hauberk.printable import cell

if TYPE_CHECKING:
    from rich.table import Table


def as_json(data: Data) -> dict[str, Any]:
    """``{"name", "shape", "dtype", "labels", "splits": {…}, "classes": [{"label", …}]}``."""
    return {
        "name": data.name,
        "shape": list(data.shape),
        "dtype": str(data.test.x.dtype).removeprefix("torch."),
        "labels": list(data.labels),
        "splits": {name: len(part) for name, part in _splits(data).items()},
        "classes": [
            {"index": k, "label": class_name(data, k), **counts}
            for k, counts in enumerate(_counts(data))
        ],
        "notes": list(data.notes),
    }


def table(data: Data) -> Table:
    """The same as a table for a terminal."""
    from rich import box
    from rich.table import Table

    channels = {1: "gray", 3: "RGB"}.get(data.shape[0], f"{data.shape[0]} channels")
    size = " × ".join(map(str, data.shape[1:]))
    kind = str(data.test.x.dtype).removeprefix("torch.")
    about = f"{data.name}: {data.classes} classes, {size} pixels, {channels}, {kind}"
    view = Table(
        title=cell(about, "table.title"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        show_footer=True,
    )
    view.add_column("class", "all")
    for name, part in _splits(data).items():
        view.add_column(name, f"{len(part):,}", justify="right")
    view.add_column("share", justify="right")
    whole = sum(len(part) for part in _splits(data).values())
    for k, counts in enumerate(_counts(data)):
        fraction = sum(counts.values()) / whole
        view.add_row(
            cell(class_name(data, k)), *(f"{n:,}" for n in counts.values()), f"{fraction:.1%}"
        )
    return view


def _splits(data: Data) -> dict[str, Examples]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def _counts(data: Data) -> list[dict[str, int]]:
    """For each class, how many examples of it each split has."""
    found = {
        name: torch.bincount(part.y, minlength=data.classes).tolist()
        for name, part in _splits(data).items()
    }
    return [{name: found[name][k] for name in found} for k in range(data.classes)]
