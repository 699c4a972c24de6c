"""One row admits a new member to its role's laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from hauberk.allocation.distortion import Curve, Distortion
from hauberk.attacks import FGSM, PGD, MinMaxPGD
from hauberk.bounds import Crown, Interval, MarginBound
from hauberk.constraints import (
    Annealed,
    Block,
    Channel,
    Codebook,
    Column,
    Filter,
    FixedGrid,
    Float16,
    NofM,
    On,
    PerTensor,
    Rank,
    Sparsity,
    Support,
    Tied,
    UniformGrid,
)
from hauberk.methods import (
    AL0,
    ALR,
    AP,
    ATMC,
    DA,
    NAP,
    ADMMPruning,
    GANSlimming,
    Int8,
    Reweighted,
    RobustBoosting,
    RobustnessTarget,
    SizeTarget,
)
from hauberk.objectives import (
    Adversarial,
    Audit,
    Boosted,
    CertifiedLoss,
    Distilled,
    Imitation,
    Natural,
    OnPart,
    PerExampleWeights,
    Rate,
    SharedWeights,
    Supervised,
    Teacher,
    TensorRate,
    Trades,
    WeightPerturbed,
)
from hauberk.ops.ties import join
from hauberk.penalties import GroupLasso, Lasso, TiedPenalty
from hauberk.problem import Constraint, Objective, Penalty
from hauberk.solvers import ADMM, Descent, DualAscent, ProjectedGradient
from hauberk.threats import L1, L2, Linf, NoThreat, Union
from hauberk.types import Weights
from tests.helpers.budgets import BudgetRow
from tests.helpers.domains import MinMaxAlone
from tests.helpers.membership import (
    at_most,
    distinct,
    eighths,
    in_eighths,
    low_rank,
    masks,
    on_a_grid,
    tied,
    tiles,
    two_of_four,
)


@dataclass(frozen=True)
class Box(Constraint):
    """The convex set |w_i| ≤ side: the solvers' laws need a known KKT point."""

    side: float

    def project(self, w: Weights) -> Weights:
        return {name: t.clamp(-self.side, self.side) for name, t in w.items()}

    def size_bits(self, w: Weights) -> int:
        return 32 * sum(t.numel() for t in w.values())

    def budget_bits(self, w: Weights) -> int:
        return self.size_bits(w)


@dataclass(frozen=True)
class ConstraintRow:
    """A set, how to make it for a tree, and a test of membership that owes it nothing."""

    name: str
    make: Callable[[Weights], Constraint]
    holds: Callable[[Weights], bool]

    def __str__(self) -> str:
        return self.name


def _fixed(constraint: Constraint) -> Callable[[Weights], Constraint]:
    return lambda w: constraint


def _tie(w: Weights) -> Constraint:
    same = len({len(t) for t in w.values()}) == 1
    return Tied(Sparsity(0.5, Filter()), (tuple(sorted(w)),) if same else ())


CONSTRAINTS = [
    ConstraintRow("weights", _fixed(Sparsity(0.3)), at_most(0.3, lambda m: m.reshape(-1, 1))),
    ConstraintRow(
        "count", _fixed(Sparsity(1)), lambda w: sum(map(torch.count_nonzero, w.values())) <= 1
    ),
    ConstraintRow("filters", _fixed(Sparsity(0.5, Filter())), at_most(0.5, lambda m: m)),
    ConstraintRow("columns", _fixed(Sparsity(0.5, Column())), at_most(0.5, lambda m: m.T)),
    ConstraintRow(
        "channels",  # every kernel of the suite has two positions
        _fixed(Sparsity(0.5, Channel())),
        at_most(0.5, lambda m: m.reshape(len(m), -1, 2).transpose(0, 1).flatten(1)),
    ),
    ConstraintRow("blocks", _fixed(Sparsity(0.4, Block(2, 2))), at_most(0.4, tiles)),
    ConstraintRow("2:4", _fixed(Sparsity(1.0, NofM(2, 4))), two_of_four),
    ConstraintRow(
        "half of 2:4",
        _fixed(Sparsity(0.5, NofM(2, 4))),
        lambda w: two_of_four(w) and at_most(0.5, lambda m: m.reshape(-1, 4))(w),
    ),
    ConstraintRow(
        "annealed",  # 0.2 + 0.8 · (1 − 0.3/0.6)³ = 0.3
        _fixed(Annealed(Sparsity(0.2)).at(0.3)),
        at_most(0.35, lambda m: m.reshape(-1, 1)),
    ),
    ConstraintRow(
        "weights per tensor",
        _fixed(PerTensor(Sparsity(0.3))),
        lambda w: all(at_most(0.3, lambda m: m.reshape(-1, 1))({n: t}) for n, t in w.items()),
    ),
    ConstraintRow(
        "weights of each tensor's own",
        _fixed(PerTensor(Sparsity(1.0), {"b": Sparsity(0.3)})),
        lambda w: at_most(0.3, lambda m: m.reshape(-1, 1))({"b": w["b"]}),
    ),
    ConstraintRow("tied filters", _tie, lambda w: at_most(0.5, lambda m: m)(tied(w))),
    ConstraintRow("codebook 1", _fixed(Codebook(1)), distinct(2)),
    ConstraintRow("codebook 3", _fixed(Codebook(3)), distinct(8)),
    ConstraintRow(
        "codebooks of their own",
        _fixed(Codebook(1, {"b": 7})),
        lambda w: distinct(7)({"b": w["b"]}) and distinct(2)({n: w[n] for n in w if n != "b"}),
    ),
    ConstraintRow(
        "weights of one tensor",
        _fixed(On(Sparsity(0.3), frozenset({"b", "absent"}))),
        lambda w: at_most(0.3, lambda m: m.reshape(-1, 1))({"b": w["b"]}),
    ),
    ConstraintRow("grid 3", _fixed(UniformGrid(3)), on_a_grid(3, False)),
    ConstraintRow(
        "grid 4 by channel", _fixed(UniformGrid(4, per_channel=True)), on_a_grid(7, True)
    ),
    ConstraintRow("lattice", lambda w: FixedGrid(UniformGrid(3), eighths(w)), in_eighths(3)),
    ConstraintRow(
        "lattice by channel",
        lambda w: FixedGrid(UniformGrid(4, per_channel=True), eighths(w, channels=True)),
        in_eighths(7),
    ),
    ConstraintRow("rank 1", _fixed(Rank(1)), low_rank(1)),
    ConstraintRow("rank half", _fixed(PerTensor(Rank(2))), low_rank(2)),
    ConstraintRow(
        "support",
        lambda w: Support(masks(w)),
        lambda w: all(not t[~masks(w)[n]].any() for n, t in w.items()),
    ),
    ConstraintRow(
        "half precision",
        _fixed(Float16()),
        lambda w: all(torch.equal(t.half().to(t.dtype), t) for t in w.values()),
    ),
]


@dataclass(frozen=True)
class PenaltyRow:
    """A penalty, and how to make it at a tree."""

    name: str
    make: Callable[[Weights], Penalty]

    def __str__(self) -> str:
        return self.name


def _tied_lasso(w: Weights) -> Penalty:
    same = len({len(t) for t in w.values()}) == 1
    families = (tuple(sorted(w)),) if same else ()
    return TiedPenalty(GroupLasso.static(0.8, Filter(), join(w, families)), families)


PENALTIES = [
    PenaltyRow("lasso", lambda w: Lasso.static(0.7, w)),
    PenaltyRow("reweighted lasso", lambda w: Lasso.reweighted(0.7, w, dict.fromkeys(w, 2.0), 0.1)),
    PenaltyRow("filters", lambda w: GroupLasso.static(0.5, Filter(), w)),
    PenaltyRow(
        "reweighted filters",
        lambda w: GroupLasso.reweighted(0.5, Filter(), w, dict.fromkeys(w, 0.5), 0.2),
    ),
    PenaltyRow(
        "reweighted columns",
        lambda w: GroupLasso.reweighted(0.5, Column(), w, dict.fromkeys(w, 0.5), 0.2),
    ),
    PenaltyRow(
        "reweighted channels",
        lambda w: GroupLasso.reweighted(0.5, Channel(), w, dict.fromkeys(w, 0.5), 0.2),
    ),
    PenaltyRow(
        "reweighted blocks",
        lambda w: GroupLasso.reweighted(0.5, Block(2, 2), w, dict.fromkeys(w, 0.5), 0.2),
    ),
    PenaltyRow("tied filters", _tied_lasso),
]

BUDGETS = [
    BudgetRow("tight", 0.05, most_bits=4),
    BudgetRow("loose", 2.0),
    BudgetRow("short codebooks", 0.5, most_bits=2),
    BudgetRow(
        "measured",
        0.3,
        most_bits=4,
        distortion=Distortion(Curve((0.1, 1.0), (0.5, 1.0), 2.0), Curve((0.2,), (2.0,))),
    ),
]


UNION = Union((Linf(0.1), L2(0.7), L1(1.5)))
THREATS = [Linf(0.1), L2(0.7), Linf(1.0), L1(1.5), UNION, NoThreat()]
ATTACKS = [
    PGD(5, track=True),
    PGD(3, 0.05, random_start=False, track=True),
    FGSM(track=True),
    PGD(0, track=True),
    PGD.soft(3),
    MinMaxAlone(MinMaxPGD(5, random_start=False)),
    MinMaxAlone(MinMaxPGD(4, random_start=False, wait=0.5)),
]

torch.manual_seed(2)
_TEACHER = Teacher(nn.Linear(5, 3))
_TWO = Adversarial(Union((Linf(0.1), L2(0.3))), PGD(2), clean=0.25)
_ONE = Adversarial(Linf(0.1), PGD(2))
OBJECTIVES = [  # for helpers.nets.normed, on helpers.nets.batch
    Natural(),
    _ONE,
    Adversarial(Linf(0.1), PGD(2), clean=0.5, warmup=0.5, q=0.3),
    Trades(Adversarial(Linf(0.1), PGD(2))),
    CertifiedLoss(_ONE),
    CertifiedLoss(replace(_TWO, clean=0.5), share=0.3),
    Trades(replace(_TWO, clean=0.0), beta=2.0),
    replace(_TWO, weighting=SharedWeights(rate=0.5)),
    replace(_TWO, weighting=PerExampleWeights(0.5), audit=Audit(1, PGD(4))),
    Distilled(Natural(), _TEACHER, fraction=0.5, temperature=4.0),
    Imitation(_TEACHER),
    Distilled(_ONE, _TEACHER, attack=True),
    WeightPerturbed(_ONE),
    Distilled(WeightPerturbed(_TWO), _TEACHER, fraction=0.5),
    Boosted(_ONE),
    Boosted(replace(_TWO, clean=0.5, q=0.3)),
    OnPart(_ONE, ""),
    Rate({"0.weight": TensorRate(0.1), "3.weight": TensorRate(0.2)}, rest_bits=100.0),
]
WRAPPERS: list[Callable[[Supervised], Objective]] = [  # objectives that are made of another
    lambda inner: Distilled(inner, _TEACHER),
    lambda inner: WeightPerturbed(inner),
    lambda inner: Boosted(inner),
    lambda inner: OnPart(inner, ""),
]

STEEP = Descent(lr=0.05, average=0.0, clip=100.0)
SOLVERS = [
    ProjectedGradient(STEEP),
    ADMM(frozenset({"box"}), rho=300.0, rounds=96, descent=STEEP),
    ADMM(frozenset({"box"}), rho=60.0, growth=8.0, rounds=96, descent=STEEP),
    DualAscent(STEEP),
]

_QUICK = {"epochs": 4, "dense_epochs": 4, "batch_size": 32, "lr": 0.02}
_SHORT = {name: value for name, value in _QUICK.items() if name != "dense_epochs"}
METHODS = [  # a method, and how many of the 780 weights of the tiny MLP its file may hold
    (DA().with_(epochs=4, batch_size=32, lr=0.02), 780),
    (DA().with_(epochs=4, batch_size=32, lr=0.02, trades=3.0), 780),
    (NAP(keep=0.2).with_(**_QUICK), 156),
    (AP(keep=0.2).with_(**_QUICK), 156),
    (AL0(keep=0.2).with_(**_QUICK), 156),
    (AL0(keep=0.2, anneal=False).with_(**_QUICK), 156),
    (ALR(rank=3).with_(**_QUICK), 780),
    (ATMC(keep=0.3, bits=3, codebook_epochs=1).with_(**_QUICK), 234),
    (ATMC(keep=0.3, bits=3, codebook_epochs=1, factors=True).with_(**_QUICK), 234),
    (ATMC(keep=0.3, bits=3, outer_bits=5, codebook_epochs=1).with_(**_QUICK), 234),
    (ATMC(keep=0.3, bits=3, paper=True).with_(**_QUICK), 234),
    (ATMC(keep=0.3, bits=3, across=False, codebook_epochs=1).with_(**_QUICK), 234),
    (ADMMPruning(keep=0.2, admm_epochs=2).with_(**_QUICK), 156),
    (ADMMPruning(keep=0.2, across=True, admm_epochs=2).with_(**_QUICK), 156),
    (ADMMPruning(pattern="filter", keep=0.5, admm_epochs=2).with_(**_QUICK), 390),
    (ADMMPruning(pattern="column", keep=0.5, admm_epochs=2).with_(natural=True, **_QUICK), 390),
    (Int8().with_(**_QUICK), 780),
    (GANSlimming(strength=0.0, slim_epochs=1).with_(**_QUICK), 780),
    (Int8(bits=4, per_channel=True, revive=True).with_(**_QUICK), 780),
    (SizeTarget(size="30%", most_bits=3, codebook_epochs=1).with_(**_QUICK), 780),
    (
        RobustnessTarget(
            robust_at_least=0.7, search_stages=2, most_bits=3, codebook_epochs=1, judge_steps=10
        ).with_(**_QUICK),
        390,
    ),
    (Reweighted(keep=0.2, rounds=2, round_epochs=2).with_(**_QUICK), 156),
    (Reweighted(keep=0.2, static=True, rounds=1, round_epochs=2).with_(**_QUICK), 156),
    (Reweighted(keep=0.3, bits=3, rounds=2, round_epochs=2).with_(**_QUICK), 234),
    (Reweighted(pattern="filter", keep=0.5, rounds=2, round_epochs=2).with_(**_QUICK), 390),
    (Reweighted(pattern="column", keep=0.5, across=False, round_epochs=1).with_(**_QUICK), 390),
    (Reweighted(pattern="block:1x4", keep=0.3, round_epochs=1).with_(**_QUICK), 234),
    (ADMMPruning(pattern="2:4", keep=1.0, admm_epochs=2).with_(**_QUICK), 390),
    (RobustBoosting(members=2).with_(**_SHORT), 2 * 780),
    (
        RobustBoosting(
            members=2, member_loss="margin", size="2kB", most_bits=3, codebook_epochs=1
        ).with_(**_SHORT),
        2 * 780,
    ),
    (RobustBoosting(members=2, how="pruned").with_(**_SHORT), 2 * 156),
]
UNDER_A_UNION = [  # the same under a union of threats
    (DA().with_(epochs=4, batch_size=32, lr=0.02), 780),
    (AP(keep=0.2).with_(threat_weights="max", **_QUICK), 156),
    (ATMC(keep=0.3, bits=3, codebook_epochs=1).with_(**_QUICK), 234),
    (Int8().with_(threat_weights="average", **_QUICK), 780),
]

BOUNDS: list[MarginBound] = [Interval(), Crown(), Crown(slopes=3), Crown(full=True)]
"""From the loosest; each must be sound."""
