"""Costs: the bytes that a network's weights may take in its file, for methods that plan them.

bytes of the file = rest + Σ_l length(w_l) / 8,   rest = header, names, biases, norms
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.allocation.forms import FileForm, as_shipped
from hauberk.artifact import Architecture, Artifact, dense_bytes, positions
from hauberk.artifact.ans import histogram_bits
from hauberk.artifact.answer import BLANK
from hauberk.artifact.lengths import bits
from hauberk.constraints import Float16
from hauberk.dataset import Examples
from hauberk.objectives import TensorRate
from hauberk.preparation import Preparation


@dataclass(frozen=True)
class FileCosts:
    """Bytes of a file, split into the compressed tensors and the rest.

    Attributes:
        names: of the compressed tensors.
        file_bytes: the whole file, if it were written now.
        rest_bytes: everything in it but these tensors.
        dense_bytes: the whole network in float32.
    """

    names: Sequence[str]
    file_bytes: int
    rest_bytes: int
    dense_bytes: int

    @staticmethod
    def of(
        model: nn.Module,
        sample: Examples,
        names: Sequence[str],
        form: FileForm,
        whole: int | None = None,
    ) -> FileCosts:
        """Costs of the network as it is now.

        Args:
            model: the network.
            sample: of its data, for the header.
            names: of the compressed tensors.
            form: of the file.
            whole: the dense network's bytes in float32, where ``model`` is a slim form of it.

        Raises:
            ValueError: the network cannot be written in this form.
        """
        rounded = copy.deepcopy(model)
        if form.half:
            round_half(rounded)  # as the writer does: buffers and frozen weights stay float32
        tensors, shipped = model.state_dict(), dict(rounded.state_dict())
        named = Architecture.of(model)
        artifact = Artifact.encode(
            shipped,
            architecture=named,
            answer="" if named else BLANK,
            input_shape=sample.shape,
            classes=sample.classes or int(sample.y.max()) + 1,
            dense_bytes=whole,
            labels=sample.names,
            preparation=Preparation.of(model, sample.resize),
        )
        file = form.nbytes(artifact, rounded, sample)
        rest = file - int(sum(form.codec.length(shipped[name]) for name in names) / 8)
        return FileCosts(names, file, rest, whole or dense_bytes(tensors))


@torch.no_grad()
def round_half(model: nn.Module) -> None:
    """Round every parameter to the nearest float16 number, in place, kept as float32.

    Frozen ones stay as they are, unless the whole model is frozen.
    """
    every = dict(model.named_parameters())
    trained = {name: p for name, p in every.items() if p.requires_grad} or every
    rounded = Float16().project({name: p.detach() for name, p in trained.items()})
    for name, p in trained.items():
        p.copy_(rounded[name])


def tensor_rate(cut: Tensor, threshold: float, half: bool) -> TensorRate:
    """The rate of a tensor whose kept weights are like those of this one.

    Args:
        cut: sparse and quantised.
        threshold: magnitude above which a weight is kept.
        half: whether values are written as float16.
    """
    shipped = as_shipped(cut.detach(), half).cpu()
    _, seen = torch.unique(shipped[shipped != 0], return_counts=True)
    places = shipped.flatten().nonzero()[:, 0].numpy()
    where = positions.cost_bits(places, tuple(shipped.shape))
    codes = histogram_bits(seen.numpy())
    fixed = max(0.0, bits(shipped) - where - codes)
    return TensorRate.of(shipped, threshold, where, codes, fixed)
