"""Read a network from a file or from memory, and evaluate one that classifies."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from hauberk import networks
from hauberk.artifact import Artifact, dense_bytes, fill_plain
from hauberk.artifact.state_dicts import is_plain
from hauberk.dataset import Data, Examples, settled
from hauberk.evaluation import code
from hauberk.evaluation.accuracy import Progress, silent
from hauberk.evaluation.code import shipped_code
from hauberk.evaluation.evaluation import Evaluation
from hauberk.evaluation.report import Row
from hauberk.evaluation.shipped import Shipped
from hauberk.microcontroller.compiled import Compiled
from hauberk.microcontroller.reference import Reference
from hauberk.onnx.attackable import agree
from hauberk.onnx.export import trace
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.foreign import ForeignFile
from hauberk.onnx.raw import content_of, is_ours
from hauberk.onnx.session import Session
from hauberk.parametrize.plain import copied
from hauberk.preparation import shown
from hauberk.threats.reach import check_reach
from hauberk.training.run import Run

_WHOLE, _FLOAT_BITS = 0.9, 16
"""A matrix is stored dense if more than this fraction is not zero, in no codebook."""
_LARGE = 0.05
"""Fraction of the file from which such a matrix is named."""
_FEW = 5


@dataclass(frozen=True)
class Opened:
    """A network, read and checked before any data are.

    Attributes:
        shipped: the network, on the CPU.
        dense: the same network at full size without zeros, which latency is compared with; ``None``
            if its architecture is not known, or nothing was compressed.
        input_shape: of one image, if the file fixes it: (channel, height, width).
        labels: names of the classes by index, if the file has them.
        classes: outputs, if the file says so; 0 for an image-to-image network.
        int8: whether it computes in 8 bits.
        foreign: whether it is an ``.onnx`` that hauberk did not write.
        photographs: the input shape that photographs were brought to for its training, if the file
            records one.
        remark: a sentence about the file for its report.
    """

    shipped: Shipped
    dense: nn.Module | None = None
    input_shape: tuple[int, ...] | None = None
    labels: tuple[str, ...] = ()
    classes: int | None = None
    int8: bool = False
    foreign: bool = False
    photographs: tuple[int, ...] | None = None
    remark: str = ""


def read(what: str | Path | nn.Module, model: nn.Module | None = None) -> Opened:
    """Open an ``.hbk``, anyone's ``.onnx``, our ``.c``, plain weights of ``model``, or a module.

    A ``.c`` is compiled for this computer; its bytes are those of flash on its target. An
    ``.onnx`` runs in ONNX Runtime, and is replayed in torch for its gradient if it can be. That
    of an image-to-image network must be hauberk's own.

    Args:
        what: a path, or a module from images in [0, 1] to logits (batch, class) or to images.
        model: the module that the weights are of; for an ``.hbk`` that names no architecture, the
            module to fill; for such an ``.onnx``, the dense net that it is timed against. It is
            left untouched.

    Raises:
        ValueError: a damaged file, a graph that is no image classifier or might run code or
            without bounds, weights that do not fit ``model``, or ``hauberk[onnx]`` is missing.
        OSError: a file that cannot be read.
    """
    model = None if model is None else copied(model)
    if isinstance(what, nn.Module):
        return _module(what)
    path = Path(what)
    if is_plain(path):
        return _weights(path, model)
    if path.suffix.lower() == ".c":
        return _compiled(path)
    if path.suffix.lower() != ".onnx":
        return _artifact(path, model)
    content = content_of(path)
    return (
        _exported(path, content, model)
        if is_ours(content, str(path))
        else _foreign(path, content, model)
    )


def _module(net: nn.Module) -> Opened:
    size = dense_bytes(net.state_dict())
    return Opened(Shipped(type(net).__name__, size, size, copied(net), in_file=False))


def _weights(path: Path, model: nn.Module | None) -> Opened:
    if model is None:
        raise ValueError(
            f"{path} holds weights alone; name the network that they are of (--model NAME or "
            "package.module:function, in Python model=MyNet())."
        )
    net = fill_plain(model, path).eval()
    size, whole = path.stat().st_size, dense_bytes(net.state_dict())
    return Opened(Shipped(str(path), size, whole, net))


def _compiled(path: Path) -> Opened:
    shipped, about = shipped_code(path)
    return Opened(
        shipped,
        None,
        about.input_shape,
        about.labels,
        about.classes,
        int8=True,
        photographs=about.photographs,
    )


def _artifact(path: Path, model: nn.Module | None) -> Opened:
    artifact = Artifact.load(path)
    empty = networks.blank(artifact.about, path, model)
    dense = _full_size(empty)  # before the file resizes it
    net, about = networks.filled(artifact, path, empty), artifact.about
    shipped = Shipped(str(path), artifact.nbytes, artifact.dense_bytes, net)
    return Opened(
        shipped,
        dense,
        None,
        about.labels,
        about.classes,
        photographs=about.photographs,
        remark=_left_dense(artifact),
    )


def _left_dense(artifact: Artifact) -> str:
    """A sentence about large matrices that are stored dense beside compressed ones."""
    matrices = [part for part in artifact.layers() if sum(size > 1 for size in part.shape) > 1]
    whole = [p for p in matrices if p.kept > _WHOLE * p.weights and p.bits >= _FLOAT_BITS]
    large = sorted((p for p in whole if p.share >= _LARGE), key=lambda p: -p.share)
    if not large or len(whole) == len(matrices):
        return ""
    named = ", ".join(f"{part.name} ({part.share:.0%})" for part in large[:_FEW])
    return f"These stay dense, with their fraction of the file: {named}."


def _exported(path: Path, content: bytes, model: nn.Module | None) -> Opened:
    file = OnnxFile.from_bytes(content, str(path))
    if model is not None or not networks.needs_model(file.about):
        model = networks.blank(file.about, path, model)
    net, blind = _twin(file, path)
    session = file.session(str(path))
    return Opened(
        Shipped(str(path), file.nbytes, file.dense_bytes, net, session, blind=blind),
        None if model is None else _full_size(model),
        file.about.input_shape,
        file.about.labels,
        file.about.classes,
        file.int8,
        photographs=file.about.photographs,
    )


def _twin(file: OnnxFile, path: Path) -> tuple[nn.Module | None, str]:
    """The graph in torch; why there is none: the file is then evaluated without gradients."""
    blind = file.blind
    return (None, blind) if blind else (file.twin(str(path)), "")


def _foreign(path: Path, content: bytes, model: nn.Module | None) -> Opened:
    file = ForeignFile.from_bytes(content, str(path))
    session, found = file.session(), file.replay()
    net, blind = (None, found) if isinstance(found, str) else (found, "")
    return Opened(
        Shipped(str(path), len(content), file.dense_bytes, net, session, blind=blind),
        None if model is None else _full_size(model),
        file.input_shape,
        int8=file.int8,
        foreign=True,
    )


def evaluate_file(
    opened: Opened,
    data: Data,
    evaluation: Evaluation,
    *,
    source: nn.Module | None = None,
    name: str | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Row:
    """The row of something that classifies, on the test split.

    Args:
        opened: from `read`.
        data: its test split is attacked.
        evaluation: how it is attacked and timed.
        source: the dense net, from which attacks are transferred; by default none are.
        name: of the row.
        device: where to compute; by default CUDA if available, else the CPU.
        progress: called with each step's fraction of its own work.

    Raises:
        ValueError: data that do not fit, or a threat that an attack does not support.
    """
    if opened.classes == 0:
        raise ValueError(
            f"{opened.shipped.name} is an image-to-image network; evaluate it with --task image "
            "and its dense net (in Python hauberk.evaluate_images)."
        )
    place = device or Run().place()
    if opened.classes is not None:
        data = data.under(opened.labels, opened.classes)
    check_shape(opened, data)
    networks.check_fit(opened.shipped.model or opened.shipped.timed, data)
    check_reach(evaluation.threat, data.shape, data.name)
    examples = settled(data.test, place)
    classifier = _agreeing(on(opened.shipped, place), opened, examples)
    if isinstance(classifier.session, Compiled):
        evaluation = replace(evaluation, threat=code.on_grid(evaluation.threat))
    dense = opened.dense
    if dense is not None and opened.shipped.session is not None:
        dense = Session(trace(dense, data.shape).SerializeToString())
    row = evaluation(
        classifier,
        examples,
        dense=dense and dense.to(place),
        source=None if source is None else copy.deepcopy(source).to(place),
        name=name,
        progress=progress,
    )
    warnings = (*row.warnings, *filter(None, [opened.remark]))
    return replace(
        row, images=shown(data.resize, data.shape), classes=data.classes, warnings=warnings
    )


def on(shipped: Shipped, place: torch.device) -> Shipped:
    """The same network on a device; a session stays in ONNX Runtime."""
    net = shipped.model
    return shipped if net is None else replace(shipped, model=net.to(place))


def _agreeing(shipped: Shipped, opened: Opened, examples: Examples) -> Shipped:
    """The network, without the replay of a foreign graph if its logits differ.

    Raises:
        ValueError: the logits of a file that hauberk wrote differ from its replay.
    """
    if shipped.session is None or shipped.model is None:
        return shipped
    if isinstance(shipped.session, Compiled):
        assert isinstance(shipped.model, Reference)
        code.agree(shipped.session, shipped.model, examples)
        return shipped
    try:
        agree(shipped.session, shipped.model, examples, int8=opened.int8)
    except ValueError:
        if not opened.foreign:
            raise
        return replace(
            shipped, model=None, blind="its replay in torch gives other logits on these data"
        )
    return shipped


def check_shape(opened: Opened, data: Data) -> None:
    """Check that a graph of a fixed shape takes the images.

    Args:
        opened: the network.
        data: the images.

    Raises:
        ValueError: they have another shape.
    """
    if opened.input_shape not in (None, data.shape):
        shapes = data.shape, opened.input_shape
        have, want = (" × ".join(map(str, shape or ())) for shape in shapes)
        advice = (
            "give images of this size (--image-size)"
            if opened.classes == 0
            else "give data of the shape that the network was trained on"
        )
        raise ValueError(
            f"{opened.shipped.name} takes images of {want} and those of {data.name} are {have}; "
            f"{advice}."
        )


def _full_size(model: nn.Module) -> nn.Module:
    """The same net with no weight zero: the reference of the latency."""
    dense = copy.deepcopy(model)
    for p in dense.parameters():
        nn.init.normal_(p, std=0.01)
    return dense
