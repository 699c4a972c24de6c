"""The loop: resumption to the same bits, collapse, logs."""

import csv
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from tests.helpers import victims
from tests.helpers.nets import conv, toy
from torch import nn

import hauberk as hb
from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.dataset import Data, Examples
from hauberk.models import build
from hauberk.objectives import Adversarial, Natural
from hauberk.problem import Problem
from hauberk.runtime.signals import Interrupted
from hauberk.solvers import Descent, ProjectedGradient
from hauberk.threats import Linf
from hauberk.training.augment import Augmentation
from hauberk.training.loop import follow, solve
from hauberk.training.run import Run, TrainingFailed, Watcher
from hauberk.training.stage import Stage


def _flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class Steps(Watcher):
    """Tells of every step."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.tell = tell

    def step(self, metrics: Mapping[str, float] | None) -> None:
        self.tell("step")


def _train(out: Path, resume: bool, tell: Callable[[str], object]) -> None:
    method = hb.ATMC(keep=0.3, bits=2, dense_epochs=2, codebook_epochs=2, factors=True)
    method = method.with_(epochs=6, batch_size=32, reuse=True, shift=1, flip=True, cutout=2)
    run = Run(resume=resume, watcher=Steps(tell))
    hb.compress(conv(), toy(), method=method, threat=Linf(0.1), out=out, run=run)


def _victim(out: Path, end: Connection) -> None:
    _train(out, False, end.send)


def _stopped(out: Path, steps: int, signum: signal.Signals) -> int | None:
    """The exit code of the run in a process of its own, which is sent a signal after some steps."""
    here, there = victims.pipe()
    victim = victims.start(_victim, out, there)
    there.close()
    for _ in range(steps):
        assert here.recv() == "step"
    assert victim.pid is not None
    os.kill(victim.pid, signum)
    victim.join(60)
    here.close()
    return victim.exitcode


def _steps(out: Path, resume: bool = False) -> int:
    """How many steps the run takes to its end, in this process."""
    seen = list[str]()
    _train(out, resume, seen.append)
    return len(seen)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script leaves where nothing stops it."""
    folder = tmp_path_factory.mktemp("whole")
    _steps(folder / "out")
    return folder / "out"


@pytest.mark.slow
@pytest.mark.parametrize("steps", [30, 70])
def test_a_run_killed_with_9_resumes_to_the_same_bits(
    whole: Path, tmp_path: Path, steps: int
) -> None:
    killed = tmp_path / "killed"
    assert _stopped(killed, steps, signal.SIGKILL) == -signal.SIGKILL
    assert not (killed / "model.hbk").exists()
    assert _steps(killed, resume=True) < 80  # it went on; it did not start anew
    assert (killed / "model.hbk").read_bytes() == (whole / "model.hbk").read_bytes()
    assert (killed / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_in_mid_epoch(whole: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    assert _stopped(stopped, 21, signal.SIGTERM)
    _steps(stopped, resume=True)
    for name in ("model.hbk", "metrics.csv"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_a_signal_in_a_stage_s_last_step_ends_the_run_too(tmp_path: Path) -> None:
    class Stops(Watcher):
        def step(self, metrics: Mapping[str, float] | None) -> None:
            self.steps += 1
            if self.steps == self.at:
                signal.raise_signal(signal.SIGINT)

        def stage(self, name: str, steps: int, done: int) -> None:
            self.steps, self.at = done, steps

    def stages() -> Iterator[Stage]:
        for name in ("one", "two"):
            yield Stage(name, Problem(Natural()), ProjectedGradient(), 1, 64)

    with pytest.raises(Interrupted, match=r"stage one, step (\d+) of \1;.*--resume"):
        follow(stages(), conv(), toy(), Run(out=tmp_path, watcher=Stops()))
    resumed, whole = conv(), conv()
    follow(stages(), resumed, toy(), Run(out=tmp_path, resume=True))
    follow(stages(), whole, toy(), Run())
    assert torch.equal(_flat(resumed), _flat(whole))


def test_another_run_s_checkpoint_is_refused(tmp_path: Path) -> None:
    stages = [Stage("one", Problem(Natural()), ProjectedGradient(), 1, 64)]
    follow(stages, conv(), toy(), Run(out=tmp_path, identity="a"))
    with pytest.raises(ValueError, match="other settings"):
        follow(stages, conv(), toy(), Run(out=tmp_path, identity="b", resume=True))


def test_a_fresh_start_clears_an_earlier_run_s_checkpoints(tmp_path: Path) -> None:
    stages = [Stage("one", Problem(Natural()), ProjectedGradient(), 1, 64)]
    follow(stages, conv(), toy(), Run(out=tmp_path, identity="a"))
    follow(stages, conv(), toy(), Run(out=tmp_path, identity="b"))
    assert follow(stages, conv(), toy(), Run(out=tmp_path, identity="b", resume=True))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(os.urandom(300))
    stages = [Stage("one", Problem(Natural()), ProjectedGradient(), 1, 64)]
    with pytest.raises(ValueError, match="no readable checkpoint"):
        follow(stages, conv(), toy(), Run(out=tmp_path, resume=True))


@pytest.mark.slow
def test_a_collapse_to_chance_ends_with_a_sentence() -> None:
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.bias + 0 * x.flatten(1)[:, :1]

    stage = Stage("blind", Problem(Adversarial(Linf(0.1), PGD(1))), ProjectedGradient(), 60, 32)
    with pytest.raises(TrainingFailed, match="no better than always answering one class"):
        follow([stage], Blind(), toy(), Run())


@pytest.mark.slow
def test_it_learns_and_logs(tmp_path: Path) -> None:
    model, problem = conv(), Problem(Adversarial(Linf(0.05), PGD(3)))
    stage = Stage("robust", problem, ProjectedGradient(Descent(lr=0.02, average=0.9)), 8, 32)
    history = follow([stage], model, toy(), Run(out=tmp_path, tensorboard=True))
    assert history[-1]["val_robust"] > 0.9
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, 9)]
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert any((tmp_path / "tensorboard").iterdir())


def test_no_epochs_only_make_the_weights_feasible() -> None:
    from hauberk.constraints import Sparsity

    model = conv()
    problem = Problem(Natural(), {"budget": Sparsity(10)})
    assert solve(Stage("cut", problem, ProjectedGradient(), 0), model, toy(), Run()).ok
    assert sum(int(p.count_nonzero()) for p in model.parameters()) == 10


def test_a_full_run_of_an_epoch_takes_about_its_steps(tmp_path: Path) -> None:
    seen: list[int] = []

    from hauberk.training.run import Watcher

    class Count(Watcher):
        def step(self, metrics: object) -> None:
            seen.append(1)

    stage = Stage("one", Problem(Natural()), ProjectedGradient(), 2, 100)
    start = time.perf_counter()
    solve(stage, conv(), toy(), Run(watcher=Count()))
    assert len(seen) == 4 and time.perf_counter() - start < 30


def test_a_reused_attack_goes_on_from_its_last_end() -> None:
    starts: list[torch.Tensor | None] = []

    class Note(Attack):
        def search(self, task):
            starts.append(task.start)
            return task.x + 0.05

    problem = Problem(Adversarial(Linf(0.1), Note()))
    stage = Stage("s", problem, ProjectedGradient(Descent(lr=1e-3)), 2, 256, reuse=True)
    solve(stage, conv(), toy(), Run())
    anywhere, again = [s for s in starts if s is not None and len(s) == 256]
    x = toy().train.images()
    assert len(anywhere.unique()) > x.numel() / 2, "each pixel begins at a point of its own"
    # the order is shuffled
    torch.testing.assert_close(again.sum(), (x + 0.05).clamp(max=1).sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("flip", [False, True])
def test_a_reused_attack_moves_with_its_image(flip: bool) -> None:
    seen = []

    class RightOfTheDot(Attack):
        def search(self, task):
            beside = torch.where(task.x == 0.4, 1.0, 0.0)  # right of it, until it is mirrored
            if task.start is not None:
                seen.append((task.start - task.x, beside))
            return task.x + 0.1 * beside

    x = torch.zeros(64, 1, 9, 9)
    x[:, :, 4, 4], x[:, :, 4, 5] = 0.8, 0.4
    some = Examples(x, torch.arange(64) % 3)
    data = Data("dots", some, some.first(0), some, 3)
    problem = Problem(Adversarial(Linf(0.1), RightOfTheDot()))
    solver = ProjectedGradient(Descent(lr=1e-3))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(81, 3))
    stage = Stage("s", problem, solver, 2, 64, Augmentation(shift=2, flip=flip), reuse=True)
    solve(stage, model, data, Run())
    first, second = seen
    assert first[0].any(), "there is no last end yet, so it begins anywhere"
    where = second[1].nonzero()[:, 2:].unique(dim=0)
    assert len(where) > 3, "nothing moved"
    assert bool((where[:, 1] < 3).any()) == flip, "mirrored ones stand on the other side"
    torch.testing.assert_close(second[0], 0.1 * second[1].float(), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, in its compiler
def test_a_compiled_network_learns_the_same() -> None:
    def trained(compiled: bool) -> nn.Module:
        model = conv()
        model[3] = nn.Identity()  # dropout draws other masks inside of a kernel
        problem = Problem(Adversarial(Linf(0.1), PGD.soft(2)))
        descent = Descent(lr=1e-2, adaptive=False)  # Adam takes rounding for a direction
        stage = Stage("dense", problem, ProjectedGradient(descent), 1, batch_size=64)
        solve(stage, model, toy(), Run(compiled=compiled))
        return model

    plain, fast = trained(False), trained(True)
    assert "_compiled_call_impl" not in fast.__dict__ or fast._compiled_call_impl is None
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_residual_network_is_compiled_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks share their code: compiled apart, they exceed dynamo's recompilations."""
    from torch._dynamo.utils import counters

    counters.clear()
    eager = partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", eager)
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(256, (16, 3, 32, 32), dtype=torch.uint8, generator=rng)
    some = Examples(x, torch.arange(16) % 10)
    problem = Problem(Adversarial(Linf(0.03), PGD(1)))
    stage = Stage("dense", problem, ProjectedGradient(Descent()), 1, batch_size=8)
    solve(stage, build("resnet18:1"), Data("random", some, some, some, 10), Run(compiled=True))
    assert 0 < counters["frames"]["ok"] == counters["frames"]["total"] <= 4
    assert not counters["graph_break"]


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def fail(*_: object) -> None:
        raise TorchDynamoException("no C++ compiler was found")

    monkeypatch.setattr(torch, "compile", lambda _, **__: fail)
    stage = Stage("dense", Problem(Natural()), ProjectedGradient(Descent()), 1, batch_size=64)
    model = conv()
    with pytest.raises(ValueError, match=r"no C.. compiler was found.; leave compiled out"):
        solve(stage, model, toy(), Run(compiled=True))
    model(toy().test.images())  # the network is its own again
