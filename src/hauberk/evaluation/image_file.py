"""Evaluate an image-to-image network from a file or in memory, and read features from a file."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn

from hauberk import networks
from hauberk.artifact import Artifact
from hauberk.dataset import Data, settled
from hauberk.evaluation.accuracy import Progress, silent
from hauberk.evaluation.features import Features
from hauberk.evaluation.image_report import ImageRow
from hauberk.evaluation.images import ImageEvaluation, Truth
from hauberk.evaluation.shipped_file import Opened, check_shape, on
from hauberk.onnx.export import IMAGES_OUT, trace
from hauberk.onnx.session import Session
from hauberk.training.run import Run


def read_features(spec: str | Path) -> Features:
    """The features that ``FILE`` or ``FILE:layer`` names.

    Args:
        spec: the ``.hbk`` of a classifier of a known architecture, and the name of a layer.

    Raises:
        ValueError: a damaged file, one that is no classifier's, or a layer that it lacks.
        OSError: a file that cannot be read.
    """
    path, _, layer = str(spec).partition(".hbk:")
    path = f"{path}.hbk" if layer else str(spec)
    artifact = Artifact.load(path)
    why = "names no architecture" if networks.needs_model(artifact.about) else None
    if why or not artifact.about.classes:
        raise ValueError(
            f"{path} cannot give features, because it {why or 'is no classifier'}; give the .hbk "
            "of a classifier from hauberk.models, or in Python the classifier itself."
        )
    return Features.of(networks.module(artifact, path), layer, source=Path(path).name)


def evaluate_image_file(
    opened: Opened,
    data: Data,
    evaluation: ImageEvaluation,
    *,
    dense: nn.Module,
    truth: Truth | None = None,
    name: str | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> ImageRow:
    """The row of an image-to-image network on the test split.

    Args:
        opened: from `hauberk.evaluation.shipped_file.read`.
        data: images; labels are ignored.
        evaluation: what is measured.
        dense: the dense net, from images to images of the same shapes; it is left untouched.
        truth: the ground truth of the test split, if it is known.
        name: of the row.
        device: where to compute; by default CUDA if available, else the CPU.
        progress: called with the images done.

    Raises:
        ValueError: a classifier, data or a dense net that do not fit, or features that do not take
            the outputs.
    """
    if opened.classes:
        raise ValueError(
            f"{opened.shipped.name} is a classifier of {opened.classes} classes; evaluate it with "
            "--task classes and a threat (in Python hauberk.evaluate)."
        )
    place, data = device or Run().place(), data.unlabelled()
    check_shape(opened, data)
    networks.check_fit(opened.shipped.timed, data, "network")
    networks.check_fit(dense, data, "dense net")
    return evaluation(
        on(opened.shipped, place),
        settled(data.test, place),
        dense=copy.deepcopy(dense).to(place),
        reference=_reference(opened, dense, evaluation, data.shape),
        truth=truth,
        name=name,
        progress=progress,
    )


def _reference(
    opened: Opened, dense: nn.Module, evaluation: ImageEvaluation, images: tuple[int, ...]
) -> nn.Module | None:
    """The dense net in ONNX Runtime, if the file runs there: both are timed in one runtime."""
    if opened.shipped.session is None or not evaluation.timing:
        return None
    shape = evaluation.cost_shape(images)
    if opened.input_shape not in (None, shape):
        have, want = (" × ".join(map(str, size or ())) for size in (opened.input_shape, shape))
        raise ValueError(
            f"{opened.shipped.name} takes images of {have} only, and its latency was wanted for "
            f"{want}; leave out the other size (--cost-size), or export it for that size."
        )
    graph = trace(dense, shape, output=IMAGES_OUT)
    return Session(graph.SerializeToString(), name="The dense net", images=True)
