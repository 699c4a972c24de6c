"""What is free: the machine's word, and a container's limit where it is less."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hauberk.runtime import memory

MACHINE = "MemTotal: 64000 kB\nMemFree: 10 kB\nMemAvailable: 32000 kB\n"
V1, V2 = "sys/fs/cgroup/memory/memory", "sys/fs/cgroup/memory"


def root(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MACHINE, **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "bytes_"),
    [
        ({}, 32_000 * 1024),
        ({f"{V2}.max": "max\n", f"{V2}.stat": "anon 7\n"}, 32_000 * 1024),
        ({f"{V2}.max": "1000000\n", f"{V2}.stat": "anon 400000\nfile 500000\n"}, 600_000),
        ({f"{V2}.max": "1000000\n", f"{V2}.stat": "anon 1400000\n"}, 0),
        ({f"{V2}.max": "1000000\n"}, 32_000 * 1024),
        (
            {f"{V1}.limit_in_bytes": "9000000\n", f"{V1}.stat": "cache 5\ntotal_rss 1000000\n"},
            8_000_000,
        ),
        (
            {f"{V1}.limit_in_bytes": "9223372036854771712\n", f"{V1}.stat": "total_rss 5\n"},
            32_000 * 1024,
        ),
    ],
)
def test_the_least_that_is_left_counts(tmp_path: Path, files: dict[str, str], bytes_: int) -> None:
    assert memory._host(root(tmp_path, files)) == bytes_


def test_this_machine_has_some() -> None:
    assert 1 << 20 < memory.free() < 1 << 50 and memory.free("cpu") > 0


def test_another_system_counts_half_of_what_there_is(tmp_path: Path) -> None:
    assert 1 << 20 < memory._host(tmp_path) < 1 << 50


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(12, "12 bytes"), (1500, "1.5 kB"), (2_340_000, "2.34 MB"), (10**11, "100 GB")],
)
def test_sizes_are_readable(nbytes: int, text: str) -> None:
    assert memory.readable(nbytes) == text


def test_only_a_file_is_mapped(tmp_path: Path) -> None:
    file = torch.from_file(str(tmp_path / "x"), shared=True, size=8, dtype=torch.uint8)
    assert memory.mapped(file) and memory.mapped(file.view(2, 4)[1:])
    assert not memory.mapped(torch.zeros(8)) and not memory.mapped(file.clone())
