"""Growing stack: images that arrive one by one, as one tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hauberk.data.store import Store


class Pile:
    """A growing stack of images of one size; if gray and RGB are mixed, gray becomes RGB.

    Args:
        where: name of the data, for errors.
        store: allocates the pixels, once the size of the first image is known.
        room: expected number of images; there may be more.
    """

    def __init__(self, where: str, store: Store, room: int = 0) -> None:
        self.where, self.store, self.room, self.count = where, store, max(1, room), 0
        self._held: Tensor | None = None

    def add(self, image: NDArray[Any], place: str) -> None:
        """Append an image, (channel, height, width), uint8 or float32.

        Args:
            image: the pixels.
            place: place of the image in its source, for errors.

        Raises:
            ValueError: the shape or type differs from that of earlier images.
            NoRoom: the pixels fit neither in memory nor on disk.
        """
        if self._held is None:
            self._hold(self.store.empty((self.room, *image.shape), self._kind(image, place)))
        channels = self._x.shape[1]
        if image.shape[1:] == self._x.shape[2:] and {channels, len(image)} == {1, 3}:
            if channels == 1:
                self._widen()
            else:
                image = image.repeat(3, 0)
        self._check(image, self._x, place)
        if self.count == len(self._x):
            self._hold(self.store.grown(self._tensor(), 2 * self.count))
        self._x[self.count] = image
        self.count += 1

    @property
    def size(self) -> tuple[int, ...] | None:
        """Height and width of the images; None while there are none."""
        return None if self._held is None else tuple(self._held.shape[2:])

    def tensor(self) -> Tensor:
        """All images, (count, channel, height, width).

        Raises:
            ValueError: there is no image.
        """
        return self._tensor()[: self.count]

    def _tensor(self) -> Tensor:
        if self._held is None:
            raise ValueError(f"{self.where} is empty: give at least one image and its label.")
        return self._held

    def _hold(self, held: Tensor) -> None:
        self._held, self._x = held, held.numpy()

    def _widen(self) -> None:
        gray = self._tensor()
        self._hold(self.store.widened(gray))
        self.store.drop(gray)

    def _kind(self, image: NDArray[Any], place: str) -> torch.dtype:
        try:
            return torch.from_numpy(np.empty(0, image.dtype)).dtype
        except TypeError as error:
            raise ValueError(
                f"{self.where} has pixels of type {image.dtype} {place}: give uint8 (0 to 255) or "
                "float in [0, 1]."
            ) from error

    def _check(self, image: NDArray[Any], x: NDArray[Any], place: str) -> None:
        if image.shape != x.shape[1:]:
            raise ValueError(
                f"{self.where} has images of different shapes, {x.shape[1:]} and {image.shape} "
                f"{place}: give images of one shape; pillow images are brought to one by "
                "--image-size, such as --image-size 64 (in Python image_size=64), arrays are not."
            )
        if image.dtype != x.dtype:
            raise ValueError(
                f"{self.where} has pixels of type {x.dtype} and of type {image.dtype} {place}: "
                "give one type, uint8 (0 to 255) or float in [0, 1]."
            )
