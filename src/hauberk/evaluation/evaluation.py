"""An evaluation: the protocol, and the row of measurements that it gives for a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from hauberk.attack import Attack
from hauberk.dataset import Examples
from hauberk.evaluation.accuracy import Progress, silent, transferred, under_attack
from hauberk.evaluation.autoattack import autoattack, square
from hauberk.evaluation.cost import Timing, latency, macs
from hauberk.evaluation.frozen_copy import freeze
from hauberk.evaluation.gradient_masking import Check, run_checks
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.report import Row
from hauberk.evaluation.shipped import Shipped
from hauberk.evaluation.subject import Subject
from hauberk.threat import Threat


@dataclass(frozen=True)
class Evaluation:
    """The protocol of an evaluation; the same for all rows of a report.

    Attributes:
        threat: what the adversary may do; under a union an example is robust if it withstands each
            member, and the row lists each member's own result.
        threat_name: as the user writes it, ``linf:0.1``.
        attacks: by name as the user writes it, ``pgd:40``; the first is the row's ``robust`` unless
            AutoAttack runs.
        autoattack: whether the official AutoAttack runs, and is the row's ``robust``.
        limit: attack the first so many examples; ``None`` attacks all.
        autoattack_limit: the same for AutoAttack alone.
        check_limit: the same for the checks for gradient masking; 0 runs none.
        restarts: of each attack in ``attacks``.
        seed: of every attack.
        batch_size: examples at a time.
        timing: whether latency is measured, if there is a dense net to compare with.
        queries: of Square for each example, for what runs in ONNX Runtime: an example is then
            robust if it withstands the attack, Square, and what is transferred from the source, if
            there is one. A graph without a gradient is attacked by the latter two alone.
    """

    threat: Threat
    threat_name: str
    attacks: Mapping[str, Attack]
    autoattack: bool = False
    limit: int | None = None
    autoattack_limit: int | None = None
    check_limit: int = 200
    restarts: int = 1
    seed: int = 0
    batch_size: int = 500
    timing: bool = True
    queries: int = 1000

    def __post_init__(self) -> None:
        """Validate the settings."""
        if not self.attacks and not self.autoattack:
            raise ValueError("An evaluation was given no attack; give one, or AutoAttack.")
        for name in ("limit", "autoattack_limit", "batch_size", "queries"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} was given as {value}; give a count of 1 or more.")
        if self.check_limit < 0:
            raise ValueError(f"check_limit was given as {self.check_limit}; give 0 or more.")

    def __call__(
        self,
        classifier: Shipped,
        examples: Examples,
        *,
        dense: nn.Module | None = None,
        source: nn.Module | None = None,
        name: str | None = None,
        progress: Progress = silent,
    ) -> Row:
        """The row of a classifier on ``examples``.

        Args:
            classifier: the classifier to evaluate.
            examples: of the test split, on the device of the model.
            dense: the net that latency is compared with; a session if the classifier is one.
            source: the net from which adversarial examples are transferred: a check, and for what
                runs in ONNX Runtime also an attack.
            name: of the row.
            progress: called with each step's fraction of its own work.

        Raises:
            ValueError: no examples, or a threat that an attack does not support.
        """
        if len(examples) == 0:
            raise ValueError("The test split is empty; give data with test examples.")
        source = None if source is None else freeze(source)
        subject = Subject.of(
            classifier.judged, examples, self.threat, seed=self.seed, batch_size=self.batch_size
        )
        tried = subject.first(self.limit)
        white_box = classifier.model is not None
        by_part, warnings = self._by_part(tried, progress) if white_box else ({}, ())
        masks = {name: torch.stack(list(each.values())).all(0) for name, each in by_part.items()}
        if classifier.session is not None:
            masks = self._with_black_box(masks, tried, source, progress)
        found = {attack: Proportion.of(mask) for attack, mask in masks.items()}
        attack, robust = next(iter(found.items()))
        checks = self._checks(subject, source, progress) if white_box else ()
        return Row(
            file=classifier.name,
            bytes=classifier.nbytes,
            dense_bytes=classifier.dense_bytes,
            threat=self.threat_name,
            attack=attack,
            clean=Proportion.of(subject.clean[: robust.n]),
            robust=robust,
            name=name,
            attacks=found,
            members=_members(by_part),
            clean_split=Proportion.of(subject.clean) if robust.n < len(examples) else None,
            latency_ms=self._latency(classifier, dense, examples.shape),
            macs=None if classifier.model is None else macs(classifier.model, examples.shape),
            checks=checks,
            warnings=warnings if white_box else (self._warning(classifier, source is not None),),
            in_file=classifier.in_file,
            white_box=white_box,
        )

    def _by_part(
        self, subject: Subject, progress: Progress
    ) -> tuple[dict[str, dict[str, Mask]], tuple[str, ...]]:
        """Masks of robust examples, by attack and part of the threat; AutoAttack's warnings."""
        found: dict[str, dict[str, Mask]] = {}
        warnings: dict[str, None] = {}
        parts = {str(part): subject.within(part) for part in self.threat.parts()}
        if self.autoattack:
            few = {key: part.first(self.autoattack_limit) for key, part in parts.items()}
            verdicts = {key: autoattack(part, progress=progress) for key, part in few.items()}
            found["autoattack"] = {key: verdict.robust for key, verdict in verdicts.items()}
            warnings = dict.fromkeys(w for verdict in verdicts.values() for w in verdict.warnings)
        for name, attack in self.attacks.items():
            found[name] = {
                key: under_attack(part, attack, restarts=self.restarts, progress=progress)
                for key, part in parts.items()
            }
        return found, tuple(warnings)

    def _with_black_box(
        self,
        masks: dict[str, Mask],
        subject: Subject,
        source: nn.Module | None,
        progress: Progress,
    ) -> dict[str, Mask]:
        """First the worst, for each example, of the first attack and those without a gradient."""
        first = dict(list(masks.items())[:1])
        few = subject.first(next((len(mask) for mask in first.values()), None))
        others: dict[str, Mask] = {}
        if source is not None:
            others["transfer"] = transferred(few, source)
        others["square"] = square(few, queries=self.queries, progress=progress)
        worst = few.clean
        for survives in (*first.values(), *others.values()):
            worst = worst & survives
        return {" + ".join((*first, *others)): worst, **masks, **others}

    def _warning(self, classifier: Shipped, has_source: bool) -> str:
        """The warning for a classifier that was attacked without its gradient."""
        ran = f"Square ({self.queries:,} queries)" + (" and transfer" if has_source else " alone")
        more = "" if has_source else " Give the dense net (--dense) to add transferred attacks."
        return (
            f"It was attacked without its gradient, by {ran}, because {classifier.blind}: a "
            f"white-box attack may find far less robustness.{more}"
        )

    def _latency(
        self, classifier: Shipped, dense: nn.Module | None, shape: tuple[int, ...]
    ) -> dict[str, Timing]:
        if dense is None or not self.timing:
            return {}
        return latency(classifier.timed, dense, shape)

    def _checks(
        self, subject: Subject, source: nn.Module | None, progress: Progress
    ) -> tuple[Check, ...]:
        if self.check_limit == 0:
            return ()
        return run_checks(subject.first(self.check_limit), source=source, progress=progress)


def _members(by_part: Mapping[str, Mapping[str, Mask]]) -> dict[str, dict[str, Proportion]]:
    """The result in each member, of threats that are a union."""
    return {
        name: {part: Proportion.of(mask) for part, mask in each.items()}
        for name, each in by_part.items()
        if len(each) > 1
    }
