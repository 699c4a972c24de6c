"""Evaluate an image-to-image network: distances to the dense net, bytes, MACs, latency."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from hauberk.data import Given
from hauberk.data import load as load_data
from hauberk.evaluation import Features, ImageEvaluation, ImageReport, provenance
from hauberk.evaluation.image_file import evaluate_image_file, read_features
from hauberk.evaluation.images import Truth
from hauberk.evaluation.provenance import IMAGES
from hauberk.evaluation.shipped_file import read
from hauberk.preparation import Size, shown
from hauberk.training.run import Run
from hauberk.verbs.load import loaded


def evaluate_images(
    what: str | Path | nn.Module,
    data: Given,
    *,
    dense: str | Path | nn.Module,
    model: nn.Module | None = None,
    truth: Truth | None = None,
    features: str | Path | nn.Module | Features | None = None,
    limit: int | None = None,
    image_size: int | Size | None = None,
    cost_size: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    device: torch.device | str | None = None,
) -> ImageReport:
    """The report of one image-to-image network on the test split; the dense net is the teacher.

    Args:
        what: an ``.hbk`` file; an ``.onnx`` file that hauberk wrote; plain weights of ``model``
            (``.safetensors``, ``.pt``, ``.pth``); or a module from images in [0, 1] to images in
            [0, 1], which is copied, not changed.
        data: what `hauberk.data.load` takes; labels are ignored.
        dense: the dense net, as a module or a file.
        model: the module to fill, if a file names no architecture.
        truth: the ground truth in [0, 1], if it is known: one image for each of the test split, in
            their order, or a function of a batch of inputs.
        features: of the perceptual and the Fréchet distance: the ``.hbk`` of a classifier, or
            ``FILE:layer``; a classifier; or `Features`. Without them both are left out.
        limit: measure only the first so many images; all by default.
        image_size: side of the square, or height and width, that photographs are brought to; by
            default what the file records.
        cost_size: side of the square that multiplications and latency are for; by default the size
            of the images.
        seed: of the bootstrap.
        batch_size: images at a time.
        device: where to compute; by default CUDA if available, else the CPU.

    Raises:
        ValueError: a damaged file, a classifier, weights, data, a dense net or features that do not
            fit, fewer than 2 images, or a missing package.
        OSError: a file that cannot be read.
    """
    evaluation = ImageEvaluation(
        _features(features), limit=limit, seed=seed, batch_size=batch_size, cost_size=cost_size
    )
    opened = read(what, model)
    images = load_data(data, image_size=image_size, recorded=opened.photographs, labelled=False)
    place = Run().place() if device is None else torch.device(device)
    row = evaluate_image_file(
        opened, images, evaluation, dense=loaded(dense, model), truth=truth, device=place
    )
    source = type(dense).__name__ if isinstance(dense, nn.Module) else str(dense)
    command = f'hauberk.evaluate_images("{row.file}", "{images.name}", dense="{source}")'
    origin = provenance(
        command=command, seed=seed, data=images.name, device=str(place), packages=IMAGES
    )
    how = {"images": shown(images.resize, images.shape)} if images.resize else {}
    return ImageReport([row], {**origin, **how, "dense": source})


def _features(given: str | Path | nn.Module | Features | None) -> Features | None:
    if isinstance(given, str | Path):
        return read_features(given)
    return Features.of(given) if isinstance(given, nn.Module) else given
