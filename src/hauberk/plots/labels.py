"""Place marks and labels in a picture without overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# offsets in points, in order of preference: right, left, below, above
_PLACES = (
    *((9, -3), (9, -11), (9, 5), (9, -20), (9, 14), (9, -29)),
    *((-9, -3), (-9, -11), (0, -17), (0, 12), (-9, 5)),
    *((-9, -20), (0, -27), (-9, -29), (9, -38), (9, 23), (-9, 14)),
)


def apart(sizes: Sequence[float], gap: float) -> list[float]:
    """The places on a log axis that are nearest to ``sizes`` and at least a gap apart.

    Crowded sizes form one block around their mean, in the order in which they are given.

    Args:
        sizes: positive numbers in any order.
        gap: least distance between the natural logarithms of two places.

    Returns:
        one place for each size, in the order of ``sizes``.
    """
    blocks = [[i] for i in sorted(range(len(sizes)), key=lambda i: sizes[i])]

    def start(block: Sequence[int]) -> float:
        mean = sum(log(sizes[i]) for i in block) / len(block)
        return mean - gap * (len(block) - 1) / 2

    k = 0
    while k + 1 < len(blocks):
        if start(blocks[k + 1]) < start(blocks[k]) + gap * len(blocks[k]):
            blocks[k : k + 2] = [blocks[k] + blocks[k + 1]]
            k = max(k - 1, 0)  # the wider block may now overlap the previous one
        else:
            k += 1
    places = [0.0] * len(sizes)
    for block in blocks:
        for position, i in enumerate(sorted(block)):
            places[i] = exp(start(block) + position * gap)
    return places


def settle(axes: Axes, text: Annotation, taken: Sequence[Bbox]) -> None:
    """Move a label to the place around its point with the least overlap.

    Args:
        axes: the axes that the label belongs to.
        text: the label.
        taken: boxes to avoid, in pixels.
    """
    inside = axes.get_window_extent()

    def cost(place: tuple[int, int]) -> float:
        box = _put(text, place)
        outside = box.width * box.height - overlap(box, inside)
        return sum(overlap(box, other) for other in taken) + 3 * outside

    _put(text, min(_PLACES, key=cost))


def words(text: Annotation) -> Bbox:
    """The box of a label's text in pixels, without the line to its point."""
    from matplotlib.text import Text

    text.update_positions(text.get_figure(root=True).canvas.get_renderer())  # type: ignore[union-attr]
    return Text.get_window_extent(text)


def box(axes: Axes, low: tuple[float, float], high: tuple[float, float], margin: float) -> Bbox:
    """The box between two points of the data, in pixels.

    Args:
        axes: the axes of the points.
        low: lower left corner, in data coordinates.
        high: upper right corner, in data coordinates.
        margin: pixels added on each side.
    """
    from matplotlib.transforms import Bbox

    (left, bottom), (right, top) = axes.transData.transform([low, high])
    return Bbox.from_extents(left - margin, bottom - margin, right + margin, top + margin)


def overlap(a: Bbox, b: Bbox) -> float:
    """The area of the intersection of two boxes, in square pixels."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def _put(text: Annotation, place: tuple[int, int]) -> Bbox:
    x = place[0]
    text.set_position(place)
    text.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
    return words(text)
