"""Memory: how much is free on the machine or a device, and which tensors are mapped from disk."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor

_GROUPS = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.stat", "anon"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "sys/fs/cgroup/memory/memory.stat", "total_rss"),
)
"""Linux control groups, version 2 and 1: files with a container's limit and its use."""


def free(device: torch.device | str = "cpu") -> int:
    """Bytes that can be allocated on ``device`` now; torch's cache counts as free.

    Devices other than CUDA share the machine's memory.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return _host(Path("/"))
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def mapped(x: Tensor) -> bool:
    """Whether ``x`` is memory-mapped from a file."""
    return x.device.type == "cpu" and x.untyped_storage().filename is not None


def readable(nbytes: int) -> str:
    """``1.5 GB``."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if nbytes >= size:
            return f"{nbytes / size:.4g} {unit}"
    return f"{nbytes} bytes"


def _host(root: Path) -> int:
    """The least of the machine's free memory and of the memory left by each container's limit."""
    whole = _number(root / "proc/meminfo", "MemAvailable:")
    if whole is None:  # not Linux: use is unknown, so assume that half is free
        known = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return known // 2
    left = [whole * 1024]
    for limit, state, taken in _GROUPS:
        most, used = _number(root / limit, ""), _number(root / state, taken)
        if most is not None and used is not None:  # without the page cache, which is reclaimable
            left.append(max(0, most - used))
    return min(left)


def _number(path: Path, key: str) -> int | None:
    """The number after ``key`` in a file of lines; None if there is no such file or key."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return None
    place = 1 if key else 0
    words = next((line for line in lines if line and (not key or line[0] == key)), [])
    return int(words[place]) if len(words) > place and words[place].isdigit() else None
