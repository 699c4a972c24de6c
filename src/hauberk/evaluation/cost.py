"""The cost of a network: multiply-accumulates and milliseconds."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.evaluation.frozen_copy import FrozenCopy, memory_format

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Macs:
    """Multiplications of one input in the convolutions and linear layers.

    Attributes:
        dense: with every weight.
        sparse: with the weights that are not zero.
    """

    dense: int
    sparse: int

    @staticmethod
    def from_json(found: Mapping[str, int]) -> Macs:
        """The counts that `json` wrote.

        Raises:
            KeyError: it is no such object.
        """
        return Macs(found["dense"], found["sparse"])

    def json(self) -> dict[str, int]:
        """``{"dense", "sparse"}``."""
        return {"dense": self.dense, "sparse": self.sparse}


@dataclass(frozen=True)
class Timing:
    """Milliseconds for one batch, and the dense net's in the same run.

    Attributes:
        median: of the network.
        p05: 5th percentile.
        p95: 95th percentile.
        dense_median: of the dense net.
    """

    median: float
    p05: float
    p95: float
    dense_median: float

    @property
    def ratio(self) -> float:
        """Time of the network over time of the dense net."""
        return self.median / self.dense_median

    @staticmethod
    def from_json(found: Mapping[str, float]) -> Timing:
        """The timing that `json` wrote.

        Raises:
            KeyError: it is no such object.
        """
        return Timing(found["median"], found["p05"], found["p95"], found["dense_median"])

    def json(self) -> dict[str, float]:
        """``{"median", "p05", "p95", "dense_median", "ratio"}``, in milliseconds."""
        return {
            "median": self.median,
            "p05": self.p05,
            "p95": self.p95,
            "dense_median": self.dense_median,
            "ratio": self.ratio,
        }


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> Macs:
    """Counts the multiplications of one input of ``input_shape``, by running one.

    Every weight of a layer is used once at each position of its output (of its input in a
    transposed convolution). Matrix products outside such layers are not counted.
    """
    dense = sparse = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal dense, sparse
        weight: Any = layer.weight
        if isinstance(layer, nn.Linear):
            positions = output.numel() // layer.out_features
        else:
            side = inputs[0] if isinstance(layer, _TRANSPOSED) else output
            positions = side[0, 0].numel()
        dense += weight.numel() * positions
        sparse += int(weight.count_nonzero()) * positions

    twin = copy.deepcopy(model).eval()
    for module in twin.modules():
        if isinstance(module, (nn.Linear, *_CONV, *_TRANSPOSED)):
            module.register_forward_hook(count)
    with torch.no_grad():
        twin(torch.zeros(1, *input_shape, device=_device(model)))
    return Macs(dense, sparse)


def latency(
    model: nn.Module,
    reference: nn.Module,
    input_shape: tuple[int, ...],
    *,
    batches: Sequence[int] = (1, 64),
    repeats: int = 60,
    threads: int | None = None,
) -> dict[str, Timing]:
    """Forward time of ``model`` and of ``reference``, in alternation, by ``batch1``, ``batch64``.

    Both run as copies in eval mode, in the memory format that is fastest for each; the warm-up is
    not timed, and a GPU is synchronised.

    Args:
        model: the network that is measured.
        reference: the dense network it is measured against.
        input_shape: shape of one input.
        batches: batch sizes.
        repeats: timed calls of each.
        threads: of the CPU; ``None`` leaves torch's own number.
    """
    pair = FrozenCopy(model).inner, FrozenCopy(reference).inner
    with _threads(threads), torch.inference_mode():
        return {
            f"batch{size}": _alternate(*pair, (size, *input_shape), repeats) for size in batches
        }


def _alternate(
    model: nn.Module, reference: nn.Module, shape: tuple[int, ...], repeats: int
) -> Timing:
    inputs = {net: _input(net, shape) for net in (model, reference)}
    times: dict[nn.Module, list[float]] = {model: [], reference: []}
    for repeat in range(-5, repeats):
        # alternate who goes first, so that neither always finds the other's caches
        for net in (model, reference) if repeat % 2 else (reference, model):
            took = _call_ms(net, inputs[net])
            if repeat >= 0:
                times[net].append(took)
    ours = times[model]
    cuts = statistics.quantiles(ours, n=20, method="inclusive")
    return Timing(
        median=statistics.median(ours),
        p05=cuts[0],
        p95=cuts[-1],
        dense_median=statistics.median(times[reference]),
    )


def _input(net: nn.Module, shape: tuple[int, ...]) -> Tensor:
    x = torch.rand(shape, device=_device(net))
    return x.contiguous(memory_format=memory_format(net)) if x.ndim == 4 else x


def _call_ms(net: nn.Module, x: Tensor) -> float:
    start = time.perf_counter()
    net(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return 1e3 * (time.perf_counter() - start)


def _device(model: nn.Module) -> torch.device:
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
