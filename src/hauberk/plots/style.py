"""The style of all plots: colours, figures without a display, plain axes, PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from hauberk.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE, GRID = "#333333", "#8a8a8a", "#e6e6e6"
BLUE, ORANGE, GREEN, PINK, SKY, VERMILION = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
)
"""Okabe and Ito's palette, which is safe for colour-blind readers."""


def figure(wide: float, high: float, dpi: int = 160, fitted: bool = True) -> Figure:
    """An empty figure with its own canvas; it needs neither pyplot nor a display.

    Args:
        wide: width in inches.
        high: height in inches.
        dpi: pixels per inch.
        fitted: whether axes shrink to leave room for their labels and titles.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(wide, high), dpi=dpi, layout="constrained" if fitted else None)
    FigureCanvasAgg(made)
    return made


def text(words: object) -> str:
    """The words for a picture, escaped; a dollar sign starts no formula."""
    return printable(words).replace("$", r"\$")


def quiet(axes: Axes, grid: Literal["x", "y"], ticks: float = 2) -> None:
    """Remove the frame, draw pale grid lines behind the data, and set the length of the ticks.

    Args:
        axes: the axes to style.
        grid: axis whose grid lines are drawn.
        ticks: length of the ticks in points.
    """
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both", length=ticks)
    axes.spines[:].set_visible(False)


def png(made: Figure) -> bytes:
    """The figure as the bytes of a PNG."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png")
    return buffer.getvalue()
