"""The report on image-to-image networks: distances, bytes, multiplications, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hauberk.evaluation.cost import Macs, Timing
from hauberk.evaluation.estimate import Estimate
from hauberk.evaluation.row_report import RowReport
from hauberk.printable import printable

_SHOWN = {
    "mse": ("MSE", ".3g"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "perceptual": ("perceptual", ".3g"),
    "frechet": ("Fréchet", ".3g"),
}
"""Names and formats of the distances in a table."""


@dataclass(frozen=True)
class ImageRow:
    """The measurements of one image-to-image network.

    Attributes:
        file: the path, or the name of a module that is in no file.
        bytes: of the file; of the float32 state dict of such a module.
        dense_bytes: of the dense net in float32.
        shape: of one input image: (channel, height, width).
        to_teacher: distances to the dense net's outputs, by name: ``mse``, ``psnr`` in dB,
            ``ssim``, and on the features ``perceptual`` and ``frechet``.
        to_truth: the same to the ground truth, if there is one.
        name: of the row in a table.
        features: name of the features that ``perceptual`` and ``frechet`` are on.
        cost_shape: shape of the input that ``macs`` and ``latency_ms`` are for.
        macs: multiplications of one input.
        dense_macs: the dense net's.
        latency_ms: by batch, such as ``batch1``, next to the dense net's in the same run.
        warnings: what limits the figures.
        in_file: whether ``bytes`` are a file's; else they are those of a float32 state dict.
    """

    file: str
    bytes: int
    dense_bytes: int
    shape: tuple[int, ...]
    to_teacher: Mapping[str, Estimate]
    to_truth: Mapping[str, Estimate] = field(default_factory=dict)
    name: str | None = None
    features: str | None = None
    cost_shape: tuple[int, ...] = ()
    macs: Macs | None = None
    dense_macs: int | None = None
    latency_ms: Mapping[str, Timing] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    in_file: bool = True

    @property
    def ratio(self) -> float:
        """Bytes of the file over bytes of the dense net in float32."""
        return self.bytes / self.dense_bytes

    @property
    def n(self) -> int:
        """Number of images."""
        return self.to_teacher["mse"].n

    def json(self) -> dict[str, Any]:
        """The object that ``evaluate --task image --json`` prints, without what is unknown."""
        optional = {
            "name": self.name,
            "to_truth": {name: found.json() for name, found in self.to_truth.items()},
            "features": self.features,
            "macs": self.macs and self.macs.json(),
            "dense_macs": self.dense_macs,
            "warnings": list(self.warnings),
        }
        return {
            "file": self.file,
            "bytes": self.bytes,
            "dense_bytes": self.dense_bytes,
            "ratio": self.ratio,
            "n": self.n,
            "shape": list(self.shape),
            "to_teacher": {name: found.json() for name, found in self.to_teacher.items()},
            "cost_shape": list(self.cost_shape),
            "latency_ms": {name: timing.json() for name, timing in self.latency_ms.items()},
            "bytes_of": "file" if self.in_file else "float32 state dict",
            **{key: value for key, value in optional.items() if value},
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], name: str | None = None) -> ImageRow:
        """The row that `json` wrote; ``name`` replaces its own.

        Raises:
            KeyError, TypeError, ValueError: it is no such object.
        """
        work = found.get("macs")
        return cls(
            file=found["file"],
            bytes=found["bytes"],
            dense_bytes=found["dense_bytes"],
            shape=tuple(found["shape"]),
            to_teacher=_estimates(found["to_teacher"]),
            to_truth=_estimates(found.get("to_truth", {})),
            name=name or found.get("name"),
            features=found.get("features"),
            cost_shape=tuple(found["cost_shape"]),
            macs=Macs.from_json(work) if work else None,
            dense_macs=found.get("dense_macs"),
            latency_ms={k: Timing.from_json(t) for k, t in found["latency_ms"].items()},
            warnings=found.get("warnings", ()),
            in_file=found["bytes_of"] == "file",
        )

    def cells(self, brief: bool = False) -> tuple[str, ...]:
        """One table line; a line of its own for each distance."""
        shown = {_SHOWN[name]: found for name, found in self.to_teacher.items()}
        truth = {_SHOWN[name]: found for name, found in self.to_truth.items()}
        names = [head for head, _ in shown] + [f"{head} to truth" for head, _ in truth]
        values = [
            found.text(style) for each in (shown, truth) for (_, style), found in each.items()
        ]
        return (
            printable(self.name or Path(self.file).name),
            f"{self.bytes:,}",
            f"{self.ratio:.2%}",
            "\n".join(names),
            "\n".join(values),
            self._work(),
            "\n".join(f"{t.median:.1f} of {t.dense_median:.1f}" for t in self.latency_ms.values()),
        )

    def remarks(self) -> list[str]:
        """The warnings."""
        return list(self.warnings)

    def _work(self) -> str:
        """``8.3 of 57.1``, in millions."""
        if self.macs is None or self.dense_macs is None:
            return ""
        return f"{self.macs.dense / 1e6:,.1f} of {self.dense_macs / 1e6:,.1f}"


@dataclass(frozen=True)
class ImageReport(RowReport[ImageRow]):
    """Rows of image-to-image networks that belong together, and their provenance."""

    heads: ClassVar[Sequence[str]] = (
        "",
        "bytes",
        "of dense",
        "distance",
        "to the dense net (95%)",
        "million MACs",
        "ms",
    )
    left: ClassVar[Sequence[str]] = ("", "distance")
    note: ClassVar[str] = (
        "Means over images with 95% bootstrap intervals; MACs and ms are those of the file and, "
        'after "of", of the dense net;'
    )

    def caption(self) -> str:
        """The numbers and the sizes of the images, and the features."""
        counts = " to ".join(f"{n:,}" for n in sorted({row.n for row in self.rows}))
        shapes, costs = (
            " and ".join(dict.fromkeys(" × ".join(map(str, shape)) for shape in every if shape))
            for every in (
                [row.shape for row in self.rows],
                [row.cost_shape for row in self.rows],
            )
        )
        named = " and ".join(dict.fromkeys(row.features for row in self.rows if row.features))
        cost = f"; MACs and ms for one image of {costs}" if costs else ""
        return f"{counts} images of {shapes}{cost}{f'; features {named}' if named else ''}."


def _estimates(found: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate.from_json(each) for name, each in found.items()}
