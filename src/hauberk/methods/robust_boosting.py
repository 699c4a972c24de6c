"""Robust boosting: networks added one at a time to a sum that is attacked as a whole.

    F_t = F_{t−1} + α_t h_t,   h_t = argmin_h E max_{x' ∈ Δ(x)} loss(F_{t−1}(x') + h(x'), y)

One stage trains one member; those before it are frozen. α_t is found by line search on held-out
images under attack (`hauberk.methods._line_search`); 0 is allowed. A member that has collapsed to
chance, or that lowers the loss at no α, is dropped, and the next round goes on without it.

With ``size`` the trained sum is then brought into a file of that many bytes. One knapsack
divides the bytes among all tensors of all members by the loss that was measured under attack where
each is pruned or rounded, as `SizeTarget` does for one network. Departure: these stages train all
members together (a corrective step), since kept weights that are not retrained lose far more.

``how`` also makes the ensembles that boosting is compared with, at the same number of bytes:
independent members whose logits are averaged; copies of one network that are pruned differently and
retrained, each alone, and averaged (after EED: differently pruned copies); members that are trained
jointly from the start (after Grefenstette et al., 2018, arXiv 1811.09300).

Source: Abernethy, Awasthi and Kale (2021), arXiv 2103.01276; margin cross-entropy and members that
start from the one before: Margin-Boosting, see `hauberk.objectives.boosted`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from hauberk.allocation.forms import form_of
from hauberk.artifact import dense_bytes
from hauberk.constraints import Support
from hauberk.dataset import Examples
from hauberk.method import Method
from hauberk.methods._file_size import FileSize, larger, refuse_size
from hauberk.methods._line_search import HeldOut, LineSearch
from hauberk.models.ensemble import MOST, Ensemble
from hauberk.objectives import Boosted, Hard, MarginHard, OnPart, Supervised, Teacher
from hauberk.ops.random import generator
from hauberk.ops.sizes import size_bytes
from hauberk.ops.topk import keep_largest
from hauberk.parametrize import Selection
from hauberk.problem import Objective, Problem
from hauberk.recipe import Packaging
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.run import TrainingFailed
from hauberk.training.stage import Stage
from hauberk.types import Labels

_HOW = ("boosted", "independent", "pruned", "joint")
_STARTS = ("previous", "fresh")
_LOSSES = ("cross-entropy", "margin")


@dataclass(frozen=True, kw_only=True)
class RobustBoosting(Method):
    """A robust sum of small networks, trained one at a time.

    Attributes:
        members: largest number of networks in the sum; each has the structure of the model.
        how: boosted (each corrects the sum of those before it), independent (each trained alone,
            averaged), pruned (copies of one network, pruned differently, averaged) or joint (all
            trained at once).
        epochs: passes over the training split for each member.
        member_start: new members start from the previous member, or fresh from random weights.
        member_loss: cross-entropy or margin, which also makes each wrong class unlikely.
        member_keep: fraction of each layer's weights that pruned copies keep, in (0, 1].
        judge_steps: PGD steps with which members are weighed on held-out images.
        early_exit: limit the spread of each member's logits to the largest that held-out images
            show, clean and under attack, so that an image needs no more members once they cannot
            change its answer.
        size: of the whole file that ships, such as 4139 (bytes), 20kB or 1% of the members in
            float32; empty leaves the members dense.
        most_bits: with size, largest number of bits of a codebook index; 1 to 8.
        codebook_epochs: with size, passes under the codebooks, after ``epochs`` under the falling
            budget.
    """

    members: int = 4
    how: str = "boosted"
    member_start: str = "previous"
    member_loss: str = "cross-entropy"
    member_keep: float = 0.2
    judge_steps: int = 20
    early_exit: bool = False
    size: str = ""
    most_bits: int = 8
    codebook_epochs: int = 5
    packaging: Packaging = Packaging()

    def __post_init__(self) -> None:
        if not 1 <= self.members <= MOST:
            raise ValueError(f"members was given as {self.members}; give 1 to {MOST}.")
        named = {"how": _HOW, "member_start": _STARTS, "member_loss": _LOSSES}
        for name, known in named.items():
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise ValueError(f"{name} was given as {given!r}; give one of {', '.join(known)}.")
        if not 0 < self.member_keep <= 1:
            raise ValueError(
                f"member_keep was given as {self.member_keep}; give a fraction in (0, 1]."
            )
        if self.judge_steps < 1:
            raise ValueError(f"judge_steps was given as {self.judge_steps}; give 1 or more.")
        if self.size:
            refuse_size(self.size, self.most_bits, self.codebook_epochs)
        if self.member_loss == "margin" and (
            self.distillation.teacher or self.training_loss.trades
        ):
            raise ValueError(
                "member_loss was given as margin with a teacher or trades, which replace the "
                "labels' loss; give one of them."
            )

    def network(self, model: nn.Module) -> Ensemble:
        """The sum: the user's network is its first member, unless it is a sum already."""
        net = model if isinstance(model, Ensemble) else Ensemble([model])
        while self.how == "joint" and len(net.members) < self.members:
            net.grow(_fresh(net, len(net.members) + 1))
        net.freeze(0)
        return net

    def dense(self, threat: Threat) -> Iterator[Stage]:
        """The first member; of a joint ensemble, all of them."""
        name = "members" if self.how == "joint" else "member 1"
        problem = Problem(self._loss(threat, self.training_attack.warmup))
        yield self._stage(name, problem, self.optimisation.epochs)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """The other members, one stage each; the sum; with ``size`` the stages of `FileSize`.

        Raises:
            ValueError: the bytes do not hold so many members, or the data have no validation split.
            TrainingFailed: the first member is not better than chance under attack.
        """
        assert isinstance(model, Ensemble)
        whole = Problem(self._loss(threat))
        self._refuse_bytes(model, whole.objective, sample)
        held_out = sample.held_out if sample.held_out is not None else sample.first(0)
        search = LineSearch(threat, held_out, self.judge_steps, self._target)
        yield self._stage("start", whole, 0)
        _refuse_chance(search.look(model), search.chance)
        notes = list[str]()
        ways: dict[str, Callable[[], Iterator[Stage]]] = {
            "boosted": lambda: self._boosted(model, threat, search, notes),
            "independent": lambda: self._independent(model, threat),
            "pruned": lambda: self._pruned(model, threat),
            "joint": lambda: iter(()),
        }
        yield from ways[self.how]()
        model.freeze(0)
        if self.early_exit and model.spread is None and len(model.members) > 1:
            model.limit(search.spreads(model))
        yield replace(self._stage("sum", whole, 0), notes=tuple(notes))
        if self.size:
            yield from self._file(model, whole.objective, sample).stages()

    def _boosted(
        self, model: Ensemble, threat: Threat, search: LineSearch, notes: list[str]
    ) -> Iterator[Stage]:
        """Train a member within the sum, weigh it, keep or drop it, and so on."""
        fresh = self.member_start == "fresh"
        loss = self._loss(threat, self.training_attack.warmup if fresh else 0.0)
        if len(model.members) == 1:
            model.alpha[0] = search.weigh(model)[0]
        for number in range(len(model.members) + 1, self.members + 1):
            model.grow(_fresh(model, number) if fresh else copy.deepcopy(model.members[-1]))
            stage = self._stage(f"member {number}", Problem(loss), self.optimisation.epochs)
            yield replace(stage, notes=tuple(notes))
            notes[:] = [_weighed(model, search, number)]

    def _independent(self, model: Ensemble, threat: Threat) -> Iterator[Stage]:
        """Train each member alone; the sum is their average."""
        warmup = self.training_attack.warmup
        for number in range(len(model.members) + 1, self.members + 1):
            model.grow(_fresh(model, number))
            problem = Problem(self._loss(threat, warmup, f"members.{number - 1}"))
            yield self._stage(f"member {number}", problem, self.optimisation.epochs)
        model.alpha.fill_(1 / len(model.members))

    def _pruned(self, model: Ensemble, threat: Threat) -> Iterator[Stage]:
        """Prune copies of the first member differently and retrain each; average them."""
        whole = copy.deepcopy(model.members[0])
        for number in range(1, self.members + 1):
            if number > 1:
                model.grow(copy.deepcopy(whole))
            part = f"members.{number - 1}"
            support = self._support(model.members[-1], part, number)
            names = list(support.masks)
            problem = Problem(
                self._loss(threat, part=part),
                {"support": support},
                select=lambda _, names=names: names,  # type: ignore[misc]
            )
            yield self._stage(f"pruned {number}", problem, self.optimisation.epochs)
        model.alpha.fill_(1 / len(model.members))

    def _support(self, member: nn.Module, part: str, number: int) -> Support:
        """The largest weights of each layer; of later copies, of weights times random factors."""
        every, masks = dict(member.named_parameters()), {}
        for name in Selection()(member):
            score = every[name].detach().abs()
            if number > 1:
                rng = generator(0, "pruned copy", number, name)
                score = score * torch.randn(score.shape, generator=rng).exp().to(score.device)
            kept = max(1, round(self.member_keep * score.numel()))
            masks[f"{part}.{name}"] = keep_largest({"": score}, kept)[""]
        return Support(masks)

    def _loss(self, threat: Threat, warmup: float = 0.0, part: str = "") -> Objective:
        """The training loss of the whole sum, or of one part of it alone."""
        loss = self.objective(threat, warmup)
        assert isinstance(loss, Supervised)
        if part:
            loss = OnPart(loss, part)
        return Boosted(loss) if self.member_loss == "margin" else loss

    def _stage(self, name: str, problem: Problem, epochs: int) -> Stage:
        return self.stage(name, problem, ProjectedGradient(self.optimisation.descent()), epochs)

    def _target(self, y: Labels) -> Hard:
        """The loss that an adversary raises, against these labels."""
        return MarginHard(y) if self.member_loss == "margin" else Hard(y)

    def _file(self, model: Ensemble, objective: Objective, sample: Examples) -> FileSize:
        return FileSize(
            self.size,
            self.most_bits,
            self.codebook_epochs,
            Selection(),
            self,
            objective,
            model,
            sample,
            form_of(self.packaging, self.most_bits),
        )

    def passes(self, trained: bool) -> int:
        """Those of each member, then of the codebooks."""
        return self.members * self.optimisation.epochs + (self.codebook_epochs if self.size else 0)

    def complaint(self, nbytes: int, dense_bytes: int) -> str:
        """That the file is larger than the size, if one was given."""
        return larger(self.size, nbytes, dense_bytes) if self.size else ""

    def _refuse_bytes(self, model: Ensemble, objective: Objective, sample: Examples) -> None:
        """Raise if the file cannot hold so many members."""
        if not self.size:
            return
        every = Ensemble.of(model.members[0], self.members)
        least = self._file(every, objective, sample).least_bytes()
        limit = size_bytes(self.size, dense_bytes(every.state_dict()))
        if least > limit:
            raise ValueError(
                f"size was given as {self.size}, {limit:,} bytes, and {self.members} members take "
                f"at least {least:,} with one weight in each layer; give a larger size or fewer "
                "members."
            )


def _weighed(model: Ensemble, search: LineSearch, number: int) -> str:
    """Give the newest member its weight, or drop it; what was decided."""
    newest = search.look(model).newest
    if newest <= search.chance:
        model.drop()
        return (
            f"Member {number} collapsed and was dropped: it classifies {newest:.1%} of the "
            f"held-out images under attack, no better than always answering one class."
        )
    alpha, found = search.weigh(model)
    if not alpha:
        model.drop()
        return (
            f"Member {number} was dropped: it lowers the held-out loss under attack at no weight."
        )
    model.alpha[-1] = alpha
    return (
        f"Member {number} has weight {alpha:g}; the sum classifies {found.robust:.1%} of the "
        "held-out images under attack."
    )


def _refuse_chance(first: HeldOut, chance: float) -> None:
    """Raise if the first member is no better than one constant answer.

    Raises:
        TrainingFailed: naming its accuracy.
    """
    if first.robust <= chance:
        raise TrainingFailed(
            f"The first member classifies {first.robust:.1%} of the held-out images under attack, "
            "no better than always answering one class, so there is nothing to boost: give a "
            "larger --model, more --epochs or a smaller threat."
        )


def _fresh(model: Ensemble, number: int) -> nn.Module:
    """A copy of the first member with new random weights, a function of its old ones.

    Raises:
        ValueError: a layer of the user's own that cannot reset its parameters.
    """
    member = copy.deepcopy(model.members[0]).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(Teacher(member).digest(), 16) % 2**62 + number)
        for name, layer in member.named_modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
            elif any(True for _ in layer.parameters(recurse=False)):
                raise ValueError(
                    f"The layer {name!r} of the network has no reset_parameters, so members "
                    "cannot start from fresh weights; add one, or give --member-start previous."
                )
    return member
