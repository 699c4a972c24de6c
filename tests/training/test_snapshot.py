"""Snapshots: what is saved comes back; other runs' and other stages' files do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hauberk.training import snapshot
from hauberk.training.run import Run
from hauberk.training.snapshot import Snapshot


class Counter:
    """A part with one number."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def tree(self) -> dict[str, Any]:
        return {"count": self.count}

    def load(self, tree: dict[str, Any]) -> None:
        self.count = tree["count"]


def linear(value: float) -> nn.Module:
    net = nn.Linear(2, 1)
    nn.init.constant_(net.weight, value)
    nn.init.constant_(net.bias, value)
    return net


def weight(net: nn.Module) -> float:
    return float(net.state_dict()["weight"].mean())


@pytest.mark.parametrize(("number", "back"), [(1, (3.0, 5)), (0, (0.0, 0)), (2, (0.0, 0))])
def test_a_checkpoint_is_restored_by_its_own_stage_alone(
    tmp_path: Path, number: int, back: tuple[float, int]
) -> None:
    Snapshot(Run(out=tmp_path), 1, linear(3.0), {"part": Counter(5)}).save()
    net, part = linear(0.0), Counter()
    Snapshot(Run(out=tmp_path, resume=True), number, net, {"part": part}).restore()
    assert (weight(net), part.count) == back


def test_without_resume_nothing_is_read(tmp_path: Path) -> None:
    Snapshot(Run(out=tmp_path), 0, linear(3.0), {}).save()
    net = linear(0.0)
    Snapshot(Run(out=tmp_path), 0, net, {}).restore()
    assert weight(net) == 0


def test_a_finished_stage_replaces_its_checkpoint(tmp_path: Path) -> None:
    run = Run(out=tmp_path, resume=True)
    shot = Snapshot(run, 4, linear(3.0), {"part": Counter(5)})
    shot.save()
    assert snapshot.finished(run, 4) is None
    shot.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["stage-4.safetensors"]
    tree = snapshot.finished(run, 4)
    assert tree is not None and tree["part"] == {"count": 5}
    assert snapshot.finished(Run(out=tmp_path), 4) is None, "the run does not resume"
    snapshot.clear(tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_run_s_files_are_refused(tmp_path: Path) -> None:
    Snapshot(Run(out=tmp_path, identity="a"), 0, linear(3.0), {}).save()
    other = Snapshot(Run(out=tmp_path, identity="b", resume=True), 0, linear(0.0), {})
    with pytest.raises(ValueError, match="other settings"):
        other.restore()


def test_the_fallback_is_what_was_saved_last(tmp_path: Path) -> None:
    net = linear(1.0)
    shot = Snapshot(Run(), 0, net, {})
    for value in (2.0, torch.nan):
        nn.init.constant_(net.get_parameter("weight"), value)
        if value == 2.0:
            shot.save()
    shot.fall_back()
    assert weight(net) == 2.0
