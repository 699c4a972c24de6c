"""Plot the weight of each threat by epoch, for training against several threats."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.plots import style
from hauberk.plots.style import BLUE, GREEN, INK, ORANGE, PALE, PINK, SKY, VERMILION
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, VERMILION)
_WEIGHT, _ROBUST = "weight_", "val_robust_"


def named(history: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the threats whose weights are in a log, ``["linf", "l2"]``; empty for one threat."""
    columns = dict.fromkeys(column for row in history for column in row)
    return [column.removeprefix(_WEIGHT) for column in columns if column.startswith(_WEIGHT)]


def draw(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw each threat's weight and validation accuracy by epoch as a PNG.

    Args:
        history: rows of a run's log, with ``weight_NAME`` for each threat of `named`.
        path: path of the PNG, which is written atomically.

    Raises:
        ValueError: no row has the weight of a threat.
        OSError: the folder cannot be written.
    """
    names = named(history)
    if not names:
        raise ValueError("The log has no threat weights; give the log of a run on several threats.")
    write(path, _png([row for row in history if f"{_WEIGHT}{names[0]}" in row], names))


def _png(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> bytes:
    figure = style.figure(8, 5.2)
    robust, weights = figure.subplots(2, 1, sharex=True)
    epochs = range(1, len(rows) + 1)
    fractions = [[100 * float(row[f"{_WEIGHT}{name}"]) for row in rows] for name in names]
    colours = [_COLOURS[i % len(_COLOURS)] for i in range(len(names))]
    weights.stackplot(epochs, fractions, colors=colours, alpha=0.85)
    marker = "o" if len(rows) < 40 else ""
    for name, colour in zip(names, colours, strict=True):
        known = [100 * float(row.get(f"{_ROBUST}{name}", "nan")) for row in rows]
        robust.plot(epochs, known, marker, ls="-", ms=3, color=colour, clip_on=False)
    robust.set_title("Accuracy under each threat, validation images", loc="left", color=INK)
    weights.set_title("Weight in the loss, mean over the epoch", loc="left", color=INK)
    weights.set_xlabel("epoch", color=INK)
    weights.set_xlim(1, max(2, len(rows)))
    for axes in (robust, weights):
        _frame(axes, rows)
    _name_stages(robust, rows)
    handles = robust.get_lines()[: len(names)]
    figure.legend(
        handles,
        [style.text(name) for name in names],
        loc="outside right upper",
        frameon=False,
        labelcolor=INK,
    )
    return style.png(figure)


def _frame(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(0, 100)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}%"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.quiet(axes, "y")
    for number, (row, after) in enumerate(pairwise(rows), 1):
        if after["stage"] != row["stage"]:
            axes.axvline(number + 0.5, color=PALE, lw=0.8)


def _name_stages(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    stages = [row["stage"] for row in rows]
    for number, (before, stage) in enumerate(pairwise([None, *stages])):
        if stage != before:
            at = number + 0.5 if number else 1
            axes.annotate(
                style.text(stage),
                (at, 100),
                textcoords="offset points",
                xytext=(3, -3),
                va="top",
                fontsize=8,
                color=PALE,
            )
