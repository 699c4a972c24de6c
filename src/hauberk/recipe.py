"""Recipe: the settings that trainings share, as frozen values that check themselves.

A `Method` holds one of each. Every setting has one name: the field's name, the command-line flag
(``attack_steps`` is ``--attack-steps``) and the TOML key are the same, so no two values of one
method share a field's name.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from hauberk.attacks import PGD
from hauberk.objectives import (
    AVERAGE,
    WORST,
    Adversarial,
    Audit,
    Distilled,
    Natural,
    PerExampleWeights,
    SharedWeights,
    Supervised,
    Teacher,
    Trades,
    Weighting,
    WeightPerturbed,
)
from hauberk.objectives.distill import refuse_lesson
from hauberk.objectives.weight_perturbation import refuse_perturbation
from hauberk.problem import Objective
from hauberk.solvers import Descent
from hauberk.threat import Threat
from hauberk.training.augment import Augmentation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Owner = TypeVar("Owner", bound=DataclassInstance)

__all__ = [
    "Augmentation",
    "Distillation",
    "FactorPackaging",
    "FileSettings",
    "GridPackaging",
    "Optimisation",
    "Packaging",
    "ThreatWeighting",
    "TrainingAttack",
    "TrainingLoss",
    "changed",
    "settings",
]

Setting: TypeAlias = bool | int | float | str | tuple[str, ...]
"""The value of one setting."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How long and how fast the weights descend: AdamW, one-cycle.

    Attributes:
        epochs: passes over the training split; 0 only makes the weights feasible.
        batch_size: examples per step, of all processes together.
        lr: peak learning rate.
        average: decay of the weight average per step, in [0, 1); a longer average generalises
            better and needs longer stages.

    Raises:
        ValueError: a setting outside its range.
    """

    epochs: int = 20
    batch_size: int = 128
    lr: float = 2e-3
    average: float = 0.998

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ValueError(f"epochs was given as {self.epochs}; give 0 or more.")
        if self.batch_size < 1:
            raise ValueError(f"batch_size was given as {self.batch_size}; give 1 or more.")
        self.descent()

    def descent(self, fraction: float = 1.0) -> Descent:
        """AdamW at ``fraction`` of the peak learning rate."""
        return Descent(lr=self.lr * fraction, average=self.average)


@dataclass(frozen=True, kw_only=True)
class TrainingAttack:
    """The inner maximisation while training.

    Attributes:
        attack_steps: clipped-gradient steps of the training attack (see `PGD.soft`).
        reuse: start each training attack where the previous one on that example ended.
        warmup: fraction of the dense training over which eps grows to its full size.

    Raises:
        ValueError: a setting outside its range.
    """

    attack_steps: int = 4
    reuse: bool = False
    warmup: float = 0.2

    def __post_init__(self) -> None:
        if self.attack_steps < 1:
            raise ValueError(f"attack_steps was given as {self.attack_steps}; give 1 or more.")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup was given as {self.warmup}; give a fraction in [0, 1].")

    def search(self) -> PGD:
        """The attack itself; a warm start is far out already, so its path is shorter."""
        if self.reuse:
            return PGD.soft(self.attack_steps, reach=0.7 * self.attack_steps)
        return PGD.soft(self.attack_steps)


@dataclass(frozen=True, kw_only=True)
class ThreatWeighting:
    """How several threats count in one loss (``--threat linf:0.2+l2:2``).

    Attributes:
        threat_weights: min-max puts weight on the worst threat, average counts all equally, max
            counts only each example's worst.
        gamma: of min-max, 0 or more: the larger, the more equal the weights.
        weight_rate: of min-max, the step size with which the weights follow the losses.
        audit: attack every so many steps with a longer search, and let min-max count what the
            training attack missed; 0 is never.
        per_sample: min-max has weights for each example, in place of one vector for all.

    Raises:
        ValueError: a setting outside its range.
    """

    threat_weights: str = "min-max"
    gamma: float = 0.2
    weight_rate: float = 0.02
    audit: int = 16
    per_sample: bool = False

    def __post_init__(self) -> None:
        self._audit()
        self.strategy()

    def strategy(self) -> Weighting:
        """The rule that weighs the threats' losses.

        Raises:
            ValueError: a strategy that does not exist.
        """
        strategies: dict[str, Weighting] = {
            "min-max": SharedWeights(self.weight_rate, self.gamma),
            "average": AVERAGE,
            "max": WORST,
        }
        if self.threat_weights not in strategies:
            raise ValueError(
                f"threat_weights was given as {self.threat_weights!r}; give one of "
                f"{', '.join(strategies)}."
            )
        if self.per_sample and self.threat_weights == "min-max":
            return PerExampleWeights(self.gamma)
        return strategies[self.threat_weights]

    def of(self, threat: Threat) -> tuple[Weighting, Audit]:
        """How the parts of this threat are weighed, and when they are audited.

        Raises:
            ValueError: naming a setting that a single threat would ignore.
        """
        if len(threat.parts()) == 1:
            self._refuse_settings()
        return self.strategy(), self._audit()

    def _audit(self) -> Audit:
        return Audit(self.audit)

    def _refuse_settings(self) -> None:
        defaults = settings(ThreatWeighting())
        for name, value in settings(self).items():
            if value != defaults[name]:
                raise ValueError(
                    f"{name} was given as {value}, which is about several threats, and there is "
                    "one; leave it out, or give several, such as linf:0.1+l2:1."
                )


@dataclass(frozen=True, kw_only=True)
class TrainingLoss:
    """What is minimised on each batch.

    Attributes:
        clean: fraction of clean loss mixed with the adversarial loss, in [0, 1).
        q: above 0 the adversarial loss saturates for hopeless examples (see `Adversarial`), to 1.
        trades: weight of TRADES' robustness term, which replaces the adversarial loss (1 to 6 are
            usual); 0 is off.
        awp: adversarial weight perturbation: train at the worst weights within this fraction of
            each tensor's norm (0.005 is usual); 0 is off.
        natural: train on clean images, without an adversary.

    Raises:
        ValueError: a setting outside its range.
    """

    clean: float = 0.0
    q: float = 0.0
    trades: float = 0.0
    awp: float = 0.0
    natural: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.clean < 1:
            raise ValueError(f"clean was given as {self.clean}; give a fraction in [0, 1).")
        if not 0 <= self.q <= 1:
            raise ValueError(f"q was given as {self.q}; give an exponent in [0, 1].")
        if not self.trades >= 0:
            raise ValueError(f"trades was given as {self.trades}; give a weight of 0 or more.")
        if self.trades and (self.clean or self.q or self.natural):
            raise ValueError(
                "trades was given with clean, q or natural, each of which chooses another loss; "
                "give one of them."
            )
        if self.awp:
            refuse_perturbation(self.awp)

    def objective(
        self, threat: Threat, attack: TrainingAttack, weighting: ThreatWeighting, warmup: float
    ) -> Objective:
        """The objective of one stage.

        Args:
            threat: the adversary's set, or the union of several.
            attack: how the adversary searches.
            weighting: how several threats count.
            warmup: fraction of the stage over which the threat grows to its full size.

        Raises:
            ValueError: settings of several threats for a single one.
        """
        base = Natural() if self.natural else self._adversarial(threat, attack, weighting, warmup)
        return WeightPerturbed(base, self.awp) if self.awp else base

    def _adversarial(
        self, threat: Threat, attack: TrainingAttack, weighting: ThreatWeighting, warmup: float
    ) -> Supervised:
        several = weighting.of(threat)
        robust = Adversarial(threat, attack.search(), self.clean, warmup, self.q, *several)
        return Trades(robust, self.trades) if self.trades else robust


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A teacher whose answers on clean images are the targets; by default the labels alone.

    Attributes:
        teacher: self (the dense net that the compression starts from) or a file (.hbk, or plain
            weights of --model); empty is no teacher.
        teacher_fraction: weight of the teacher in the loss, in (0, 1]; the labels have the rest.
        temperature: divides both nets' logits before they are compared; above 0.
        soft_attack: the training attack maximises the divergence from the teacher, in place of
            the cross-entropy with the labels.

    Raises:
        ValueError: a setting outside its range.
    """

    teacher: str = ""
    teacher_fraction: float = 1.0
    temperature: float = 1.0
    soft_attack: bool = False

    def __post_init__(self) -> None:
        refuse_lesson(self.teacher_fraction, self.temperature)

    def distilled(self, objective: Objective, teacher: Teacher) -> Objective:
        """The same objective, with the teacher's soft labels as its targets."""
        fraction, temperature = self.teacher_fraction, self.temperature
        return Distilled(objective, teacher, fraction, temperature, self.soft_attack)


class FileSettings(Protocol):
    """How trained weights are written to the file."""

    @property
    def half(self) -> bool:
        """Whether values outside a codebook become float16."""

    @property
    def slim(self) -> bool:
        """Whether dead filters and channels are removed."""


@dataclass(frozen=True, kw_only=True)
class Packaging:
    """How trained weights are written to the file.

    Attributes:
        half: write biases, norms and values outside a codebook as float16.
        slim: remove dead filters and channels from the network; needs a traceable graph.
    """

    half: bool = True
    slim: bool = False


@dataclass(frozen=True, kw_only=True)
class FactorPackaging:
    """How low-rank factors are written: they have no dead filters.

    Attributes:
        half: write values as float16.
    """

    half: bool = True

    @property
    def slim(self) -> bool:
        """Never."""
        return False


@dataclass(frozen=True, kw_only=True)
class GridPackaging:
    """How weights on a uniform grid are written: multiples of a scale are no float16 numbers.

    Attributes:
        slim: remove dead filters and channels from the network; needs a traceable graph.
    """

    slim: bool = False

    @property
    def half(self) -> bool:
        """Never."""
        return False


def settings(owner: DataclassInstance) -> dict[str, Any]:
    """Every setting of a value by its name, those of the values that it holds included."""
    found: dict[str, Any] = {}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if is_dataclass(value) and not isinstance(value, type):
            found |= settings(value)
        else:
            found[field.name] = value
    return found


def changed(owner: Owner, changes: Mapping[str, Setting]) -> Owner:
    """A copy with other settings, wherever in the value they are; it checks itself anew.

    Args:
        owner: a method, or one of the values here.
        changes: new values by the names of their settings.

    Raises:
        ValueError: a setting that there is not (the nearest one is named), or a value outside its
            setting's range.
    """
    known = settings(owner)
    for name in changes:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = (
                f"did you mean {near[0]}?" if near else f"give one of {', '.join(sorted(known))}."
            )
            raise ValueError(f"{type(owner).__name__} has no setting {name!r}; {hint}")
    return _changed(owner, changes)


def _changed(owner: Owner, changes: Mapping[str, Setting]) -> Owner:
    new: dict[str, Any] = {}
    for field in fields(owner):
        value = getattr(owner, field.name)
        if field.name in changes:
            new[field.name] = changes[field.name]
        elif (
            is_dataclass(value) and not isinstance(value, type) and changes.keys() & settings(value)
        ):
            new[field.name] = _changed(value, changes)
    return replace(owner, **new)
