"""Training images, batch by batch: from the device where they fit, else read ahead of the step.

While step k computes, threads copy the images of step k + 1 out of memory or of the mapped file;
for CUDA into pinned memory, from where they go over without waiting. The images are the same bits
either way.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hauberk.dataset import Examples, fits, pixel_units, settled
from hauberk.types import Images

_READERS = 8  # threads: a page that is not in memory yet keeps one of them waiting


class _Read(NamedTuple):
    """A batch under way."""

    rows: Tensor
    x: Tensor
    parts: list[Future[None]]

    def wait(self) -> Tensor:
        """The batch, once it is whole; an error of a reader is raised here."""
        for part in self.parts:
            part.result()
        return self.x


class Feed:
    """Gives out the images of a training split; a context, which ends its threads.

    Args:
        examples: on the CPU.
        device: where images are wanted.
        resident: as in `settled`; those in memory are read ahead too where it is False.
    """

    def __init__(
        self, examples: Examples, device: torch.device, resident: bool | None = None
    ) -> None:
        if resident is None:
            resident = fits(examples.x, device)
        self.examples, self.device = settled(examples, device, resident), device
        self._ahead: _Read | None = None
        self._pool = None if resident else ThreadPoolExecutor(_READERS, "hauberk-feed")

    @property
    def place(self) -> torch.device:
        """Where indices are wanted: where the images lie."""
        return self.examples.x.device

    def images(self, index: Tensor, ahead: Tensor | None = None) -> Images:
        """The chosen images in pixel units, on the device.

        Args:
            index: of the examples, at `place`.
            ahead: the index of the next call, to be read meanwhile.
        """
        if self._pool is None:
            return self.examples.images(index)
        read = self._ahead
        if read is None or not torch.equal(read.rows, index):
            read = self._read(self._pool, index)
        x = read.wait()
        self._ahead = None if ahead is None else self._read(self._pool, ahead)
        return pixel_units(x.to(self.device, non_blocking=True))

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the threads; what they still read is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._ahead = None

    def _read(self, pool: ThreadPoolExecutor, index: Tensor) -> _Read:
        source = self.examples.x
        shape = (len(index), *source.shape[1:])
        x = torch.empty(shape, dtype=source.dtype, pin_memory=self.device.type == "cuda")
        share = max(1, -(-len(index) // _READERS))
        parts = zip(index.split(share), x.split(share), strict=True)  # type: ignore[no-untyped-call]
        return _Read(index, x, [pool.submit(_copy, source, part, to) for part, to in parts])


def _copy(source: Tensor, index: Tensor, to: Tensor) -> None:
    """By NumPy: torch would start threads of its own in each of ours."""
    np.take(source.numpy(), index.numpy(), axis=0, out=to.numpy())
