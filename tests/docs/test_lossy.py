"""docs/lossy.py, the example of a bound: it runs, and does what its page says."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "docs" / "lossy.py"


@pytest.fixture(scope="module")
def lossy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lossy", PATH)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["lossy"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.long
def test_each_target_is_met_within_three_percent_without_a_sweep(lossy: ModuleType) -> None:
    rows = list(lossy.rows((1.0, 2.0, 4.0), ["dual"], epochs=150))
    assert [row["target"] for row in rows] == [1.0, 2.0, 4.0]
    assert all(abs(row["off"]) < 0.03 for row in rows), rows
    bits = [row["bits"] for row in rows]
    assert bits[0] > bits[1] > bits[2] > 1, "a better image takes more bits"


@pytest.mark.slow
def test_the_baselines_miss_what_no_one_swept_for(lossy: ModuleType) -> None:
    rows = list(lossy.rows((4.0,), ["weighted", "hinge"], epochs=60))
    assert {row["way"] for row in rows} == {"weighted", "hinge"}
    assert any(abs(row["off"]) > 0.1 for row in rows), rows


def test_codes_of_probability_one_cost_nothing_and_rare_ones_much(lossy: ModuleType) -> None:
    import torch

    net = lossy.Codec()
    with torch.no_grad():
        net.log_scale.fill_(-3.0)
    near, far = net.bits(torch.zeros(1, 16)), net.bits(torch.full((1, 16), 3.0))
    assert 0 <= float(near.detach()) < 0.1 and 100 < float(far.detach()) < 16 * 30
