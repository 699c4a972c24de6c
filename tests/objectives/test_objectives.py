import pytest
import torch
from tests.helpers.nets import batch, normed
from torch import nn
from torch.nn import functional as F

from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.batch import Batch, WarmStart
from hauberk.objectives import Adversarial, Natural, Trades
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf, Union


@pytest.mark.parametrize(
    "objective",
    [
        Natural(),
        Adversarial(Linf(0.1)),
        Adversarial(Linf(0.1), clean=0.5),
        Trades(Adversarial(Linf(0.1))),
    ],
    ids=lambda o: type(o).__name__,
)
def test_is_differentiable_and_leaves_the_mode(objective) -> None:
    model = normed()
    loss = objective(model, batch())
    loss.value.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(m.training for m in model.modules())
    assert all(0 <= v <= 1 and not v.requires_grad for v in loss.metrics.values())


def test_the_mix_is_the_convex_combination() -> None:
    model = normed().eval()
    robust = Adversarial(Linf(0.2))(model, batch()).value
    mixed = Adversarial(Linf(0.2), clean=0.25)(model, batch()).value
    clean = Natural()(model, batch()).value
    torch.testing.assert_close(mixed, 0.75 * robust + 0.25 * clean)
    assert robust > clean


def test_the_saturating_loss_is_its_formula() -> None:
    model = normed().eval()
    b = batch()
    x_adv = Linf(0.0).project(b.x, b.x)
    p = model(x_adv).softmax(1)[torch.arange(8), b.y]
    loss = Adversarial(Linf(0.0), PGD(0), q=0.3)(model, batch()).value
    torch.testing.assert_close(loss, ((1 - p**0.3) / 0.3).mean())
    nearly = Adversarial(Linf(0.0), PGD(0), q=1e-4)(model, batch()).value
    torch.testing.assert_close(nearly, Natural()(model, batch()).value, rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Adversarial(Linf(0.1), q=1.5)


def test_the_threat_warms_up() -> None:
    reached = []

    class Note(Attack):
        def search(self, task):
            reached.append(task.threat.radius())
            return task.x

    objective = Adversarial(Linf(0.2), Note(), warmup=0.5)
    for progress in (0.0, 0.25, 0.5, 1.0):
        objective(normed(), batch(progress))
    assert reached == pytest.approx([0.0, 0.1, 0.2, 0.2])


def test_trades_is_its_formula() -> None:
    model = normed().eval()
    b = batch()
    loss = Trades(Adversarial(Linf(0.1), PGD(0)), beta=2.0)(model, b)
    again = batch()
    x_adv = Linf(0.1).sample(again.x, again.rng)
    p, q = model(b.x).log_softmax(1), model(x_adv).log_softmax(1)
    expected = F.cross_entropy(model(b.x), b.y) + 2 * F.kl_div(
        q, p, reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(loss.value, expected)


def test_the_attack_sees_the_network_in_eval_mode_and_leaves_its_statistics() -> None:
    model = normed()
    before = model[1].running_mean.clone()
    Adversarial(Linf(0.1), PGD(3))(model, batch())
    once = model[1].running_mean.clone()
    model2 = normed()
    Adversarial(Linf(0.1), PGD(30))(model2, batch())
    assert not torch.equal(before, once)
    assert int(model[1].num_batches_tracked) == int(model2[1].num_batches_tracked) == 1


class Blind(nn.Module):
    """Of class 0 until a pixel is above 0.02: at black images it has no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = (x - 0.02).relu().sum(1)
        return torch.stack([torch.full_like(seen, 0.5), 100 * seen], 1)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.3), L1(0.5), Union((Linf(0.1), L2(0.3)))])
@pytest.mark.parametrize("warm", [True, False])
def test_training_attacks_begin_beside_the_clean_image(threat: Threat, warm: bool) -> None:
    """A net that has no gradient at the clean image is not robust for that."""
    x, y = torch.zeros(8, 40), torch.zeros(8, dtype=torch.long)
    objective = Adversarial(threat, PGD.soft(2))
    rows = 8 * objective.searches()
    warm_start = (
        WarmStart(torch.zeros(rows, 40, dtype=torch.float16), torch.arange(8)) if warm else None
    )
    b = Batch(x, y, torch.Generator().manual_seed(0), warm_start=warm_start)
    for _ in range(3):
        loss = objective(Blind(), b)
    assert float(loss.metrics["robust"]) == 0


def test_an_attack_goes_on_from_its_last_end_and_else_from_anywhere() -> None:
    starts = []

    class Note(Attack):
        def search(self, task):
            starts.append(task.start)
            return task.x + 0.1

    ends = torch.zeros(8, 5, dtype=torch.float16)
    ends[:4] = 0.5
    b = batch()
    x = b.x.clamp(0.3, 0.7)
    told = Adversarial(Linf(0.2), Note())
    told(normed(), Batch(x, b.y, b.rng, warm_start=WarmStart(ends, torch.arange(8))))
    torch.testing.assert_close(starts[0][:4], x[:4] + 0.1)
    moved = starts[0][4:] - x[4:]
    assert bool((moved != 0).all()) and float(moved.abs().max()) <= 0.2 + 1e-6
    assert len(moved.unique()) > 10, "every pixel of every image has its own"
    assert torch.equal(ends, torch.full_like(ends, 0.5)), "where it ended is kept for all"
