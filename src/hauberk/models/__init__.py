"""The networks of the papers, by name."""

from __future__ import annotations

from hauberk.models.build import FAMILIES, Family, build, build_named, parse
from hauberk.models.lenet import caffe_lenet, digits_cnn, lenet
from hauberk.models.resnet import resnet18, resnet34, wrn
from hauberk.models.user import Normalized, network
from hauberk.models.vgg import vgg16

__all__ = [
    "FAMILIES",
    "Family",
    "Normalized",
    "build",
    "build_named",
    "caffe_lenet",
    "digits_cnn",
    "lenet",
    "network",
    "parse",
    "resnet18",
    "resnet34",
    "vgg16",
    "wrn",
]
