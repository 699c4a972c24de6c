"""Plot the anatomy of a file: one bar per layer, split into positions, values and codebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.artifact.artifact import Artifact
from hauberk.artifact.layers import Layer
from hauberk.plots import style
from hauberk.plots.style import BLUE, GREEN, INK, ORANGE, PALE
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = (("positions", BLUE), ("values", ORANGE),
          ("codebooks", GREEN), ("header and table", PALE))  # fmt: skip
_MOST_BARS = 24
_LEAST_FRACTION = 1e-3
"""Layers below this fraction of the file are drawn as one bar."""


@dataclass(frozen=True)
class _Bar:
    """One bar: its name, its bytes by part in the order of `_PARTS`, and a remark."""

    name: str
    parts: tuple[float, float, float, float]
    remark: str

    @property
    def total(self) -> float:
        return sum(self.parts)


def anatomy(artifact: Artifact, path: Path, title: str) -> None:
    """Draw the bytes of each layer as a PNG.

    Only the 24 largest layers of at least 0.1% of the file have their own bar; the others are drawn
    as one.

    Args:
        artifact: the file to draw.
        path: path of the PNG, which is written atomically.
        title: name of the file, for the title.

    Raises:
        OSError: the folder cannot be written.
    """
    fraction = artifact.nbytes / artifact.dense_bytes if artifact.dense_bytes else 1.0
    about = f"{title}: {artifact.nbytes:,} bytes, {fraction:.2%} of the dense float32 net"
    write(path, _png(_bars(artifact), about))


def _bars(artifact: Artifact) -> list[_Bar]:
    layers = artifact.layers()
    large = sorted(layers, key=lambda layer: -layer.nbytes)[:_MOST_BARS]
    large = [layer for layer in large if layer.share >= _LEAST_FRACTION]
    rest = [layer for layer in layers if layer not in large]
    if len(rest) == 1:  # its own bar takes no more room
        large, rest = layers, []
    shown = [layer for layer in layers if layer in large]
    bars = [_Bar(layer.name, _parts([layer]), _remark(layer)) for layer in shown]
    if rest:
        bars.append(_Bar(f"{len(rest)} smaller tensors", _parts(rest), ""))
    whole = float(artifact.nbytes - sum(layer.nbytes for layer in layers))  # the table's rounding
    return [*bars, _Bar("header and table", (0.0, 0.0, 0.0, whole), "")]


def _parts(layers: Sequence[Layer]) -> tuple[float, float, float, float]:
    return (
        sum(layer.position_bytes for layer in layers),
        sum(layer.code_bytes for layer in layers),
        sum(layer.codebook_bytes for layer in layers),
        0.0,
    )


def _remark(layer: Layer) -> str:
    """The rank, the fraction kept, and the bits of a value."""
    rank = "" if layer.rank is None else f"rank {layer.rank}, "
    kept = layer.kept / layer.weights if layer.weights else 0.0
    return f"{rank}{100 * kept:.{1 if kept < 0.1 else 0}f}% kept, {layer.bits} bits"


def _png(bars: Sequence[_Bar], title: str) -> bytes:
    figure = style.figure(9, 1.7 + 0.34 * len(bars))
    axes = figure.add_subplot()
    _frame(axes, bars)
    _draw(axes, bars)
    axes.set_title(style.text(title), loc="left", fontsize=12, color=INK, pad=30)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        labelcolor=INK,
        fontsize=9,
        borderaxespad=0.4,
        handlelength=1.2,
        handleheight=1.0,
        borderpad=0,
    )
    return style.png(figure)


def _frame(axes: Axes, bars: Sequence[_Bar]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_xlim(0, 1.6 * max(bar.total for bar in bars))  # room for the text right of the bars
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [style.text(bar.name) for bar in bars])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("bytes", color=INK, loc="left")
    style.quiet(axes, "x", ticks=0)


def _draw(axes: Axes, bars: Sequence[_Bar]) -> None:
    from matplotlib.transforms import ScaledTranslation

    places = range(len(bars))
    left = [0.0] * len(bars)
    for i, (label, color) in enumerate(_PARTS):
        widths = [bar.parts[i] for bar in bars]
        axes.barh(places, widths, 0.66, left, color=color, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    whole = sum(left)
    figure = axes.get_figure(root=True)
    assert figure is not None
    aside = axes.transData + ScaledTranslation(6 / 72, 0, figure.dpi_scale_trans)
    for place, bar in zip(places, bars, strict=True):
        size = f"{bar.total:,.0f}  {bar.total / whole:.1%}"
        axes.text(bar.total, place, size, va="center", color=INK, fontsize=9, transform=aside)
        axes.text(
            1.0,
            place,
            bar.remark,
            ha="right",
            va="center",
            color=PALE,
            fontsize=8.5,
            transform=axes.get_yaxis_transform(),
        )
