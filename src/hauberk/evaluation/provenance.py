"""The provenance of a report: versions, machine, command, seed and date."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from hauberk.runtime.packages import version

CLASSES = ("pyautoattack",)
"""Packages behind the figures of a report on classifiers, besides torch and numpy."""
IMAGES = ("scipy", "scikit-image")
"""Packages behind the figures of a report on image-to-image networks."""


def provenance(
    *,
    command: str,
    seed: int,
    data: str,
    device: str = "cpu",
    packages: Sequence[str] = CLASSES,
) -> dict[str, Any]:
    """Versions, machine, command, seed and date of a run.

    Args:
        command: that reproduces the report.
        seed: random seed of every random start.
        data: name of the data set.
        device: that computed.
        packages: whose versions are listed after those of hauberk, torch and numpy.
    """
    return {
        "command": command,
        "seed": seed,
        "data": data,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **{name: version(name) for name in ("hauberk", "torch", "numpy", *packages)},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
    }
