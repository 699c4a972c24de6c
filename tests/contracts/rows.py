"""One row admits a new member to its role's laws."""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.attacks import FGSM, PGD
from hauberk.problem import Constraint
from hauberk.solvers import ADMM, Descent, ProjectedGradient
from hauberk.threats import L2, Linf
from hauberk.types import Weights


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


THREATS = [Linf(0.1), L2(0.7), Linf(1.0)]
ATTACKS = [
    PGD(5, track=True),
    PGD(3, 0.05, random_start=False, track=True),
    FGSM(track=True),
    PGD(0, track=True),
]
STEEP = Descent(lr=0.05, average=0.0, clip=100.0)
SOLVERS = [
    ProjectedGradient(STEEP),
    ADMM(frozenset({"box"}), rho=1.0, every=5, descent=STEEP),
]
