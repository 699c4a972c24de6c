"""Draws the README's picture from a committed record: accuracy against the bytes of the file.

python docs/pictures.py          docs/assets/tradeoff.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.plots import style
from hauberk.plots.style import BLUE, INK, PALE, VERMILION
from table_text import ROOT, finished

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = {
    "dense": "dense",
    "sized, seed 0": "size\ntarget",
    "ATMC, seed 0": "ATMC",
    "reweighted, seed 0": "reweighted",
    "AL0, seed 0": "AL0",
    "ADMM, seed 0": "ADMM",
    "AP, seed 0": "one-shot\npruning",
}
"""Rows of `methods_mnist.json` in the order in which they are drawn; the first stands apart."""

_GAP = 0.55
"""Between the dense net and the small ones, in columns."""

_END, _SHADE = 0.65, "#f6f6f6"

Row = Mapping[str, Any]


def tradeoff(rows: Mapping[str, Row]) -> bytes:
    """The picture as a PNG.

    Args:
        rows: of `methods_mnist.json` by name; those of `COLUMNS` are drawn.
    """
    figure = style.figure(8, 4.2)
    axes = figure.add_subplot()
    shown = [rows[name] for name in COLUMNS]
    places = [0.0, *(i + _GAP for i in range(1, len(shown)))]
    _frame(axes, shown, places)
    _level(axes, shown[0], places[-1])
    for row, x in zip(shown, places, strict=True):
        _draw(axes, row, x)
    _legend(axes, shown[0])
    return style.png(figure)


def _frame(axes: Axes, rows: list[Row], places: list[float]) -> None:
    axes.set_xlim(places[0] - 0.5, places[-1] + _END)
    axes.set_ylim(58, 101)
    axes.set_yticks(range(60, 101, 10), [f"{tick}%" for tick in range(60, 101, 10)])
    axes.set_xticks(places, list(COLUMNS.values()), fontsize=10)
    style.quiet(axes, "y", ticks=0)
    smallest, largest = min(r["bytes"] for r in rows[1:]), max(r["bytes"] for r in rows[1:])
    middle = (places[1] + places[-1]) / 2
    _size(axes, places[0], f"{rows[0]['bytes'] / 1e3:,.0f} kB", "float32 weights")
    ratio = rows[1]["dense_bytes"] / rows[1]["bytes"]
    small = f"{smallest / 1e3:.1f} to {largest / 1e3:.1f} kB"
    _size(
        axes, middle, small, f"1/{ratio:.0f} of the float32 weights, indices and codebooks included"
    )
    axes.axvspan(places[1] - 0.5, places[-1] + _END, color=_SHADE, zorder=0)
    axes.set_title(
        "lenet:4 on MNIST, ℓ∞ attacks of radius 0.2: accuracy by size of the file",
        loc="left",
        fontsize=11.5,
        color=INK,
        pad=14,
    )


def _size(axes: Axes, x: float, size: str, remark: str) -> None:
    """The bytes of a group of columns, below their names."""
    below = axes.get_xaxis_transform()
    axes.text(x, -0.2, size, transform=below, ha="center", va="top", color=INK,
              fontsize=11, fontweight="bold")  # fmt: skip
    axes.text(x, -0.27, remark, transform=below, ha="center", va="top", color=PALE, fontsize=8.5)


def _level(axes: Axes, dense: Row, end: float) -> None:
    """The dense net's two accuracies, carried across."""
    for accuracy, color in ((_clean(dense), BLUE), (_robust(dense), VERMILION)):
        level = 100 * accuracy["accuracy"]
        axes.plot([0, end + _END], [level, level], ":", color=color, lw=1, zorder=1)


def _draw(axes: Axes, row: Row, x: float) -> None:
    """Two points with 95% intervals, and the line between them: what the attack takes."""
    from matplotlib.patheffects import withStroke

    halo = withStroke(linewidth=4, foreground=_SHADE if x else "white")
    clean, robust = _clean(row), _robust(row)
    ends = [100 * robust["accuracy"], 100 * clean["accuracy"]]
    axes.plot([x, x], ends, color="#d0d0d0", lw=3, zorder=2, solid_capstyle="butt")
    for found, color, face in ((clean, BLUE, "white"), (robust, VERMILION, VERMILION)):
        value = 100 * found["accuracy"]
        low, high = (100 * end for end in found["ci95"])
        axes.errorbar([x], [value], yerr=[[value - low], [high - value]], fmt="o", color=color,
                      mfc=face, mew=1.7, markersize=8, elinewidth=1.5, zorder=3)  # fmt: skip
        axes.text(x + 0.16, value, f"{value:.1f}", color=color, fontsize=9.5, va="center",
                  fontweight="bold", zorder=4, path_effects=[halo])  # fmt: skip


def _legend(axes: Axes, row: Row) -> None:
    clean, robust = (f"n = {found(row)['n']:,}" for found in (_clean, _robust))
    axes.plot([], [], "o", mfc="white", mec=BLUE, mew=1.7, label=f"clean ({clean})")
    axes.plot([], [], "o", color=VERMILION, label=f"under AutoAttack ({robust}, 95% interval)")
    axes.legend(loc="lower left", frameon=False, fontsize=9.5, handletextpad=0.2,
                labelcolor=[BLUE, VERMILION])  # fmt: skip


def _clean(row: Row) -> Any:
    return row["clean_split"]


def _robust(row: Row) -> Any:
    return row["attacks"]["autoattack"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "assets" / "tradeoff.png")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(tradeoff(finished("methods_mnist")))


if __name__ == "__main__":
    main()
