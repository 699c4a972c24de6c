"""Sort values without their indices: on a CPU numpy is many times as fast as torch."""

from __future__ import annotations

import torch
from torch import Tensor

NUMPY = (torch.float32, torch.float64)
"""Types that numpy sorts as well."""


def ascending(v: Tensor) -> Tensor:
    """The values of each row, the last axis, from the least to the largest; may overwrite ``v``.

    Args:
        v: real numbers, of any shape; on a CPU in float32 or float64 numpy's vectorised sort is
            used: a twelfth of torch's time for 784 values as for 4 million (float64), and no room
            for indices.
    """
    if v.device.type == "cpu" and v.dtype in NUMPY:
        v.numpy().sort()
        return v
    return v.sort().values
