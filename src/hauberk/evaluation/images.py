"""An evaluation of image-to-image networks: the protocol, and the row that it gives for a network.

    d(f_small(x), f_dense(x))  over held-out images x,  and  d(f_small(x), truth) where it is known

The dense net is the teacher: a small net is as good as its outputs are near the dense net's.
Outputs are compared as they are shown, clamped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from hauberk.artifact.artifact import dense_bytes
from hauberk.dataset import Examples, pixel_units
from hauberk.evaluation.accuracy import Progress, silent
from hauberk.evaluation.cost import Macs, Timing, latency, macs
from hauberk.evaluation.features import Features
from hauberk.evaluation.frozen_copy import freeze
from hauberk.evaluation.image_distances import SSIM_SIDE, Pictures
from hauberk.evaluation.image_pairs import Pairs, check_alike, outputs, refusal
from hauberk.evaluation.image_report import ImageRow
from hauberk.evaluation.shipped import Shipped
from hauberk.types import Images

Truth: TypeAlias = Tensor | Callable[[Images], Pictures]
"""Ground truth: an image for each example, in their order; or a function of the inputs."""

_OUTSIDE = 0.05
"""The dense net's outputs may leave [0, 1] by this much without a warning."""
_REPEATS = 20
"""Timed calls of each net: a generator takes longer than a classifier."""


@dataclass(frozen=True)
class ImageEvaluation:
    """The protocol of an evaluation of image-to-image networks; the same for all rows of a report.

    Attributes:
        features: of the perceptual and the Fréchet distance; without them both are left out.
        limit: measure the first so many images; ``None`` measures all.
        seed: of the bootstrap.
        batch_size: images at a time.
        resamples: of the bootstrap.
        timing: whether latency is measured.
        cost_size: side in pixels of the square image that multiplications and latency are for; by
            default the size of the images.
    """

    features: Features | None = None
    limit: int | None = None
    seed: int = 0
    batch_size: int = 16
    resamples: int = 500
    timing: bool = True
    cost_size: int | None = None

    def __post_init__(self) -> None:
        """Validate the settings."""
        for name in ("limit", "batch_size", "resamples", "cost_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} was given as {value}; give a count of 1 or more.")

    def cost_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the input that multiplications and latency are for.

        Args:
            shape: of the images, (channel, height, width).
        """
        return shape if self.cost_size is None else (shape[0], self.cost_size, self.cost_size)

    def __call__(
        self,
        shipped: Shipped,
        examples: Examples,
        *,
        dense: nn.Module,
        reference: nn.Module | None = None,
        truth: Truth | None = None,
        name: str | None = None,
        progress: Progress = silent,
    ) -> ImageRow:
        """The row of a network on ``examples``.

        Args:
            shipped: the network to evaluate.
            examples: held-out images, on the device of the networks.
            dense: the teacher.
            reference: the dense net that latency is compared with, a session if the network is
                one; by default ``dense``.
            truth: the ground truth, if it is known.
            name: of the row.
            progress: called with the images done.

        Raises:
            ValueError: fewer than 2 images, images that a net does not take, outputs of different
                shapes or with NaN, or features that do not take the outputs.
        """
        few = examples.first(self.limit)
        teacher, true, warnings = Pairs(self.features), Pairs(), dict[str, None]()
        check_count(few, truth)
        for ours, wanted, known in self._images(shipped, dense, few, truth, progress):
            warnings |= dict.fromkeys(_warnings(wanted))
            ours = ours.clamp(0, 1)
            teacher.add(ours, wanted.clamp(0, 1))
            if known is not None:
                true.add(ours, known)
        progress(len(few), len(few), "bootstrap")
        if shipped.model is None:
            warnings[f"Multiplications were not counted, because {shipped.blind}."] = None
        shape = self.cost_shape(examples.shape)
        return ImageRow(
            file=shipped.name,
            bytes=shipped.nbytes,
            dense_bytes=dense_bytes(dense.state_dict()),
            shape=examples.shape,
            to_teacher=teacher.estimates(resamples=self.resamples, seed=self.seed),
            to_truth=true.estimates(resamples=self.resamples, seed=self.seed),
            name=name,
            features=None if self.features is None else self.features.name,
            cost_shape=shape,
            macs=None if shipped.model is None else _macs(shipped.model, shape, shipped.name),
            dense_macs=_macs(dense, shape, _DENSE).dense,
            latency_ms=self._latency(shipped, reference or dense, shape),
            warnings=tuple(warnings),
            in_file=shipped.in_file,
        )

    def _images(
        self,
        shipped: Shipped,
        dense: nn.Module,
        examples: Examples,
        truth: Truth | None,
        progress: Progress,
    ) -> Iterator[tuple[Pictures, Pictures, Pictures | None]]:
        """The images of the network, of the dense net and of the truth, batch by batch."""
        small, whole = freeze(shipped.timed), freeze(dense)
        for start in range(0, len(examples), self.batch_size):
            part = slice(start, start + self.batch_size)
            x = examples.images(part)
            ours = outputs(small, x, shipped.name)
            wanted = outputs(whole, x, _DENSE)
            check_alike(ours, wanted, _DENSE, "give the dense net that it was made from")
            known = _known(truth, x, start)
            if known is not None:
                check_alike(ours, known, "The ground truth", "give images of the same shape")
            yield ours, wanted, known
            progress(min(part.stop, len(examples)), len(examples), "images")

    def _latency(
        self, shipped: Shipped, reference: nn.Module, shape: tuple[int, ...]
    ) -> dict[str, Timing]:
        if not self.timing:
            return {}
        return latency(shipped.timed, reference, shape, batches=(1,), repeats=_REPEATS)


_DENSE = "The dense net"


def _known(truth: Truth | None, x: Images, start: int) -> Pictures | None:
    """The truth of the images ``x``, the first of which is example ``start``."""
    if truth is None:
        return None
    return truth(x) if callable(truth) else pixel_units(truth[start : start + len(x)]).to(x)


def _macs(net: nn.Module, shape: tuple[int, ...], who: str) -> Macs:
    try:
        return macs(net, shape)
    except RuntimeError as error:
        raise ValueError(f"{who} {refusal(shape, error)}") from error


def check_count(examples: Examples, truth: Truth | None = None) -> None:
    """Check that there are images to measure, and the truth of each.

    Args:
        examples: the held-out images.
        truth: the ground truth, if it is known.

    Raises:
        ValueError: fewer than 2 images, or fewer of the truth.
    """
    if len(examples) < 2:
        raise ValueError(
            f"The evaluation was given {len(examples)} held-out images; give 2 or more, since a "
            "distance needs an interval."
        )
    if isinstance(truth, Tensor) and len(truth) < len(examples):
        raise ValueError(
            f"The ground truth has {len(truth)} images for {len(examples)}; give one for each."
        )


def _warnings(wanted: Pictures) -> Iterator[str]:
    """What limits the figures of one batch of the dense net."""
    if wanted.min() < -_OUTSIDE or wanted.max() > 1 + _OUTSIDE:
        yield (
            "The dense net's outputs leave [0, 1] and were clamped. If its images are in [-1, 1], "
            "give a module that maps them to [0, 1]."
        )
    if min(wanted.shape[-2:]) < SSIM_SIDE:
        yield f"SSIM needs images of at least {SSIM_SIDE} pixels a side and was left out."
