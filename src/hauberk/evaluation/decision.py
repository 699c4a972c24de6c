"""An attack that sees answers alone: it walks along the boundary, nearer and nearer to the image.

z ← boundary point on the way from x to z + ξ · steepest( Σ_j φ(z + δ u_j) u_j ),  φ = ±1 if wrong
z ← z with the change of a block of pixels reversed, if it stays wrong nearer to x;  smaller blocks

Distances are in radii of the threat, ``t``: the point at distance t is the projection onto the set
that is t times as large, so the same code serves every norm. A search starts at images of other
classes, in noise and at adversarial points of another net, and ends inside the threat.

Sources: the first line is HopSkipJump (Chen, Jordan and Wainwright, 2020, arXiv 1904.02144), the
second RayS (Chen and Gu, 2020, arXiv 2006.12792). Departures: many starts; projection onto the
scaled set for the binary search. In norms other than ℓ∞ directions and steps are of ℓ2 (ℓ1's own
steepest step is one pixel), rounds and queries are more, and a block is also set to zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.attacks import PGD
from hauberk.attacks.losses import margin
from hauberk.evaluation.proportion import Mask
from hauberk.evaluation.subject import Subject, agrees
from hauberk.ops.random import generator, normal_like
from hauberk.threat import Threat
from hauberk.threats import L2, Linf
from hauberk.types import Images

_FARTHEST = 32.0
"""Radii within which a start must lie."""
_SMALLER = 0.999
"""A block is reversed if the point stays wrong at this fraction of its distance."""
_NEAR, _ROUNDS, _QUERIES = 0.1, 2, 3
"""In other norms than ℓ∞: distance of the points asked, in that of z; factors for the settings."""
_UNIT = L2(1.0)
_ROWS = 2000
"""Images that are classified at a time."""


@dataclass(frozen=True)
class Decision:
    """The attack.

    Attributes:
        rounds: steps along the boundary.
        queries: points that one direction is estimated from.
        flips: blocks that are tried.
        halvings: of an interval in the search for the boundary.
        starts: images of other classes that a search may start at.
    """

    rounds: int = 8
    queries: int = 20
    flips: int = 1500
    halvings: int = 8
    starts: int = 5

    def __call__(self, subject: Subject, pool: Images, guide: nn.Module | None = None) -> Mask:
        """The examples that withstand, of those that the subject marks.

        Args:
            subject: the classifier, examples and threat.
            pool: images, of which those of other classes are starts.
            guide: a network whose adversarial points at twice the radius are starts.
        """
        survives = subject.clean.clone()
        for threat in subject.threat.parts():
            for start, places in subject.in_batches(survives):
                rng = generator(subject.seed, "decision", start)
                walk = _Walk(subject, places, threat, rng)
                starts = [*walk.others(pool, self.starts), walk.noise(), *walk.guided(guide)]
                z = walk.search(starts, self)
                survives[places] = subject.withstands(z, places, threat)
        return survives


class _Walk:
    """Searches for a batch of examples, all at once: their points z, at distances t."""

    def __init__(
        self, subject: Subject, places: Tensor, threat: Threat, rng: torch.Generator
    ) -> None:
        self.model, self.threat, self.rng = subject.model, threat, rng
        self.corners = isinstance(threat, Linf)
        self.x, self.y = subject.examples.images(places), subject.examples.y[places]
        self.z, self.t = self.x, torch.full_like(self.x.flatten(1)[:, 0], torch.inf)

    def search(self, starts: Sequence[Images], settings: Decision) -> Images:
        """The nearest wrong points that are found."""
        for start in starts:
            self._see(*self._boundary(start, self._far(), settings.halvings + 4))
        for number in range(settings.rounds * (1 if self.corners else _ROUNDS)):
            if not self._open().any():
                break
            self._step(number, settings)
        self._reverse_blocks(settings)
        return self.z

    def _open(self) -> Mask:
        """The examples whose nearest wrong point lies outside of the threat."""
        return (self.t > 1) & self.t.isfinite()

    def _far(self) -> Tensor:
        return torch.full_like(self.t, _FARTHEST)

    def _see(self, z: Images, t: Tensor) -> Mask:
        """Keep the nearer points; which were nearer."""
        better = t < self.t
        self.z = torch.where(_like(better, z), z, self.z)
        self.t = torch.where(better, t, self.t)
        return better

    def _wrong(self, points: Images, rows: Tensor | None = None) -> Mask:
        """Whether each point is misclassified."""
        y = self.y if rows is None else self.y[rows]
        parts = zip(torch.split(points, _ROWS), torch.split(y, _ROWS), strict=True)
        return torch.cat([~agrees(self.model, part, at) for part, at in parts])

    def _boundary(
        self, z: Images, high: Tensor, halvings: int, rows: Tensor | None = None
    ) -> tuple[Images, Tensor]:
        """The nearest wrong points on the way to z; at infinity if z, at ``high``, is right."""
        x = self.x if rows is None else self.x[rows]
        valid = self._wrong(scaled(self.threat, z, x, high), rows)
        low, far = torch.zeros_like(high), high
        for _ in range(halvings if valid.any() else 0):
            middle = (low + high) / 2
            fooled = self._wrong(scaled(self.threat, z, x, middle), rows)
            low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
        return scaled(self.threat, z, x, high), torch.where(valid, high, torch.inf * far)

    def _step(self, number: int, settings: Decision) -> None:
        """One step along the boundary."""
        t = self.t.nan_to_num(posinf=1.0)
        queries = settings.queries * (1 if self.corners else _QUERIES)
        width = self._far_from(t) * (1 / (number + 2) if self.corners else _NEAR)
        step = self._steepest(self._across(width, queries))
        length, z = self._far_from(t) / (number + 1) ** 0.5, self.z
        for _ in range(5):
            moved = (z + _like(length, z) * step).clamp(0, 1)
            if self._see(*self._boundary(moved, _SMALLER * t, settings.halvings)).all():
                break
            length = length / 2

    def _far_from(self, t: Tensor) -> Tensor:
        """The distances of the points from the examples, in the norm of the steps."""
        if self.corners:
            return self.threat.radius() * t
        far: Tensor = (self.z - self.x).flatten(1).norm(dim=1)
        return far

    def _steepest(self, direction: Images) -> Images:
        return (self.threat if self.corners else _UNIT).steepest(direction)

    def _across(self, width: Tensor, queries: int) -> Images:
        """The direction across the boundary, estimated from the answers around it."""
        total, drawn, hits = torch.zeros_like(self.z), torch.zeros_like(self.z), 0 * width
        for _ in range(queries):
            u = self._steepest(normal_like(self.z, self.rng))
            asked = (self.z + _like(width, u) * u).clamp(0, 1)
            phi = 2.0 * self._wrong(asked).to(width.dtype) - 1
            total, hits, drawn = total + _like(phi, u) * u, hits + phi, drawn + u
        return total - _like(hits / queries, drawn) * drawn

    def _reverse_blocks(self, settings: Decision) -> None:
        """Reverse blocks of the change, from all pixels down to single ones."""
        change, t = self._changes(settings.halvings)
        for block in _blocks(change[0].numel(), settings.flips):
            rows = ((t > 1) & t.isfinite()).nonzero()[:, 0]
            if not len(rows):
                break
            for factor in (-1.0,) if self.corners else (0.0, -1.0):
                tried = change[rows].flatten(1)
                tried[:, block] *= factor
                z = self.x[rows] + tried.view_as(change[rows])
                near = self._nearer(z, _SMALLER * t[rows], settings.halvings, rows)
                won = near.isfinite()
                change[rows[won]], t[rows[won]] = (z - self.x[rows])[won], near[won]
        self._see(scaled(self.threat, self.x + change, self.x, t.nan_to_num(posinf=1.0)), t)

    def _changes(self, halvings: int) -> tuple[Images, Tensor]:
        """Changes that lead to wrong points, not clipped to the box, and the distances of these.

        In ℓ∞ they are corners: every pixel changes as much as it may.
        """
        change, t = self.z - self.x, self.t
        if self.corners:
            noise = normal_like(change, self.rng)
            corner = torch.where(change == 0, noise, change).sign() * _FARTHEST
            far = (3 * t.nan_to_num(posinf=_FARTHEST)).clamp(max=_FARTHEST)
            _, near = self._boundary(self.x + corner, far, halvings)
            change = torch.where(_like(near.isfinite(), change), corner, change)
            t = torch.where(near.isfinite(), near, t)
        return change, t.clone()

    def _nearer(self, z: Images, t: Tensor, halvings: int, rows: Tensor) -> Tensor:
        """The distances of `_boundary`; points that are right at ``t`` cost one answer."""
        fooled = self._wrong(scaled(self.threat, z, self.x[rows], t), rows)
        near = torch.full_like(t, torch.inf)
        if fooled.any():
            near[fooled] = self._boundary(z[fooled], t[fooled], halvings, rows[fooled])[1]
        return near

    def others(self, pool: Images, count: int) -> list[Images]:
        """For each example, the nearest images that get another answer."""
        with torch.no_grad():
            answers = torch.cat([self.model(part).argmax(1) for part in torch.split(pool, _ROWS)])
        apart = torch.cdist(self.x.flatten(1), pool.flatten(1))
        apart = apart.masked_fill(answers[None] == self.y[:, None], torch.inf)
        return [pool[column] for column in apart.argsort(1)[:, :count].T]

    def noise(self) -> Images:
        """Uniform noise."""
        return torch.rand(self.x.shape, generator=self.rng).to(self.x.device)

    def guided(self, guide: nn.Module | None) -> list[Images]:
        """Another net's adversarial points, at twice the radius."""
        if guide is None:
            return []
        wide = self.threat.scaled(2.0)
        return [PGD(20)(lambda v: margin(guide(v), self.y), self.x, wide, self.rng)]


def _blocks(pixels: int, count: int) -> Iterator[slice]:
    """Pixels in blocks: all of them, halves, quarters, … down to single ones; so many at most."""
    size = pixels
    while count > 0 and size >= 1:
        for start in range(0, pixels, size):
            if count > 0:
                yield slice(start, start + size)
            count -= 1
        size //= 2


def scaled(threat: Threat, z: Images, x: Images, t: Tensor) -> Images:
    """For each example, the projection of a point onto a set of its own size.

    Args:
        threat: the set of size 1.
        z: the points.
        x: the centres.
        t: the sizes, (batch,).
    """
    # around grey, made so small that the pixel box does not matter, all sets have the same shape
    small = min(1.0, 0.49 / max(threat.radius(), 1e-12))
    factor, grey = small / _like(t.clamp(min=1e-6), z), torch.full_like(x, 0.5)
    inner = threat.scaled(small).project(grey + factor * (z - x), grey)
    return (x + (inner - grey) / factor).clamp(0, 1)


def _like(values: Tensor, x: Images) -> Tensor:
    return values.view(-1, *[1] * (x.ndim - 1))
