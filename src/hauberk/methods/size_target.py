"""A file of a given size: kept weights and codebook bits are chosen for every layer.

    min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  bytes of the file that holds w ≤ B

This is hauberk's own method; it comes from no paper. Before each stage the knapsack of `ByteBudget`
is solved anew on the current weights: on the dense net by angles, for the layers' parts of an ℓ0
budget that falls to twice the bytes; then by the measured distortion of each layer, for the rest of
the way, for the codebooks, and, by the codec's exact length, for the excess that remains. Lazy
projection, as in `ATMC`. With ``slim`` dead channels are removed before codebooks are planned, and
the bytes of their biases buy weights.

``ship`` names the file that the bytes are of. Weights of an ``.onnx`` in eight bits are whole
numbers on a grid for each output, trained with rounded activations (`Int8`), not in codebooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from hauberk.allocation.forms import form_of
from hauberk.dataset import Examples
from hauberk.method import Compression
from hauberk.methods._file_size import FileSize, larger, refuse_size
from hauberk.recipe import Limits, Packaging
from hauberk.threat import Threat
from hauberk.training.stage import Stage


@dataclass(frozen=True, kw_only=True)
class SizeTarget(Compression):
    """The best network that fits into a file of the given size.

    Attributes:
        size: of the whole file that ships: 20kB, or a fraction of the dense float32 bytes, 1%.
        most_bits: largest number of bits of a codebook index, 1 to 8; with --ship onnx-int8 those
            of a weight.
        codebook_epochs: passes under the codebooks, after ``epochs`` under the falling budget.
    """

    size: str = "2%"
    most_bits: int = 8
    codebook_epochs: int = 5
    packaging: Packaging = Packaging()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        refuse_size(self.size, self.most_bits, self.codebook_epochs)
        self.limits.check(self.packaging.slim)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The falling budget, planned by angles, then by distortion; the codebooks; the excess."""
        target = FileSize(
            self.size,
            self.most_bits,
            self.codebook_epochs,
            self.select,
            self,
            self.objective(threat),
            model,
            sample,
            form_of(self.packaging, self.most_bits),
            limits=self.limits,
        )
        yield from target.stages()

    def complaint(self, nbytes: int, dense_bytes: int) -> str:
        """That the file is larger than the size."""
        return larger(self.size, nbytes, dense_bytes)
