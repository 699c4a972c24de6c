"""Plot the tradeoff: clean and robust accuracy against the bytes of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.evaluation.proportion import Proportion
from hauberk.evaluation.report import Row
from hauberk.plots import style
from hauberk.plots.labels import apart, box, settle, words
from hauberk.plots.style import BLUE, INK, PALE, VERMILION
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation

_CLEAN, _ROBUST = BLUE, VERMILION  # distinguishable in grey too
_APART = 0.018
"""Least distance between two files, as a fraction of the axis, so that none hides another."""


@dataclass(frozen=True)
class Published:
    """A published result, as one point of a curve.

    Attributes:
        name: name of the curve.
        ratio: size as a fraction of the dense float32 size, as its authors count it.
        clean: clean accuracy in [0, 1].
        robust: robust accuracy in [0, 1].
    """

    name: str
    ratio: float
    clean: float
    robust: float


def tradeoff(
    rows: Sequence[Row],
    path: Path,
    *,
    title: str = "",
    published: Sequence[Published] = (),
) -> None:
    """Draw accuracy against bytes as a PNG, each row with its 95% confidence intervals.

    Args:
        rows: results, at least one.
        path: path of the PNG, which is written atomically.
        title: title of the plot; empty for the threat and the attack.
        published: points to compare with, drawn pale.

    Raises:
        ValueError: there are no rows.
        OSError: the folder cannot be written.
    """
    if not rows:
        raise ValueError("No rows were given; give at least one.")
    # at equal sizes more robust rows go right, which frees the space right of the other points
    rows, curves = sorted(rows, key=lambda row: row.robust.accuracy), _curves(published)
    write(path, _png(rows, curves, title or _title(rows)))


def _png(rows: Sequence[Row], curves: Sequence[Sequence[Published]], title: str) -> bytes:
    figure = style.figure(8, 4.8)
    axes = figure.add_subplot()
    dense = rows[0].dense_bytes
    sizes = [row.bytes for row in rows]
    places = apart(sizes, _APART * log(_span(sizes)))
    _frame(axes, [*sizes, *(point.ratio * dense for curve in curves for point in curve)], dense)
    _legend(axes, rows)
    axes.set_title(style.text(title), loc="left", fontsize=12, color=INK, pad=12)
    for curve in curves:
        _draw_published(axes, curve, dense)
    for row, x in zip(rows, places, strict=True):
        _draw(axes, row, x)
    # draw once to fix the layout, because labels are placed by their overlaps
    figure.canvas.draw()
    _label(axes, rows, places, curves)
    return style.png(figure)


def _frame(axes: Axes, sizes: Sequence[float], dense: int) -> None:
    from matplotlib.ticker import FuncFormatter

    pad = _span(sizes) ** 0.1
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / pad, max(sizes) * pad)
    axes.set_ylim(-4, 104)
    axes.set_yticks(range(0, 101, 20))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}%"))
    _log_ticks(axes, _bytes)
    axes.set_xlabel("bytes of the file (equal sizes side by side)", color=INK)
    style.quiet(axes, "y")
    _fraction_axis(axes, dense)


def _legend(axes: Axes, rows: Sequence[Row]) -> None:
    """Say what the points are, and on how many examples: fewer may be attacked than measured."""
    [attack, *others] = dict.fromkeys(row.attack for row in rows)
    clean = _counted("clean", [row.clean_whole for row in rows])
    robust = _counted("under attack" if others else attack, [row.robust for row in rows])
    axes.plot([], [], "o", mfc="white", mec=_CLEAN, mew=1.6, label=style.text(clean))
    axes.plot([], [], "o", color=_ROBUST, label=style.text(robust))
    axes.legend(loc="lower right", frameon=False, labelcolor=[_CLEAN, _ROBUST], handletextpad=0.2)


def _counted(name: str, found: Sequence[Proportion]) -> str:
    """``clean (n = 449)``; the name alone if the counts differ."""
    [n, *others] = {each.n for each in found}
    return name if others else f"{name} (n = {n:,})"


def _fraction_axis(axes: Axes, dense: int) -> None:
    """Add a second axis on top: the fraction of the dense net's bytes."""
    top = axes.twiny()
    top.set_xscale("log")
    top.set_xlim(*(end / dense for end in axes.get_xlim()))
    _log_ticks(top, lambda fraction: f"{100 * fraction:.4g}%")
    top.set_xlabel("fraction of the dense float32 net", color=PALE, fontsize=9)
    top.tick_params(colors=PALE, which="both", labelsize=8, length=2)
    top.spines[:].set_visible(False)


def _log_ticks(axes: Axes, text: Callable[[float], str]) -> None:
    """Put labels at 1, 2 and 5 of each decade, or only at decades if the range is wide."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 500 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, row: Row, x: float) -> None:
    """Draw clean and robust accuracy with their intervals, and a line between them."""
    axes.plot(
        [x, x],
        [100 * row.robust.accuracy, 100 * row.clean_whole.accuracy],
        color="#d0d0d0",
        linewidth=2.5,
        zorder=1,
        solid_capstyle="butt",
    )
    for found, color, face in ((row.clean_whole, _CLEAN, "white"), (row.robust, _ROBUST, _ROBUST)):
        axes.errorbar(
            [x],
            [100 * found.accuracy],
            yerr=_errors(found),
            fmt="o",
            color=color,
            mfc=face,
            mew=1.6,
            markersize=7,
            elinewidth=1.4,
            zorder=3,
        )


def _draw_published(axes: Axes, curve: Sequence[Published], dense: int) -> None:
    """Draw a pale pair of lines, clean and robust."""
    x = [point.ratio * dense for point in curve]
    for face, y in (
        ("white", [100 * point.clean for point in curve]),
        (PALE, [100 * point.robust for point in curve]),
    ):
        axes.plot(x, y, "o--", color=PALE, mfc=face, lw=0.9, markersize=3.5, zorder=0.5)


def _label(
    axes: Axes,
    rows: Sequence[Row],
    places: Sequence[float],
    curves: Sequence[Sequence[Published]],
) -> None:
    """Label each row at its robust point, then each curve at its smaller end."""
    legend = axes.get_legend()
    taken = [legend.get_window_extent()] if legend else []
    for row, x in zip(rows, places, strict=True):
        robust, clean = (100 * part.accuracy for part in (row.robust, row.clean_whole))
        low = 100 * row.robust.ci95[0]
        taken.append(box(axes, (x, low), (x, max(clean, low)), 3))
        taken += [box(axes, (x, y), (x, y), 10) for y in (robust, clean)]
    downwards = sorted(zip(rows, places, strict=True), key=lambda pair: -pair[0].robust.accuracy)
    for row, x in downwards:  # crowded names are then in the order of their points
        name = row.name or Path(row.file).stem
        text = _name(axes, name, (x, 100 * row.robust.accuracy), INK, 9.5)
        settle(axes, text, taken)
        taken.append(words(text))
    dense = rows[0].dense_bytes
    for point, *_ in curves:
        text = _name(axes, point.name, (point.ratio * dense, 100 * point.robust), PALE, 8)
        settle(axes, text, taken)
        taken.append(words(text))


def _name(axes: Axes, name: str, point: tuple[float, float], color: str, size: float) -> Annotation:
    from matplotlib.patheffects import withStroke

    return axes.annotate(
        style.text(name),
        point,
        textcoords="offset points",
        xytext=(0, 0),
        fontsize=size,
        fontweight="bold" if color == INK else "normal",
        color=color,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
        arrowprops={"arrowstyle": "-", "color": color, "lw": 0.6, "shrinkA": 0, "shrinkB": 4},
        zorder=5,
    )


def _curves(published: Sequence[Published]) -> list[list[Published]]:
    names = dict.fromkeys(point.name for point in published)
    ordered = sorted(published, key=lambda point: point.ratio)
    return [[point for point in ordered if point.name == name] for name in names]


def _errors(found: Proportion) -> list[list[float]]:
    low, high = found.ci95
    return [[100 * (found.accuracy - low)], [100 * (high - found.accuracy)]]


def _span(sizes: Sequence[float]) -> float:
    """The ratio of the largest to the smallest size, at least 10."""
    return max(max(sizes) / min(sizes), 10.0)


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g} B"


def _title(rows: Sequence[Row]) -> str:
    attacks = ", ".join(dict.fromkeys(row.attack for row in rows))
    return f"Accuracy against size: clean, and under {attacks} at {rows[0].threat}"
