"""Distances between pairs of images: squared error, PSNR and SSIM, one value for each pair.

    MSE = ‖a − b‖² / n,   PSNR = −10 log₁₀ MSE  (the peak is 1),   SSIM of Wang et al.

Source of SSIM: Wang et al. (2004), IEEE Trans. Image Process. 13, 600 to 612, as scikit-image
computes it: Gaussian window of σ = 1.5, population covariances, mean over the channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from hauberk.runtime.packages import need

Pictures = Float[Tensor, "count channel height width"]
"""Images in [0, 1]."""

CAP_DB = 100.0
"""PSNR of equal images, and the most that a pair can have: an MSE of 1e-10."""
SSIM_SIDE = 11
"""Side of SSIM's window in pixels: smaller images have no SSIM."""


def distances(a: Pictures, b: Pictures) -> Mapping[str, NDArray[np.float64]]:
    """``mse``, ``psnr`` in dB and, for images of at least 11 pixels a side, ``ssim`` of each pair.

    The mean of ``psnr`` over images is the mean of the decibels, as papers report it. It is not the
    PSNR of the mean squared error, which the worst images dominate.

    Args:
        a: images in [0, 1].
        b: images of the same shape.

    Raises:
        ValueError: scikit-image is not installed.
    """
    mse = (a.double() - b.double()).square().flatten(1).mean(1).cpu().numpy()
    found = {"mse": mse, "psnr": -10 * np.log10(np.maximum(mse, 10 ** (-CAP_DB / 10)))}
    if min(a.shape[-2:]) >= SSIM_SIDE:
        found["ssim"] = _ssim(a, b)
    return found


def _ssim(a: Pictures, b: Pictures) -> NDArray[np.float64]:
    need("images", "skimage")
    from skimage.metrics import structural_similarity

    pairs = zip(*(x.to("cpu", torch.float64).numpy() for x in (a, b)), strict=True)
    found = [
        structural_similarity(  # type: ignore[no-untyped-call]
            one,
            other,
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for one, other in pairs
    ]
    return np.asarray(found, np.float64)
