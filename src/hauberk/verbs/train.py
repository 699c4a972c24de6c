"""Train a dense, adversarially robust network and write it as a file."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hauberk.data import Given
from hauberk.method import Compression, Method
from hauberk.methods import DA, RobustBoosting
from hauberk.threat import Threat
from hauberk.training.run import Run
from hauberk.verbs.compress import Compressed, compress


def train(
    model: nn.Module,
    data: Given,
    *,
    threat: Threat | None,
    method: Method | None = None,
    out: str | Path | None = None,
    run: Run | None = None,
) -> Compressed:
    """``min_w E max_{x' ∈ Δ(x)} loss(f_w, x', y)``, with no constraint on the weights.

    Args:
        model: the network to train; it is copied, not changed.
        data: what `hauberk.data.load` takes: `Data`, a name, a path, a torch `Dataset`, ….
        threat: what the adversary may do, for instance ``Linf(8 / 255)``; ``None`` trains without
            one.
        method: how it is trained; `DA` by default.
        out: folder for the file, checkpoints and logs; nothing is written without it.
        run: seed, device, precision, resumption; ``out`` replaces its folder.

    Raises:
        ValueError: a method that compresses, data that do not fit the model, invalid settings, or
            a failed training.
        OSError: the folder cannot be written.
    """
    if isinstance(method, Compression):
        raise ValueError(
            f"train was given {type(method).__name__}, which compresses; call hauberk.compress, or "
            "give train a dense method such as DA()."
        )
    refuse_size(method)
    return compress(model, data, method=method or DA(), threat=threat, out=out, run=run)


def refuse_size(method: Method | None) -> None:
    """Check that a training has no budget in bytes.

    Raises:
        ValueError: it has one.
    """
    if isinstance(method, RobustBoosting) and method.size:
        raise ValueError(
            f"train was given size {method.size}, and it leaves networks dense; use hauberk "
            "compress --method boost (in Python hauberk.compress), or leave size out."
        )
