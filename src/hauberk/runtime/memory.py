"""Memory: how much is free, on the machine or on a device, and what lies on disk instead."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

_GROUPS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.stat", "anon"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.stat", "total_rss"),
)
"""Where Linux says what a container may take, and what it has taken: version 2, version 1."""


def free(device: torch.device | str = "cpu") -> int:
    """Bytes that could be taken on ``device`` now; what torch keeps for later use counts as free.

    For every device but CUDA it is the machine's memory, which then is theirs too.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return _host(Path("/"))
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def mapped(x: Tensor) -> bool:
    """Whether ``x`` lies in a file on disk that is read by the page."""
    return x.device.type == "cpu" and x.untyped_storage().filename is not None


def readable(nbytes: int) -> str:
    """``1.5 GB``."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if nbytes >= size:
            return f"{nbytes / size:.4g} {unit}"
    return f"{nbytes} bytes"


def _host(root: Path) -> int:
    """The least of what the machine and each container's limit leave."""
    whole = _number(root / "proc/meminfo", "MemAvailable:")
    if whole is None:  # no Linux: what is taken is not known, so half of what there is
        known = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return known // 2
    left = [whole * 1024]
    for limit, state, taken in _GROUPS:
        most, used = _number(root / limit, ""), _number(root / state, taken)
        if most is not None and used is not None:  # its cache of files gives way, as the machine's
            left.append(max(0, most - used))
    return min(left)


def _number(path: Path, key: str) -> int | None:
    """The number after ``key`` in a file of lines; None where there is neither."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return None
    place = 1 if key else 0
    words = next((line for line in lines if line and (not key or line[0] == key)), [])
    return int(words[place]) if len(words) > place and words[place].isdigit() else None
