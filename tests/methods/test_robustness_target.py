"""The smallest file for a robustness that is asked for: met on held-out examples, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import NormalDist

import pytest
import torch
from tests.helpers.nets import mlp, toy

import hauberk as hb
from hauberk.allocation.search import RobustTarget, SizeSearch, TrimSearch
from hauberk.attacks import PGD
from hauberk.cli import main
from hauberk.evaluation import Proportion, Subject, under_attack
from hauberk.methods import robustness_target
from hauberk.problem import Infeasible
from hauberk.verbs import compress
from hauberk.verbs.compress import Compressed

QUICK = {
    "epochs": 3,
    "dense_epochs": 6,
    "codebook_epochs": 1,
    "search_stages": 2,
    "most_bits": 2,
    "judge_steps": 10,
    "batch_size": 32,
    "lr": 0.02,
}
THREAT = hb.Linf(0.1)


def compressed(share: float, **settings: object) -> Compressed:
    method = hb.RobustnessTarget(robust_at_least=share).with_(**{**QUICK, **settings})
    return hb.compress(mlp(), toy(), method=method, threat=THREAT)


known = cache(compressed)
"""A run takes six seconds, so that each is made once where its code is nobody's to change."""


def held_out(made: Compressed) -> Proportion:
    """By the same attack, from the decoded file."""
    attack = PGD(QUICK["judge_steps"], track=True)
    return Proportion.of(under_attack(Subject.of(made.model, toy().validation, THREAT), attack))


@pytest.mark.slow
def test_the_decoded_file_meets_the_target_and_is_small() -> None:
    made = known(0.8)
    need = RobustTarget(0.8, 0.95, len(toy().validation)).need
    assert held_out(made).accuracy >= need > 0.8
    dense = compress.encode(made.dense, toy(), None).nbytes
    assert made.artifact.nbytes < dense / 4
    last = [row for row in made.history if row["stage"] == "shrink"][-1]
    assert {"lambda", "rate", "distortion", "bytes"} <= last.keys()


@pytest.mark.slow
def test_the_smallest_is_trimmed_while_it_meets_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    made = known(0.8)
    need = RobustTarget(0.8, 0.95, len(toy().validation)).need
    assert held_out(made).accuracy >= need
    assert "trim 1" in {row["stage"] for row in made.history}
    monkeypatch.setattr(robustness_target, "_TRIMS", 0)
    untrimmed = compressed(0.8)
    assert made.artifact.nbytes < untrimmed.artifact.nbytes
    assert "trim 1" not in {row["stage"] for row in untrimmed.history}


@pytest.mark.slow
def test_more_robustness_takes_more_bytes() -> None:
    sizes = [known(share).artifact.nbytes for share in (0.5, 0.9)]
    assert sizes[0] < sizes[1]


def test_a_target_above_the_dense_net_s_own_names_what_is_reached(tmp_path: Path) -> None:
    method = hb.RobustnessTarget(robust_at_least=0.9).with_(**QUICK)
    with pytest.raises(Infeasible, match=r"dense network's own \d+\.\d%: give a lower fraction"):
        hb.compress(
            mlp(), toy(), method=method, threat=THREAT, out=tmp_path / "out", pretrained=True
        )
    assert not (tmp_path / "out" / "model.hbk").exists()


@pytest.mark.slow
def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    class Stop(hb.training.run.Watcher):
        def stage(self, name: str, steps: int, done: int) -> None:
            if name == "codebook 2":
                raise Stopped

    method = hb.RobustnessTarget(robust_at_least=0.8).with_(**QUICK)

    def again(**run: object) -> Compressed:
        return hb.compress(
            mlp(), toy(), method=method, threat=THREAT, out=tmp_path / "two", run=hb.Run(**run)
        )

    with pytest.raises(Stopped):
        again(watcher=Stop())
    assert not (tmp_path / "two" / "model.hbk").exists()
    again(resume=True)
    assert (tmp_path / "two" / "model.hbk").read_bytes() == known(0.8).artifact.content


@pytest.mark.slow
def test_a_teacher_teaches_the_bound_too() -> None:
    method = hb.RobustnessTarget(robust_at_least=0.5).with_(teacher="self", **QUICK)
    data = toy()
    sample = replace(data.train.first(100), held_out=data.validation)
    net = known(0.5).dense
    stages = method.distilled(method.stages(net, THREAT, sample), hb.objectives.Teacher(net))
    next(stages)
    shrink = next(stages)
    assert shrink.name == "shrink" and isinstance(shrink.problem.objective, hb.objectives.Rate)
    surrogate = shrink.problem.bounds["robust"].surrogate
    assert isinstance(surrogate.objective, hb.objectives.Distilled)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"robust_at_least": 1.5}, "robust_at_least was given as 1.5; give a fraction between"),
        ({"robust_at_least": -3.0}, "robust_at_least was given as -3"),
        ({"robust_at_least": 0.0}, "robust_at_least was given as 0"),
        ({"robust_at_least": 1.0}, "robust_at_least was given as 1"),
        ({"robust_at_least": float("nan")}, "robust_at_least was given as nan"),
        ({"confidence": 1.0}, "confidence was given as 1"),
        ({"search_stages": 0}, "search_stages as 0"),
        ({"judge_steps": 0}, "judge_steps as 0"),
        ({"most_bits": 9}, "most_bits was given as 9"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hb.RobustnessTarget().with_(**settings)


def test_data_without_a_validation_split_are_refused() -> None:
    data = toy()
    data = replace(data, validation=data.validation.first(0))
    method = hb.RobustnessTarget(robust_at_least=0.5).with_(**QUICK)
    with pytest.raises(ValueError, match="no validation examples"):
        hb.compress(mlp(), data, method=method, threat=THREAT, pretrained=True)


def test_the_margin_is_the_one_sided_bound_less_one_point() -> None:
    target = RobustTarget(0.8, 0.95, 270)
    z = NormalDist().inv_cdf(0.95)
    assert target.need == pytest.approx(0.8 + z * (0.8 * 0.2 / 270) ** 0.5 - 0.01)
    assert RobustTarget(0.8, 0.95, 50_000).need == 0.8, "many examples need no margin"
    assert RobustTarget(0.8, 0.5, 270).need == 0.8


def test_what_the_margin_promises_holds_for_random_shares() -> None:
    """A net that is two points below the target passes in fewer than one run of twenty."""
    target, rng = RobustTarget(0.8, 0.95, 500), torch.Generator().manual_seed(0)
    right = (torch.rand(4000, 500, generator=rng) < 0.79 - 1e-9).sum(1)
    passed = sum(target.met(Proportion(int(k), 500)) for k in right) / 4000
    assert passed < 0.06


def _searched(robust: Callable[[float], float], need: float, tries: int) -> SizeSearch:
    search = SizeSearch(need, 10_000.0, met=80_000.0)
    for _ in range(tries):
        search.note(robust(search.bits), search.bits)
    return search


def test_the_search_closes_on_the_smallest_that_meets_the_target() -> None:
    """A robustness that falls off ever faster, as measured ones do, and one that is a step."""
    search = _searched(lambda bits: 0.9 - 100 / bits, 0.8, 12)
    assert 1000 <= search.met < 1.01 * 1000 and 990 < search.failed < 1000 and search.closed
    search = _searched(lambda bits: 0.9 if bits >= 1234 else 0.1, 0.8, 20)
    assert 1234 <= search.met < 1.01 * 1234 and search.failed < 1234 and search.closed


def test_the_search_comes_down_slowly_and_tries_the_line_between_both_sides() -> None:
    search = SizeSearch(0.8, 10_000.0, met=80_000.0)
    search.note(0.9, 10_000.0)
    assert search.bits == pytest.approx(7000)
    search.note(0.77, 7000.0)
    assert search.bits == pytest.approx(7000 ** (1 - 3 / 13) * 10_000 ** (3 / 13), rel=0.01)
    search.note(0.799, search.bits)
    assert search.failed**0.75 * 10_000**0.25 == pytest.approx(search.bits)


def test_nothing_is_tried_below_the_least_file() -> None:
    search = SizeSearch(0.8, 1000.0, met=8000.0, least=900.0)
    for _ in range(3):
        assert search.bits >= 900.0
        search.note(0.9, search.bits)
    assert search.closed and search.met == 900.0


def _trimmed(bits: float, enough: float, least: float = 0.0) -> tuple[float, list[float]]:
    """What is left of so many bits, of which ``enough`` are robust enough, and what was tried."""
    trimming, tried = TrimSearch(least), list[float]()
    while (limit := trimming.limit(bits)) is not None:
        tried.append(round(limit, 1))
        trimming.note(limit >= enough)
        bits = limit if limit >= enough else bits
    return bits, tried


def test_a_trim_takes_a_twentieth_and_after_each_failure_half_as_much_down_to_a_word() -> None:
    left, tried = _trimmed(2000.0, enough=1830.0)
    assert tried == [1900.0, 1805.0, 1852.5, 1806.2, 1820.5] and left == 1852.5
    assert _trimmed(320.0, enough=300.0) == (320.0, [288.0]), "less than a word is no saving"
    assert _trimmed(320.0, enough=0.0, least=250.0) == (256.0, [288.0, 256.0])


def test_where_none_has_met_it_but_a_cut_the_search_goes_up_half_way() -> None:
    search = SizeSearch(0.8, 1000.0, met=8000.0)
    search.note(0.5, 1000.0)
    assert search.bits == pytest.approx((1000 * 8000) ** 0.5) and search.failed == 1000.0


def test_a_target_that_chance_meets_ends_with_a_tiny_file() -> None:
    made = compressed(0.05, search_stages=2, confidence=0.5)
    assert made.artifact.nbytes < 500


def _words(start: Path, out: Path, target: str) -> list[str]:
    return (
        f"compress --from {start / 'dense.hbk'} --data {start / 'few.npz'} --threat linf:0.02 "
        f"--robust-at-least {target} --epochs 1 --codebook-epochs 1 --search-stages 1 "
        f"--most-bits 1 --judge-steps 2 --attack pgd:2 --json --out {out}"
    ).split()


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("150%", "robust_at_least was given as 1.5"),
        ("-3", "robust_at_least was given as -3"),
        ("ninety", "robust-at-least"),
        ("99%", "the best reached is the dense network's own"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    target: str, sentence: str, start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(_words(start, tmp_path / "out", target))
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and sentence in said and said.startswith("hauberk: ")
    assert not (tmp_path / "out" / "model.hbk").exists()


def test_a_size_and_a_robustness_are_one_too_many(
    start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main([*_words(start, tmp_path / "out", "50%"), "--size", "2%"])
    assert stop.value.code == 2 and "both given" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_makes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    Path("smallnet.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    hidden = nn.Linear(64, 256)\n"
        "    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(256, 10))\n"
    )
    words = (
        "compress --model smallnet:build --data digits --threat linf:0.02 --robust-at-least 60% "
        "--attack-steps 1 --dense-epochs 8 --epochs 3 --codebook-epochs 1 --search-stages 1 "
        f"--most-bits 2 --judge-steps 5 --lr 0.005 --attack pgd:5 --limit 100 --json --out {out}"
    ).split()
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    report = json.loads(capsys.readouterr().out)
    assert stop.value.code == 0 and (out / "model.hbk").exists()
    row = report["rows"][-1]
    assert row["bytes"] == (out / "model.hbk").stat().st_size < report["rows"][0]["bytes"] / 20
    assert row["robust"]["accuracy"] >= 0.59
    assert "robust_at_least = 0.6" in (out / "run.toml").read_text()
