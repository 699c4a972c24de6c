"""One claim, one JSON file: what is claimed, what was measured, where, when and how."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
REFERENCE = Path(__file__).parent / "reference"
_PACKAGES = ("hauberk", "torch", "numpy", "kmeans1d", "onnxruntime")


@dataclass(frozen=True)
class Header:
    """The docstring of a script.

    Attributes:
        claim: the first paragraph on one line: the figures, the number of images and of seeds.
        command: the second paragraph: what to run from the root of the repository.
    """

    claim: str
    command: str

    @classmethod
    def of(cls, docstring: str | None) -> Header:
        """The header that ``docstring`` begins with."""
        claim, command, *_ = (docstring or "").split("\n\n")
        return cls(" ".join(claim.split()), "\n".join(map(str.strip, command.splitlines())))


def record(
    path: Path,
    claim: str,
    results: Mapping[str, Any],
    seed: int | None = None,
    command: str | None = None,
) -> None:
    """Write ``results`` with claim, command, versions, machine and date; print all but the rows.

    Args:
        path: the JSON file; its folder is made.
        claim: what the figures show.
        results: plain numbers, strings, lists and mappings.
        seed: the seed of everything random, where there is one.
        command: what makes all of it, where this process made a part; by default this process's.
    """
    entry = {
        "claim": claim,
        "command": command or own_command(sys.orig_argv),
        "date": datetime.now(UTC).date().isoformat(),
        "seed": seed,
        "versions": _versions(),
        "machine": _machine(),
        "results": dict(results),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(entry) + "\n", encoding="utf-8")
    brief = {name: value for name, value in results.items() if name != "rows"}
    print(f"{claim}\n{_text(brief)}\n{path}")


def own_command(argv: Sequence[str]) -> str:
    """The command line, with ``path/to/NAME`` for each path that only this machine has."""
    words = (PurePath(word) for word in argv[1:])
    foreign = [f"path/to/{p.name}" if p.is_absolute() or ".." in p.parts else str(p) for p in words]
    return shlex.join(["python", *foreign])


def _text(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a benchmark may run from a checkout
            continue
    return found


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),  # of other programs; 0 is an idle machine
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
