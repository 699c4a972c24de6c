"""Model zoo: the networks of the papers, by name."""

from __future__ import annotations

from hauberk.models.build import FAMILIES, Family, build, build_named, parse
from hauberk.models.early_exit import EarlyExit
from hauberk.models.ensemble import Ensemble
from hauberk.models.generators import cyclegan_resnet9, pix2pix_unet
from hauberk.models.lenet import caffe_lenet, digits_cnn, lenet
from hauberk.models.resnet import resnet18, resnet34, wrn
from hauberk.models.user import Normalized, network
from hauberk.models.vgg import vgg16

__all__ = [
    "FAMILIES",
    "EarlyExit",
    "Ensemble",
    "Family",
    "Normalized",
    "build",
    "build_named",
    "caffe_lenet",
    "cyclegan_resnet9",
    "digits_cnn",
    "lenet",
    "network",
    "parse",
    "pix2pix_unet",
    "resnet18",
    "resnet34",
    "vgg16",
    "wrn",
]
