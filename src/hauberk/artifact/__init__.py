"""The file that ships: a versioned, checked container of entropy-coded weights."""

from hauberk.artifact.artifact import Artifact, Layer, dense_bytes
from hauberk.artifact.format import Architecture, ArtifactError

__all__ = ["Architecture", "Artifact", "ArtifactError", "Layer", "dense_bytes"]
