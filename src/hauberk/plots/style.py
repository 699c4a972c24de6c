"""The style of all pictures: colours, a figure without a screen, plain axes, PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

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
"""Okabe and Ito's colours, which people with any kind of colour vision can distinguish."""


def figure(wide: float, high: float, dpi: int = 160, fitted: bool = True) -> Figure:
    """An empty one, in inches, with a canvas of its own: pyplot, and any window, stay out of it.

    Args:
        wide: of the page.
        high: of the page.
        dpi: pixels an inch.
        fitted: axes make room for what is written around them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(wide, high), dpi=dpi, layout="constrained" if fitted else None)
    FigureCanvasAgg(made)
    return made


def quiet(axes: Axes, grid: Literal["x", "y"], ticks: float = 2) -> None:
    """Remove the frame, draw pale grid lines behind the data, and set the size of the ticks."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both", length=ticks)
    axes.spines[:].set_visible(False)


def png(made: Figure) -> bytes:
    """The figure, as a file's content."""
    buffer = io.BytesIO()
    made.savefig(buffer, format="png")
    return buffer.getvalue()
