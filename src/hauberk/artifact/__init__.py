"""The file that ships: a versioned, checked container of entropy-coded weights."""

from hauberk.artifact.artifact import Artifact, Layer
from hauberk.artifact.format import Architecture, ArtifactError
from hauberk.artifact.onnx import OnnxFile
from hauberk.artifact.session import Session

__all__ = ["Architecture", "Artifact", "ArtifactError", "Layer", "OnnxFile", "Session"]
