"""Prefetch: images that do not fit on the device are read by threads one step ahead.

While step k computes, threads copy the images of step k + 1 from memory or from a mapped file; for
CUDA into pinned memory, from which they are transferred asynchronously. The images are the same
bits either way.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hauberk.dataset import Examples, fits, pixel_units, settled
from hauberk.types import Images

_READERS = 8  # threads: each one may be waiting for a page that is not in memory yet


class _Read(NamedTuple):
    """A batch that is being read."""

    rows: Tensor
    x: Tensor
    parts: list[Future[None]]

    def wait(self) -> Tensor:
        """The batch, once it is complete; raises the error of a reader here."""
        for part in self.parts:
            part.result()
        return self.x


class Prefetch:
    """Returns images of a training split by index; `close` ends its threads.

    Args:
        examples: on the CPU.
        device: where images are wanted.
        resident: whether all images move to the device first; by default if they fit, see `fits`.
            Images that stay are prefetched.
    """

    def __init__(
        self, examples: Examples, device: torch.device, resident: bool | None = None
    ) -> None:
        if resident is None:
            resident = fits(examples.x, device)
        self.examples, self.device = settled(examples, device, resident), device
        self._next: _Read | None = None
        self._pool = None if resident else ThreadPoolExecutor(_READERS, "hauberk-prefetch")

    @property
    def index_device(self) -> torch.device:
        """The device for indices: that of the images."""
        return self.examples.x.device

    def images(self, index: Tensor, following: Tensor | None = None) -> Images:
        """The chosen images in pixel units, on the device.

        Args:
            index: of the examples, (batch,), on `index_device`.
            following: the index of the next call; its images are read in the meantime.
        """
        if self._pool is None:
            return self.examples.images(index)
        read = self._next
        if read is None or not torch.equal(read.rows, index):
            read = self._read(self._pool, index)
        x = read.wait()
        self._next = None if following is None else self._read(self._pool, following)
        return pixel_units(x.to(self.device, non_blocking=True))

    def close(self) -> None:
        """End the threads and drop what they still read."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._next = None

    def _read(self, pool: ThreadPoolExecutor, index: Tensor) -> _Read:
        source = self.examples.x
        shape = (len(index), *source.shape[1:])
        x = torch.empty(shape, dtype=source.dtype, pin_memory=self.device.type == "cuda")
        size = max(1, -(-len(index) // _READERS))
        parts = zip(index.split(size), x.split(size), strict=True)  # type: ignore[no-untyped-call]
        return _Read(index, x, [pool.submit(_copy, source, part, to) for part, to in parts])


def _copy(source: Tensor, index: Tensor, to: Tensor) -> None:
    """Copy by NumPy: torch would start threads of its own in each of these threads."""
    np.take(source.numpy(), index.numpy(), axis=0, out=to.numpy())
