"""Photographs that come with scikit-image and scikit-learn, and random crops of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""(height, width, 3)."""


def photograph(name: str) -> Picture:
    """A sample photograph of scikit-image or scikit-learn, which come with their packages."""
    import skimage.data
    from sklearn.datasets import load_sample_image

    if name in ("china", "flower"):
        found: Picture = load_sample_image(f"{name}.jpg")
        return found
    whole = getattr(skimage.data, name)()
    return np.asarray(whole[0] if isinstance(whole, tuple) else whole)[..., :3]


def crops(name: str, count: int, side: int, rng: np.random.Generator) -> list[Picture]:
    """Random crops of a photograph at random scales, half of them mirrored."""
    image, found = Image.fromarray(photograph(name)), list[Picture]()
    short = min(image.size)
    for _ in range(count):
        scale = float(np.exp(rng.uniform(np.log(max(side, 160)), np.log(short)))) / short
        size = (round(image.width * scale), round(image.height * scale))
        whole = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
        top = int(rng.integers(0, whole.shape[0] - side + 1))
        left = int(rng.integers(0, whole.shape[1] - side + 1))
        part = whole[top : top + side, left : left + side]
        found.append(part[:, ::-1] if rng.random() < 0.5 else part)
    return found
