"""The picture of a file: a bar for each layer, split into positions, values and codebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.artifact.artifact import Artifact, Layer
from hauberk.plots import style
from hauberk.plots.style import BLUE, GREEN, INK, ORANGE, PALE
from hauberk.runtime.files import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PARTS = (("where the weights stand", BLUE), ("which value each has", ORANGE),
          ("codebooks", GREEN), ("header and table", PALE))  # fmt: skip
_MOST_BARS = 24
_LEAST_SHARE = 1e-3
"""Layers below this fraction of the file share a bar."""


@dataclass(frozen=True)
class _Bar:
    """One line of the picture: a name, bytes by part in the order of `_PARTS`, a remark."""

    name: str
    parts: tuple[float, float, float, float]
    remark: str

    @property
    def total(self) -> float:
        return sum(self.parts)


def anatomy(artifact: Artifact, path: Path, title: str) -> None:
    """Draw the bytes of each layer as a PNG; layers beyond 24, or below a thousandth, share a bar.

    Args:
        artifact: the file.
        path: of the PNG, written by rename.
        title: names the file.

    Raises:
        OSError: the folder cannot be written.
    """
    share = artifact.nbytes / artifact.dense_bytes if artifact.dense_bytes else 1.0
    about = f"{title}: {artifact.nbytes:,} bytes, {share:.2%} of the dense float32 net"
    write(path, _png(_bars(artifact), about))


def _bars(artifact: Artifact) -> list[_Bar]:
    layers = artifact.layers()
    large = sorted(layers, key=lambda layer: -layer.nbytes)[:_MOST_BARS]
    large = [layer for layer in large if layer.share >= _LEAST_SHARE]
    rest = [layer for layer in layers if layer not in large]
    if len(rest) == 1:  # a bar of its own takes no more room
        large, rest = layers, []
    shown = [layer for layer in layers if layer in large]
    bars = [_Bar(layer.name, _parts([layer]), _remark(layer)) for layer in shown]
    if rest:
        bars.append(_Bar(f"{len(rest)} smaller tensors", _parts(rest), ""))
    whole = float(artifact.nbytes - sum(layer.nbytes for layer in layers))  # as the table has it
    return [*bars, _Bar("header and table", (0.0, 0.0, 0.0, whole), "")]


def _parts(layers: Sequence[Layer]) -> tuple[float, float, float, float]:
    return (
        sum(layer.position_bytes for layer in layers),
        sum(layer.code_bytes for layer in layers),
        sum(layer.codebook_bytes for layer in layers),
        0.0,
    )


def _remark(layer: Layer) -> str:
    """The fraction kept, the bits of a value, and the rank."""
    rank = "" if layer.rank is None else f"rank {layer.rank}, "
    kept = layer.kept / layer.weights if layer.weights else 0.0
    return f"{rank}{100 * kept:.{1 if kept < 0.1 else 0}f}% kept, {layer.bits} bits"


def _png(bars: Sequence[_Bar], title: str) -> bytes:
    figure = style.figure(9, 1.7 + 0.34 * len(bars))
    axes = figure.add_subplot()
    _frame(axes, bars)
    _draw(axes, bars)
    axes.set_title(title, loc="left", fontsize=12, color=INK, pad=30)
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

    axes.set_xlim(0, 1.6 * max(bar.total for bar in bars))  # room for what stands beside the bars
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars])
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
