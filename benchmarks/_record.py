"""One published number, one JSON file: what was claimed, what was measured, where and how."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("hauberk", "torch", "numpy", "kmeans1d", "onnxruntime")


def record(
    path: Path | str,
    claim: str,
    results: Mapping[str, Any],
    seed: int | None = None,
    command: str | None = None,
) -> None:
    """Write ``results`` beside claim, command, versions, machine and date; print all but the rows.

    Args:
        path: the JSON file; its folder is made.
        claim: what the figures are said to show.
        results: plain numbers, strings, lists and mappings.
        seed: the seed of everything random, where there was one.
        command: that gives all of it, where it was run in parts.
    """
    entry = {
        "claim": claim,
        "command": command or shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "seed": seed,
        "versions": _versions(),
        "machine": _machine(),
        "results": dict(results),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(_text(entry) + "\n", encoding="utf-8")
    brief = {name: value for name, value in results.items() if name != "rows"}
    print(f"{claim}\n{_text(brief)}\n{path}")


def _text(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, indent=2, ensure_ascii=False)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a benchmark runs from a checkout, too
            continue
    return found


def _machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),  # what else ran: 0 is an idle machine
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
