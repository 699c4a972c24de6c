"""Forms: the file that ships, as a plan of bytes sees it: the codec of its weights, its length.

bytes of the file = rest + Σ_l length(w_l) / 8

A method plans for the file that its `Packaging` names (``ship``). A format that a plan can price
has one class here and one row in `FORMS`; its exporter is in `hauberk.verbs.export`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hauberk.allocation.byte_budget import Codec
from hauberk.artifact import Artifact
from hauberk.artifact.lengths import bits, price
from hauberk.constraints import Float16
from hauberk.dataset import Examples
from hauberk.onnx import lengths
from hauberk.onnx.file import OnnxFile
from hauberk.ops.kmeans import kmeans
from hauberk.recipe import FileSettings
from hauberk.recipe.packaging import ONNX_INT8

_FEW = 32
"""Images that set the ranges of activations where only the length of the file matters."""


@dataclass(frozen=True)
class FileForm(ABC):
    """The file that ships.

    Attributes:
        half: whether values outside a codebook are written as float16.
        bits: bits of a weight on a uniform grid; 0 if weights are on none.
    """

    half: bool
    bits: int = 0

    @property
    @abstractmethod
    def codec(self) -> Codec:
        """The lengths of compressed tensors in the file, and their estimates."""

    @abstractmethod
    def nbytes(self, artifact: Artifact, model: nn.Module, sample: Examples) -> int:
        """The bytes of the whole file.

        Args:
            artifact: the network as an ``.hbk``.
            model: the network.
            sample: a few training examples.

        Raises:
            ValueError: the network cannot be written in this format.
        """


@dataclass(frozen=True)
class HbkForm(FileForm):
    """The ``.hbk``, which codes positions and values by their entropy."""

    @property
    def codec(self) -> Codec:
        """The writer's exact lengths; on a grid, of as many values as the grid has."""
        if self.bits:
            return Codec(self._grid_length, self._grid_estimate, books=False)
        return Codec(
            lambda t: bits(as_shipped(t, self.half)),
            lambda t, k, b: price(as_shipped(t, self.half), k, b),
        )

    def _grid_length(self, t: Tensor) -> float:
        return bits(kmeans(t.detach(), (1 << self.bits) - 2))

    def _grid_estimate(self, t: Tensor, k: Sequence[int], b: Sequence[int]) -> NDArray[np.float64]:
        return np.repeat(price(t, k, [self.bits]), len(b), axis=1)

    def nbytes(self, artifact: Artifact, model: nn.Module, sample: Examples) -> int:
        """Those of the artifact itself."""
        return artifact.nbytes


@dataclass(frozen=True)
class OnnxForm(FileForm):
    """The ``.onnx`` in float32, whose pruned and quantised weights are rebuilt by its graph."""

    @property
    def codec(self) -> Codec:
        """The lengths of the shortest constants that the weights are rebuilt from."""
        if self.bits:
            return _grid_codec(self.bits, self.half)
        return Codec(
            lambda t: lengths.bits(as_shipped(t, self.half)),
            lambda t, k, b: lengths.price(t.numel(), k, [1 << each for each in b], self.half),
        )

    def nbytes(self, artifact: Artifact, model: nn.Module, sample: Examples) -> int:
        """Those of the exporter's file."""
        return OnnxFile.unchecked(artifact, model).nbytes


@dataclass(frozen=True)
class OnnxInt8Form(FileForm):
    """The ``.onnx`` in eight bits: whole numbers on a grid for each output, sparse or dense."""

    @property
    def codec(self) -> Codec:
        """The lengths of whole numbers, of which half precision holds each."""
        return _grid_codec(self.bits, half=True)

    def nbytes(self, artifact: Artifact, model: nn.Module, sample: Examples) -> int:
        """Those of the exporter's file, which do not depend on the ranges of the activations."""
        images = sample.images(slice(_FEW)).cpu()
        return OnnxFile.unchecked(artifact, model, images).nbytes


def _grid_codec(bits: int, half: bool) -> Codec:
    """A codec for weights that are on a grid of 2ᵇ − 2 non-zero values, or will be."""
    values = (1 << bits) - 2
    return Codec(
        lambda t: lengths.bits(_whole(t, bits), half),
        lambda t, k, b: np.repeat(lengths.price(t.numel(), k, [values], half), len(b), axis=1),
        books=False,
    )


def _whole(t: Tensor, bits: int) -> Tensor:
    """The whole numbers that an exporter would make of the rows, to about one."""
    rows = t.detach().float().reshape(len(t), -1)
    scale = rows.abs().amax(1, keepdim=True) / ((1 << (bits - 1)) - 1)
    return (rows / torch.where(scale > 0, scale, 1.0)).round()


FORMS: Mapping[str, Callable[[bool, int], FileForm]] = MappingProxyType(
    {"hbk": HbkForm, "onnx": OnnxForm, "onnx-int8": OnnxInt8Form}
)
"""Every form by the name that ``ship`` has for it, as `hauberk.recipe.packaging` lists them."""


def form_of(packaging: FileSettings, most_bits: int, grid: bool = False) -> FileForm:
    """The form of the file that ships.

    Args:
        packaging: names it.
        most_bits: largest number of bits of a weight.
        grid: whether weights are trained on a uniform grid; those of onnx-int8 always are.
    """
    bits = max(2, most_bits) if grid or packaging.ship == ONNX_INT8 else 0
    return FORMS[packaging.ship](packaging.float16, bits)


def as_shipped(t: Tensor, half: bool) -> Tensor:
    """``t`` as it is written to the file."""
    return Float16().project({"": t})[""] if half else t
