"""The .hbk file: a versioned, checksummed container of entropy-coded weights."""

from hauberk.artifact.artifact import Artifact, dense_bytes
from hauberk.artifact.format import About, Architecture, ArtifactError
from hauberk.artifact.layers import Layer
from hauberk.artifact.state_dicts import fill_plain

__all__ = [
    "About",
    "Architecture",
    "Artifact",
    "ArtifactError",
    "Layer",
    "dense_bytes",
    "fill_plain",
]
