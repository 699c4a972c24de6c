"""ONNX files to read, attack and damage; the exporter takes seconds, so each is made once."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from hauberk import models
from hauberk.artifact import Artifact
from hauberk.onnx.file import OnnxFile
from tests.helpers.nets import alive, artifact_of


@cache
def exported(spec: str) -> tuple[nn.Module, OnnxFile]:
    """A network by name and its ONNX file; the exporter takes seconds, so each is made once."""
    net = alive(models.build(spec))
    shape = models.FAMILIES[spec.partition(":")[0]].input_shape
    return net, OnnxFile.encode(artifact_of(net, shape), net)


@cache
def tiny_artifact() -> tuple[Artifact, nn.Module]:
    """Few weights, so that mutations hit the graph; they take several forms in the file."""
    layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    net = alive(nn.Sequential(*layers, nn.Linear(18, 40), nn.ReLU(), nn.Linear(40, 4)))
    with torch.no_grad():
        net[5].weight.copy_(net[5].weight * 8).round_().div_(8)
        net[7].weight.copy_(torch.where(net[7].weight > 0.12, 0.25, 0.0))
    return artifact_of(net, (1, 8, 8), 4), net


@cache
def tiny() -> OnnxFile:
    return OnnxFile.encode(*tiny_artifact())


def images(file: OnnxFile, batch: int) -> Tensor:
    rng = torch.Generator().manual_seed(batch)
    return torch.rand(batch, *file.about.input_shape, generator=rng)
