"""Pairs of images, batch by batch: what two networks make of the same inputs, and how far apart."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hauberk.evaluation import estimate
from hauberk.evaluation.estimate import Estimate
from hauberk.evaluation.features import Features, pooled
from hauberk.evaluation.frechet import frechet
from hauberk.evaluation.image_distances import Pictures, distances
from hauberk.runtime.packages import gist
from hauberk.types import Images


class Pairs:
    """The distances between pairs of images, collected over batches.

    Args:
        features: what the perceptual and the Fréchet distance are measured on; ``None`` leaves
            them out.
    """

    def __init__(self, features: Features | None = None) -> None:
        self.features = features
        self.values: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        self.rows: tuple[list[Tensor], list[Tensor]] = ([], [])

    def add(self, ours: Pictures, wanted: Pictures) -> None:
        """Measure a batch.

        Args:
            ours: images in [0, 1].
            wanted: images of the same shape.

        Raises:
            ValueError: the features do not take such images, or scikit-image is not installed.
        """
        for name, found in distances(ours, wanted).items():
            self.values[name].append(found)
        if self.features is None:
            return
        a, b = (self.features(images) for images in (ours, wanted))
        apart = (a - b).abs().flatten(1).mean(1)
        self.values["perceptual"].append(apart.double().cpu().numpy())
        for rows, activations in zip(self.rows, (a, b), strict=True):
            rows.append(pooled(activations).double().cpu())

    def estimates(self, *, resamples: int, seed: int) -> dict[str, Estimate]:
        """The distances by name, in the order of a table; empty without images.

        Args:
            resamples: of the bootstrap.
            seed: of the bootstrap.
        """
        found = {
            name: estimate.mean(np.concatenate(parts), resamples=resamples, seed=seed)
            for name, parts in self.values.items()
        }
        if self.rows[0]:
            a, b = (torch.cat(rows) for rows in self.rows)
            found["frechet"] = estimate.of_distance(
                lambda index: frechet(a[index], b[index]), len(a), resamples=resamples, seed=seed
            )
        return found


@torch.no_grad()
def outputs(net: nn.Module, x: Images, who: str) -> Pictures:
    """The images that a network makes of ``x``.

    Args:
        net: an image-to-image network in eval mode.
        x: images in [0, 1].
        who: the network, for errors.

    Raises:
        ValueError: it does not take the images, gives no images, or gives NaN.
    """
    try:
        made = net(x)
    except RuntimeError as error:
        raise ValueError(f"{who} {refusal(tuple(x.shape[1:]), error)}") from error
    if not isinstance(made, Tensor) or made.ndim != 4 or len(made) != len(x):
        shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise ValueError(
            f"{who} gives {shape} for {len(x)} images; give an image-to-image network, or evaluate "
            "it with --task classes."
        )
    if not made.isfinite().all():
        raise ValueError(f"{who} gives NaN or infinite pixels; give a network that was trained.")
    return made


def refusal(shape: tuple[int, ...], error: Exception) -> str:
    """The end of an error about images of a shape that a network does not take."""
    size = " × ".join(map(str, shape))
    return (
        f"cannot take images of {size} ({gist(error)}); give another size (most generators need "
        "sides that are multiples of 4 or of 2^levels)."
    )


def check_alike(ours: Pictures, other: Tensor, who: str, advice: str) -> None:
    """Check that images can be compared.

    Args:
        ours: a batch of the network under evaluation.
        other: the batch that it is compared with.
        who: what gave ``other``.
        advice: end of the error, without its full stop.

    Raises:
        ValueError: they have different shapes.
    """
    if ours.shape != other.shape:
        have, want = (" × ".join(map(str, x.shape[1:])) for x in (other, ours))
        raise ValueError(f"{who} has images of {have} and the network gives {want}; {advice}.")
