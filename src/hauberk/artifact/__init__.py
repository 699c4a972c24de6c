"""The file that ships: a versioned, checked container of entropy-coded weights."""

from hauberk.artifact.artifact import Artifact, Layer, dense_bytes
from hauberk.artifact.families import Family, families
from hauberk.artifact.format import Architecture, ArtifactError
from hauberk.artifact.slim import shrink, slim

__all__ = [
    "Architecture",
    "Artifact",
    "ArtifactError",
    "Family",
    "Layer",
    "dense_bytes",
    "families",
    "shrink",
    "slim",
]
