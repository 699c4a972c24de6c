"""Damaged weights in flash: the code reads nothing outside of its tables and comes to an end."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.integer_nets import Builder, file_of

from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.graph import IntegerGraph, Pool
from hauberk.microcontroller.targets import TARGETS

pytestmark = pytest.mark.slow

ROUNDS = 300
DRIVER = """
#include "net.c"
int main(void)
{
    static uint8_t x[NET_INPUTS];
    static int8_t logits[NET_CLASSES];
    uint32_t seed = 1, round, i, sum = 0;
    for (round = 0; round < %d; round++) {
        uint32_t kind = round %% 3;
        for (i = 0; i < sizeof stream; i++) {
            seed = seed * 1664525u + 1013904223u;
            if (kind == 0) stream[i] = (uint8_t)(seed >> 24);
            else if (kind == 1) stream[i] = seed >> 31 ? 255 : 0;
            else if (seed >> 27 == 0) stream[i] ^= (uint8_t)(1u << (seed >> 20 & 7));
        }
        for (i = 0; i < sizeof x; i++) x[i] = (uint8_t)((seed >> 8) * (i + 1));
        %s
        sum += (uint32_t)net_predict(x, logits);
    }
    return sum == 12345;
}
"""
TABLES = "for (i = 0; i < sizeof {0}; i++) {0}[i] = ({1})((seed >> 4) * (i + 7));"
# a damaged value may be so large that sums wrap; what is read is the matter here
FLAGS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize=signed-integer-overflow")


def net(values: int, wide: bool) -> IntegerGraph:
    built = Builder((2, 7, 7), seed=6, wide=wide)
    built.conv(4, (3, 3), pad=(1, 1), density=0.3, values=values, pool=Pool("max", 2, 2, 2))
    built.conv(4, (2, 2), groups=2, stride=2, density=0.5, values=values)
    return built.linear(12, 0.2).linear(5, 0.3, zero=128).graph()


@pytest.mark.parametrize("values", [3, 127], ids=["book", "large book"])
@pytest.mark.parametrize("entropy", [False, True], ids=["fixed", "entropy"])
def test_any_weights_stay_inside_of_the_tables(values: int, entropy: bool, tmp_path: Path) -> None:
    graph = net(values, wide=True)
    target = replace(TARGETS["host"], entropy_code=-(10**6) if entropy else 10**6)
    file = CodeFile(graph, file_of(graph).about, target)
    file.save(tmp_path / "net.c")
    source = (tmp_path / "net.c").read_text()
    names = ("stream", "counts", "book")
    source = re.sub(rf"static const FLASH (\w+) ({'|'.join(names)})\[", r"static \1 \2[", source)
    (tmp_path / "net.c").write_text(source)
    damage = [TABLES.format(n, "uint8_t") for n in names[1:] if f" {n}[" in source]
    (tmp_path / "driver.c").write_text(DRIVER % (ROUNDS, "\n        ".join(damage)))
    command = ["cc", "-std=c99", *FLAGS, "driver.c", "-o", "driver"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["./driver"], cwd=tmp_path, capture_output=True, timeout=60, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[:2000]
