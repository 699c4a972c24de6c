"""The file that ships: a versioned, checked container of entropy-coded weights."""

from hauberk.artifact.agreement import Agreement
from hauberk.artifact.artifact import Artifact, Layer, dense_bytes
from hauberk.artifact.families import Family, families
from hauberk.artifact.format import About, Architecture, ArtifactError
from hauberk.artifact.onnx import OnnxFile
from hauberk.artifact.plain import fill_plain
from hauberk.artifact.session import Session
from hauberk.artifact.slimming import shrink, slim

__all__ = [
    "About",
    "Agreement",
    "Architecture",
    "Artifact",
    "ArtifactError",
    "Family",
    "Layer",
    "OnnxFile",
    "Session",
    "dense_bytes",
    "families",
    "fill_plain",
    "shrink",
    "slim",
]
