"""From `compress` with ``slim`` to the row of a report: bytes, multiplications, latency."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.allocation.costs import FileCosts
from hauberk.allocation.forms import HbkForm
from hauberk.artifact import dense_bytes
from hauberk.constraints import PerTensor, Sparsity
from hauberk.dataset import Data, Examples
from hauberk.evaluation import Evaluation, Proportion, Row, Shipped
from hauberk.evaluation.shipped_file import evaluate_file, read
from hauberk.method import Compression
from hauberk.ops.groups import Filter
from hauberk.problem import Problem
from hauberk.recipe import Packaging
from hauberk.slimming.slim import slim
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage
from hauberk.verbs.compress import Compressed

pytestmark = pytest.mark.slow

THREAT = hb.Linf(0.1)
HIDDEN = ["conv1.weight", "conv2.weight", "fc1.weight"]


@dataclass(frozen=True, kw_only=True)
class Filters(Compression):
    """Half of all filters leave; nothing is trained."""

    packaging: Packaging = Packaging()

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        structures = {"filters": PerTensor(Sparsity(0.5, Filter()))}
        problem = Problem(self.objective(threat), structures, select=lambda model: HIDDEN)
        yield self.stage("cut", problem, ProjectedGradient(self.optimisation.descent()), 0)


class Mine(nn.Module):
    """The demo's net as a user's module."""

    def __init__(self) -> None:
        super().__init__()
        for name, layer in hb.models.build("digits-cnn").named_children():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class Written(nn.Module):
    """Its forward has the number of channels in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).view(-1, 4, 36).mean(2))


@pytest.fixture(scope="module")
def data() -> Data:
    rng = torch.Generator().manual_seed(0)

    def part(count: int) -> Examples:
        x = torch.rand(count, 1, 8, 8, generator=rng)
        return Examples(x, torch.arange(count) % 10)

    return Data("noise", part(40), part(20), part(20), 10)


@pytest.fixture(scope="module")
def made(data: Data, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Compressed]:
    """The same weights, shipped as they are and slim."""
    return {
        slim: hb.compress(
            hb.models.build("digits-cnn"),
            data,
            method=Filters().with_(slim=slim),
            threat=THREAT,
            out=tmp_path_factory.mktemp("run"),
            pretrained=True,
        )
        for slim in (False, True)
    }


def _exact(data: Data, slim: bool) -> Compressed:
    """With biases that are not rounded once dead channels were folded into them."""
    net, method = hb.models.build("digits-cnn"), Filters().with_(slim=slim, half=False)
    return hb.compress(net, data, method=method, threat=THREAT, pretrained=True)


def test_the_slim_file_is_the_same_net_made_smaller(
    made: dict[bool, Compressed], data: Data
) -> None:
    whole, slim = made[False], made[True]
    x = torch.rand(4, 1, 8, 8)
    exact = [_exact(data, slim=slimmed).model(x) for slimmed in (False, True)]
    assert torch.allclose(*exact, atol=1e-5)
    assert torch.allclose(slim.model(x), whole.model(x), atol=5e-4), "biases of float16"
    assert 8 <= len(slim.model.conv1.weight) < 16
    assert slim.model.fc1.weight.shape == (64, 32 * 16)
    assert slim.artifact.dense_bytes == whole.artifact.dense_bytes == 4 * 141_930
    assert b'"dense_bytes":"567720"' in slim.artifact.content
    assert b"dense_bytes" not in whole.artifact.content
    assert slim.path is not None
    assert hb.load(slim.path).fc1.weight.shape == (64, 32 * 16)


def test_the_report_counts_what_is_left(made: dict[bool, Compressed], data: Data) -> None:
    evaluation = Evaluation(
        THREAT, "linf:0.1", {"fgsm": hb.attacks.FGSM()}, check_limit=0, timing=False
    )
    rows = {slim: _row(one.path, data, evaluation) for slim, one in made.items()}
    assert rows[True].macs.dense < 0.4 * rows[False].macs.dense
    assert rows[True].clean == rows[False].clean
    assert rows[True].dense_bytes == rows[False].dense_bytes


@pytest.mark.usefixtures("unchecked")  # a function in place of an evaluation
@pytest.mark.parametrize("model", [None, Mine()], ids=["named", "given"])
def test_latency_is_compared_with_the_full_size(
    made: dict[bool, Compressed], data: Data, model: nn.Module | None
) -> None:
    seen: dict[str, Any] = {}

    def evaluation(shipped: Shipped, examples: Examples, **given: Any) -> Row:
        seen.update(given, shipped=shipped)
        return Row("f", 1, 1, "linf:0.1", "none", Proportion(1, 1), Proportion(1, 1))

    evaluation.threat = hb.Linf(0.1)  # type: ignore[attr-defined]
    _row(made[True].path, data, evaluation, model=model)
    assert seen["shipped"].model.fc1.weight.shape == (64, 32 * 16)
    assert seen["shipped"].dense_bytes == 4 * 141_930
    assert seen["dense"].fc1.weight.shape == (128, 1024)
    assert all(p.count_nonzero() == p.numel() for p in seen["dense"].parameters())


def _row(path: Path | None, data: Data, evaluation: Any, model: nn.Module | None = None) -> Any:
    assert path is not None
    return evaluate_file(read(path, model), data, evaluation, device=torch.device("cpu"))


@dataclass(frozen=True, kw_only=True)
class Priced(Filters):
    """The same, and what the file would take is noted."""

    found: list[int] = field(default_factory=list)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        whole = dense_bytes(model.state_dict()) if self.packaging.slim else None
        yield from super().stages(model, threat, sample)
        shipped = slim(model, sample.images(slice(1))) if self.packaging.slim else model
        self.found.append(
            FileCosts.of(shipped, sample, HIDDEN, HbkForm(self.packaging.half), whole).file_bytes
        )


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dead", [False, True])
def test_a_file_takes_what_methods_that_plan_its_bytes_count(half: bool, dead: bool) -> None:
    """Of sorted data the first images know one class; here 1,000 take 8 bytes more to say."""
    part = Examples(torch.rand(1600, 1, 8, 8), (torch.arange(1600) - 600).clamp_min(0))
    net = hb.models.build("digits-cnn:classes=1000")
    with torch.no_grad():
        net.get_parameter("fc1.bias")[:9] = 1 / 3  # what dead units give is folded
        net.get_parameter("fc1.weight")[:9] = 0
    method, data = Priced().with_(slim=dead, half=half), Data("sorted", part, part, part, 1000)
    made = hb.compress(net, data, method=method, threat=THREAT, pretrained=True)
    assert method.found == [made.artifact.nbytes]


def test_what_dead_channels_leave_in_biases_is_float16_too(made: dict[bool, Compressed]) -> None:
    """They are folded into biases, whose bytes `SizeTarget` counts as those of float16."""
    for slimmed in (False, True):
        for name, t in made[slimmed].model.state_dict().items():
            assert torch.equal(t, t.half().float()), (slimmed, name)


def test_a_model_that_cannot_shrink_is_refused_before_the_training(data: Data) -> None:
    class Trains(Filters):
        def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
            raise AssertionError("too late")

    with pytest.raises(ValueError, match=r"graph could not be traced \(shape .* is invalid"):
        hb.compress(
            Written(), data, method=Trains().with_(slim=True), threat=THREAT, pretrained=True
        )


def test_factors_are_not_slimmed_and_share_one_budget() -> None:
    with pytest.raises(ValueError, match="factors and slim were both given"):
        hb.ATMC(factors=True).with_(slim=True)
    with pytest.raises(ValueError, match="factors and no across were both given"):
        hb.ATMC(factors=True, across=False)
    with pytest.raises(ValueError, match="ALR has no setting 'slim'"):
        hb.ALR().with_(slim=True)
    assert hb.ATMC().with_(slim=True).packaging.slim
