"""The small networks of the papers, by name."""

from __future__ import annotations

from hauberk.models.build import FAMILIES, Family, build, build_named, parse
from hauberk.models.lenet import caffe_lenet, digits_cnn, lenet

__all__ = [
    "FAMILIES",
    "Family",
    "build",
    "build_named",
    "caffe_lenet",
    "digits_cnn",
    "lenet",
    "parse",
]
