"""Default data: 1,797 handwritten digits of 8 × 8 pixels, from scikit-learn's own wheel.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (CC BY 4.0,
doi:10.24432/C50P49), as shipped in `sklearn.datasets`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from hauberk.data.holdout import stratified
from hauberk.dataset import Data, Examples

_LEVELS = 16  # the originals' brightest pixel


def load_digits() -> Data:
    """Digits as uint8, (count, 1, 8, 8): about 60% training, 15% validation, 25% test, fixed."""
    from sklearn import datasets  # imported here, because it takes two seconds

    found = datasets.load_digits()
    pixels = torch.from_numpy(np.rint(found.images * (255 / _LEVELS)).astype(np.uint8))
    every = Examples(pixels[:, None].contiguous(), torch.from_numpy(found.target).long())
    order = stratified(every.y, "digits")
    test, validation = round(0.25 * len(every)), round(0.15 * len(every))
    borders = (0, test, test + validation, len(every))
    parts = [order[start:end] for start, end in pairwise(borders)]
    splits = [Examples(every.x[part], every.y[part]) for part in parts]
    return Data("digits", train=splits[2], validation=splits[1], test=splits[0], classes=10)
