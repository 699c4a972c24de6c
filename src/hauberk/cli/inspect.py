"""The summary that ``hauberk inspect`` prints: a file, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.artifact import About, Artifact
from hauberk.preparation import shown
from hauberk.printable import cell

if TYPE_CHECKING:
    from rich.table import Table

    from hauberk.cli.commands import Inspect
    from hauberk.microcontroller.footprint import Footprint


def as_json(artifact: Artifact, path: str) -> dict[str, Any]:
    """``{"file", "bytes", "dense_bytes", "ratio", "overhead_bytes", "labels": [...],
    "input_shape": [...], "preparation": {...}, "layers": [...]}``.

    Each layer has the attributes of `Layer`: shape, rank, kept weights, bits, bytes and their
    fraction of the file, bytes by part, and the entropies that they are compared with.
    """
    layers = artifact.layers()
    return {
        "file": path,
        "bytes": artifact.nbytes,
        "dense_bytes": artifact.dense_bytes,
        "ratio": artifact.nbytes / artifact.dense_bytes,
        "overhead_bytes": artifact.nbytes - sum(layer.nbytes for layer in layers),
        "labels": list(artifact.about.labels),
        "input_shape": list(artifact.about.input_shape),
        "preparation": dataclasses.asdict(artifact.about.preparation),
        "layers": [
            dataclasses.asdict(layer) | {"over_entropy": layer.over_entropy} for layer in layers
        ],
    }


def table(artifact: Artifact, path: str) -> Table:
    """The same as a table for a terminal."""
    from rich import box
    from rich.table import Table

    fraction = artifact.nbytes / artifact.dense_bytes
    about = f"{path}: {artifact.nbytes:,} bytes, {fraction:.2%} of the dense float32 net"
    view = Table(title=cell(about, "table.title"), box=box.SIMPLE_HEAD, title_justify="left")
    view.add_column("layer")
    for head in ("shape", "rank", "weights", "kept", "bits", "bytes", "share", "over entropy"):
        view.add_column(head, justify="right")
    for layer in artifact.layers():
        view.add_row(
            cell(layer.name),
            "×".join(map(str, layer.shape)) or "scalar",
            "" if layer.rank is None else str(layer.rank),
            f"{layer.weights:,}",
            f"{layer.kept:,}",
            str(layer.bits),
            f"{layer.nbytes:,}",
            f"{layer.share:.1%}",
            f"{layer.over_entropy:+.1%}",
        )
    rest = artifact.nbytes - sum(layer.nbytes for layer in artifact.layers())
    if facts := "\n".join(_facts(artifact.about)):
        view.caption, view.caption_justify = cell(facts, "table.caption"), "left"
    view.add_row("header and table", *[""] * 5, f"{rest:,}", f"{rest / artifact.nbytes:.1%}")
    return view


def _facts(about: About) -> Iterator[str]:
    """How images are prepared for the network, and its classes, a line each."""
    prepared = about.preparation
    if prepared.resize:
        yield f"images: {shown(prepared.resize, about.input_shape)}"
    if prepared.mean:
        mean, std = (", ".join(f"{n:g}" for n in each) for each in (prepared.mean, prepared.std))
        yield f"normalised inside the network: mean {mean}; std {std}"
    if about.labels:
        yield f"classes: {', '.join(about.labels)}"


def draw(artifact: Artifact, name: str, path: Path) -> None:
    """Draw the same as a PNG.

    Args:
        artifact: the file.
        name: its path, for the title.
        path: of the PNG.

    Raises:
        ValueError: the path is not of a PNG.
        OSError: its folder cannot be written.
    """
    from hauberk.plots.anatomy import anatomy

    if path.suffix.lower() != ".png":
        raise ValueError(f"The picture was given as {path}; give a path that ends in .png.")
    anatomy(artifact, path, Path(name).name)


def on_target(artifact: Artifact, spec: Inspect) -> Footprint:
    """What C code of the file would take of the part that was asked for.

    Args:
        artifact: the file.
        spec: the settings of the command.

    Raises:
        ValueError: an unknown target, a network without C code or that does not fit, or a missing
            compiler.
    """
    from hauberk.cli.settings import network
    from hauberk.microcontroller.footprint import Footprint
    from hauberk.microcontroller.targets import target_of
    from hauberk.networks import module

    target = target_of(spec.target)
    return Footprint.of(artifact, module(artifact, spec.file, network(spec.model)), target)
