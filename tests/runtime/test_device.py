"""What the machine can do."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from hauberk.cli.console import bars
from hauberk.cli.run_spec import RunSpec
from hauberk.runtime import device
from hauberk.runtime.processes import ALONE

CPU = torch.device("cpu")


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc/cpuinfo")
def test_bfloat16_is_in_software_where_the_processor_says_nothing_of_it() -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    known = {"avx512_bf16", "amx_bf16", "amx_tile"} & set(flags)
    x86 = platform.machine() == "x86_64"
    assert device.bf16_in_software(CPU) == (x86 and not known)


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("slow", [True, False])
def test_a_precision_that_only_costs_time_is_said(
    precision: str, slow: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(device, "bf16_in_software", lambda place: slow)
    words = ["--data", "digits", "--model", "digits-cnn", "--threat", "linf:0.1"]
    spec = RunSpec.parse(["train", *words, "--precision", precision, "--device", "cpu"])
    with bars("a run") as bar:
        run = spec.run(ALONE, bar)
    told = capsys.readouterr().err
    assert run.bf16 == (precision == "bf16-mixed")
    assert ("in software" in told) == (run.bf16 and slow)
