"""The file that ships: a versioned, checked container of entropy-coded weights."""

from hauberk.artifact.artifact import Artifact, Layer, dense_bytes
from hauberk.artifact.format import About, Architecture, ArtifactError
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
