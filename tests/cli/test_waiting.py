"""Long work says how long it takes, and is never silent for long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
import torch
from tests.helpers.nets import mlp, toy

import hauberk as hb
from hauberk.cli import console, heartbeat
from hauberk.runtime.progress import heard, tell
from hauberk.training.run import Watcher
from hauberk.verbs import compress, duration


def test_what_is_told_far_below_is_heard_in_the_context_alone() -> None:
    seen: list[tuple[int, int, str]] = []
    tell("measuring layers", 1, 9)
    with heard(lambda *now: seen.append(now)):
        tell("measuring layers", 2, 9)
    tell("measuring layers", 3, 9)
    assert seen == [(2, 9, "measuring layers")]


def test_a_line_has_the_fraction_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    pace = heartbeat.Pace("sparse", 20, 100, 20)
    clock[0] = 20.0
    assert pace.line() == "sparse: 20 s so far"
    pace.done = 40
    assert pace.line() == "sparse: 40%, about 60 s left"
    pace.move("writing onnx", 0, 0)
    clock[0] = 42.0
    assert pace.line() == "writing onnx: 22 s so far"
    pace.move("attack", 0, 8)
    pace.move("attack, 90% left", 2, 8)
    clock[0] = 46.0
    assert pace.line() == "attack, 90% left: 25%, about 12 s left"


def test_silence_is_broken_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "SILENCE", 0.02)
    with console.bars("small.hbk"):
        tell("measuring layers", 1, 4)
        said = ""
        for _ in range(500):
            time.sleep(0.01)
            said += capsys.readouterr().err
            if "measuring" in said:
                break
    assert "small.hbk measuring layers: 0 s so far" in said


@dataclass
class Listener(Watcher):
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(("seconds", "said"), [(30.0, []), (300.0, ["takes about 5 min."])])
def test_a_long_training_is_announced_once(
    seconds: float, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "estimate", lambda *_: seconds)
    listener, method = Listener(), hb.DA().with_(epochs=0)
    hb.compress(mlp(), toy(), threat=None, method=method, run=hb.Run(watcher=listener))
    assert [note.removeprefix("The training ") for note in listener.notes] == said


def test_the_estimate_grows_with_passes_and_attack_steps() -> None:
    place = torch.device("cpu")

    def seconds(attacked: bool, **changes: int) -> float:
        method = hb.SizeTarget().with_(**changes)
        return duration.estimate(mlp(), toy(), method, attacked, False, place)

    calm = seconds(False, epochs=1)
    assert seconds(False, epochs=1000) > 20 * calm > 0
    assert seconds(True, epochs=1, attack_steps=1000) > 50 * calm


def test_passes_are_those_of_all_stages() -> None:
    assert hb.SizeTarget().with_(epochs=4, dense_epochs=3, codebook_epochs=2).passes(False) == 9
    assert hb.SizeTarget().with_(epochs=4, codebook_epochs=2).passes(True) == 6
    admm = hb.ADMMPruning(admm_epochs=3, cuts=2, cut_epochs=5).with_(epochs=4)
    assert admm.passes(True) == 3 + 5 + 3 + 4
    assert hb.RobustBoosting(members=3).with_(epochs=4).passes(False) == 12
