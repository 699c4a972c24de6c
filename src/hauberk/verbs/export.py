"""Export a compressed network to ONNX."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hauberk.artifact import Artifact
from hauberk.data import Given
from hauberk.data import load as load_data
from hauberk.networks import module
from hauberk.onnx.file import OnnxFile

_CALIBRATION = 1000
"""Training images by which the ranges of eight-bit activations are chosen."""


def export_onnx(
    path: str | Path, out: str | Path | None = None, model: nn.Module | None = None
) -> OnnxFile:
    """Write the network in a file as ONNX: ``max |f_onnx − f_torch| ≤ 1e-5 max |f_torch|``.

    Any batch size, weights inside, standard operators only. Codebooks and pruned weights stay small
    in the file and become dense float32 weights, to the bit, when a runtime loads it. It is checked
    in ONNX Runtime before it is written; needs ``pip install 'hauberk[onnx]'``.

    Args:
        path: an ``.hbk`` file.
        out: where to write, a path that ends in ``.onnx``; by default beside ``path``, under the
            same name.
        model: a module to fill; without it the architecture named in the file is built.

    Raises:
        ValueError: a damaged or foreign file, a missing package, or a network that cannot be
            exported.
        OSError: a file that cannot be read or written.
    """
    target = _onnx_target(path, out, "")
    artifact = Artifact.load(path)
    file = OnnxFile.encode(artifact, _exportable(artifact, path, model))
    file.save(target)
    return file


def export_onnx_int8(
    path: str | Path,
    data: Given,
    out: str | Path | None = None,
    model: nn.Module | None = None,
) -> OnnxFile:
    """Write the network in a file as ONNX that computes in eight bits.

    Weights by output channel, activations in ranges seen on the first 1,000 training images. ONNX
    Runtime must agree with the graph in torch before it is written: logits to one step of eight
    bits, the same answer on 99.9% of those images. Rounding changes what the network answers:
    evaluate the written file.

    Args:
        path: an ``.hbk`` file.
        data: the data that the network was trained on, or what `hauberk.data.load` knows.
        out: where to write, a path that ends in ``.onnx``; by default beside ``path``, as
            ``model-int8.onnx`` for ``model.hbk``.
        model: a module to fill; without it the architecture named in the file is built.

    Raises:
        ValueError: a damaged or foreign file, a missing package, data that do not fit, or a network
            that cannot be exported.
        OSError: a file that cannot be read or written.
    """
    target = _onnx_target(path, out, "-int8")
    artifact = Artifact.load(path)
    net = _exportable(artifact, path, model)
    data = load_data(data)
    images = data.train.first(_CALIBRATION).images().cpu()
    file = OnnxFile.encode_int8(artifact, net, images)
    file.save(target)
    return file


def _onnx_target(path: str | Path, out: str | Path | None, ending: str) -> Path:
    source = Path(path)
    target = Path(out) if out else source.with_name(f"{source.stem}{ending}.onnx")
    if target.suffix.lower() != ".onnx":
        raise ValueError(f"The file to write was given as {target}; give a path ending in .onnx.")
    return target


def _exportable(artifact: Artifact, path: str | Path, model: nn.Module | None) -> nn.Module:
    if artifact.architecture is None and model is None:
        raise ValueError(
            f"{path} names no architecture, for it was made from a module of its user's own; "
            "name that (--model package.module:function), or give it: "
            "hauberk.export_onnx(path, model=MyNet())."
        )
    return module(artifact, path, model)
