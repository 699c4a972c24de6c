"""Robust boosting: rounds, weights, dropped members, resumption, and the file's size."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from tests.helpers import victims
from tests.helpers.nets import conv, mlp, toy
from torch import nn

import hauberk as hb
from hauberk.methods._line_search import LineSearch
from hauberk.models import EarlyExit, Ensemble
from hauberk.objectives import Hard
from hauberk.training.run import Watcher

QUICK = {"epochs": 2, "batch_size": 32, "lr": 0.02}
THREAT = hb.Linf(0.1)


class Notes(Watcher):
    """Keeps the notes; ends the process, or raises, at a step of a stage."""

    def __init__(self, stage: str = "", step: int = 0, kill: bool = False) -> None:
        self.notes, self.names = list[str](), list[str]()
        self.where, self.left, self.kill = stage, step, kill

    def stage(self, name: str, steps: int, done: int) -> None:
        self.names.append(name)

    def step(self, metrics: object) -> None:
        if self.where == self.names[-1]:
            self.left -= 1
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)

    def note(self, text: str) -> None:
        self.notes.append(text)


def boosting(members: int = 3, **changes: hb.nested.SettingValue) -> hb.RobustBoosting:
    return hb.RobustBoosting(members=members, judge_steps=5).with_(**{**QUICK, **changes})


def made(
    method: hb.RobustBoosting, net: nn.Module | None = None, pretrained: bool = False
) -> tuple[Ensemble, list[str]]:
    seen = Notes()
    found = hb.compress(
        net or mlp(), toy(), method=method, threat=THREAT, pretrained=pretrained,
        run=hb.Run(watcher=seen),
    )  # fmt: skip
    assert isinstance(found.model, Ensemble)
    return found.model, seen.notes


def trained() -> nn.Module:
    method = hb.DA().with_(epochs=4, batch_size=32, lr=0.02)
    return hb.train(mlp(), toy(), threat=THREAT, method=method).model


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
def test_each_round_adds_a_weighed_member_and_leaves_the_others(loss: str) -> None:
    one, _ = made(boosting(1, half=False, member_loss=loss))
    three, notes = made(boosting(3, half=False, member_loss=loss))
    assert len(one.members) == 1
    assert 1 < len(three.members) <= 3 and len(notes) == 2
    first = one.members[0].state_dict()
    for name, t in three.members[0].state_dict().items():
        assert torch.equal(t, first[name])
    assert three.alpha[0] == one.alpha[0] and all(a > 0 for a in three.alpha)
    assert all("weight" in note or "dropped" in note for note in notes)


@pytest.mark.slow
def test_statistics_of_frozen_members_stay() -> None:
    one, _ = made(boosting(1, half=False), conv())
    two, _ = made(boosting(2, half=False), conv())
    for name, t in two.members[0].state_dict().items():
        assert torch.equal(t, one.members[0].state_dict()[name]), name


@pytest.mark.slow
def test_members_start_fresh_or_from_the_one_before() -> None:
    net = trained()
    still = boosting(2, lr=1e-12, average=0.0, half=False)
    copied, _ = made(still, net, pretrained=True)
    weights = [m[1].weight for m in copied.members]
    assert len(weights) == 1 or torch.allclose(*weights, atol=1e-6)
    fresh = still.network(net)
    assert len(fresh.members) == 1 and fresh.members[0] is net


@pytest.mark.slow
def test_a_collapsed_member_is_named_and_dropped() -> None:
    """A member whose weights never move from their random start answers at random."""
    still = boosting(2, lr=1e-12, average=0.0, member_start="fresh")
    kept, notes = made(still, trained(), pretrained=True)
    assert len(kept.members) == 1
    (note,) = (note for note in notes if "Member 2" in note)
    assert "was dropped" in note and "\n" not in note


@pytest.mark.filterwarnings("ignore:The gradient of the images is 0")
def test_a_first_member_at_chance_ends_the_run_in_one_line() -> None:
    constant = mlp()
    with torch.no_grad():
        constant[3].weight.zero_()
    with pytest.raises(hb.TrainingFailed, match="nothing to boost") as caught:
        made(boosting(2), constant, pretrained=True)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_weight_is_the_minimum_of_the_line() -> None:
    net = Ensemble([trained(), trained()], [0.5, 1.0])
    held_out = toy().validation
    search = LineSearch(THREAT, held_out, 5, Hard)
    alpha, found = search.weigh(net)
    losses = {n: search.look(net, n / 16).loss for n in range(33)}
    assert found.loss == losses[round(16 * alpha)]
    assert found.loss <= min(losses.values()) + 1e-3
    assert net.alpha.tolist() == [0.5, 1.0]
    spoiler = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        spoiler[1].weight.copy_(-torch.eye(3, 36)[:, torch.arange(36)])
    assert LineSearch(THREAT, held_out, 5, Hard).weigh(Ensemble([trained(), spoiler]))[0] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("how", ["independent", "pruned", "joint"])
def test_other_ensembles_of_the_same_members(how: str) -> None:
    net, _ = made(boosting(2, how=how, half=False))
    a, b = (member[1].weight for member in net.members)
    assert not torch.equal(a, b)
    assert net.alpha.tolist() == ([1, 1] if how == "joint" else [0.5, 0.5])
    if how == "pruned":
        kept = [int(w.count_nonzero()) for w in (a, b)]
        assert kept == [round(0.2 * 720)] * 2
        assert not torch.equal(a == 0, b == 0)


@pytest.mark.slow
def test_independent_members_do_not_see_each_other() -> None:
    one, _ = made(boosting(1, half=False))
    two, _ = made(boosting(2, how="independent", half=False))
    assert torch.equal(two.members[0][1].weight, one.members[0][1].weight)


def run(folder: Path, method: hb.RobustBoosting, resume: bool, watcher: Watcher) -> bytes:
    state = hb.Run(resume=resume, watcher=watcher)
    hb.compress(mlp(), toy(), method=method, threat=THREAT, out=folder, run=state)
    return (folder / "model.hbk").read_bytes()


def victim(folder: Path, stage: str, step: int) -> None:
    run(folder, boosting(3), False, Notes(stage, step))


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), [("member 2", 11), ("member 3", 1)])
def test_a_killed_run_resumes_to_the_same_bits(stage: str, step: int, tmp_path: Path) -> None:
    """Within a round, after its first epoch; and between two rounds."""
    whole = run(tmp_path / "whole", boosting(3), False, Notes())
    folder = tmp_path / "killed"
    process = victims.start(victim, folder, stage, step)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not (folder / "model.hbk").exists()
    seen = Notes()
    assert run(folder, boosting(3), True, seen) == whole
    assert seen.names[0] == stage


@pytest.mark.slow
def test_more_members_go_on_from_the_ones_that_are_there(tmp_path: Path) -> None:
    run(tmp_path, boosting(2), False, Notes())
    for path in sorted(tmp_path.glob("stage-*"))[-1:]:  # the sum of two
        path.unlink()
    seen = Notes()
    more = run(tmp_path, boosting(3), True, seen)
    assert seen.names[0] == "member 3"
    assert more == run(tmp_path / "whole", boosting(3), False, Notes())


@pytest.mark.slow
def test_limited_spreads_are_in_the_file_and_settle_answers_early(tmp_path: Path) -> None:
    method = boosting(3, early_exit=True, half=False)
    shipped = hb.compress(mlp(), toy(), method=method, threat=THREAT, out=tmp_path / "exits")
    assert shipped.path is not None
    net = hb.load(shipped.path, mlp())
    assert isinstance(net, Ensemble) and net.spread is not None and len(net.members) > 1
    x = toy().test.images()
    early = EarlyExit.bounded(net)
    logits, used = early.run(x)
    assert torch.equal(logits.argmax(1), net(x).argmax(1)) and int(used.max()) <= len(net.members)
    free, _ = made(method.with_(early_exit=False))
    spreads = LineSearch(THREAT, toy().validation, 5, Hard).spreads(free)
    assert len(spreads) == len(free.members) - 1 and all(s > 0 for s in spreads)
    assert free.spread is None


@pytest.mark.slow
def test_the_file_holds_all_members_within_its_size(tmp_path: Path) -> None:
    method = boosting(2, size="1100B", most_bits=4, codebook_epochs=1)
    found = hb.compress(mlp(), toy(), method=method, threat=THREAT, out=tmp_path)
    assert found.path is not None
    assert 1000 <= found.path.stat().st_size <= 1100
    decoded, x = hb.load(found.path, mlp()), toy().test.images()
    assert isinstance(decoded, Ensemble) and len(decoded.members) == 2
    total = sum(a * m(x) for a, m in zip(decoded.alpha, decoded.members, strict=True))
    assert torch.equal(decoded(x), total)
    right = (decoded(x).argmax(1) == toy().test.y).float().mean()
    assert right > 0.6


def test_more_members_than_the_bytes_can_hold_name_the_least() -> None:
    with pytest.raises(ValueError, match="40 members take at least ") as caught:
        made(boosting(40, size="1200B"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": 0}, "members was given as 0"),
        ({"members": 1000}, "1 to 256"),
        ({"how": "bagged"}, "one of boosted"),
        ({"member_start": "warm"}, "one of previous, fresh"),
        ({"member_loss": "hinge"}, "one of cross-entropy, margin"),
        ({"member_keep": 0.0}, "member_keep"),
        ({"judge_steps": 0}, "judge_steps"),
        ({"size": "4 stone"}, "give bytes"),
        ({"member_loss": "margin", "trades": 3.0}, "give one of them"),
    ],
)
def test_bad_settings_are_one_line(changes: dict[str, hb.nested.SettingValue], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        hb.RobustBoosting().with_(**changes)
    assert "\n" not in str(caught.value)


def test_data_without_a_validation_split_are_refused() -> None:
    data = toy()
    bare = hb.Data("bare", data.train, data.validation.first(0), data.test, 3)
    with pytest.raises(ValueError, match="validation split"):
        hb.compress(mlp(), bare, method=boosting(2), threat=THREAT)


def test_a_layer_that_cannot_start_anew_is_named() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * x

    net = nn.Sequential(*trained(), Scale())
    with pytest.raises(ValueError, match=r"'4' .*reset_parameters"):
        made(boosting(2, member_start="fresh"), net, pretrained=True)
