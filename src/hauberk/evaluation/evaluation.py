"""An evaluation: the protocol, and the row of measurements that it gives for a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.bounds.certify import BOUNDS
from hauberk.bounds.network import Network
from hauberk.dataset import Examples
from hauberk.evaluation.accuracy import Progress, silent, under_attack
from hauberk.evaluation.activation_memory import peak_bytes
from hauberk.evaluation.autoattack import autoattack
from hauberk.evaluation.certified import Certified
from hauberk.evaluation.checks import Check, checks_of
from hauberk.evaluation.cost import Timing, latency, macs
from hauberk.evaluation.exit_cost import exits_of
from hauberk.evaluation.frozen_copy import freeze
from hauberk.evaluation.one_function import Expected, OneFunction
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.report import Row
from hauberk.evaluation.search import Effort, Search
from hauberk.evaluation.shipped import Shipped
from hauberk.evaluation.student import pool_of
from hauberk.evaluation.subject import Subject
from hauberk.evaluation.trials import Taken, Trials
from hauberk.threat import Threat

_FEW, _STEPS = 200, 10
"""Examples on which early exits are counted, and steps of the PGD that attacks them."""


@dataclass(frozen=True)
class _Attacked:
    """A classifier after its attacks: the part of a row that they give, see `Row`.

    Attributes:
        subject: the classifier, with the examples that ``robust`` is of.
        clean: mask of the whole split.
        robust: mask of the examples that nothing fooled.
    """

    subject: Subject
    clean: Mask
    robust: Mask
    attack: str
    attacks: Mapping[str, Proportion]
    taken: Mapping[str, Taken]
    members: Mapping[str, Mapping[str, Proportion]]
    checks: Sequence[Check]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Evaluation:
    """The protocol of an evaluation; the same for all rows of a report.

    A row's ``robust`` counts the examples that nothing fooled: no attack, and no check.

    Attributes:
        threat: what the adversary may do; under a union an example is robust if it withstands each
            member, and the row lists each member's own result.
        threat_name: as the user writes it, ``linf:0.1``.
        attacks: by name as the user writes it, ``pgd:40``; each runs on all examples.
        autoattack: whether the official AutoAttack runs.
        limit: attack the first so many examples; ``None`` attacks all.
        autoattack_limit: the same for AutoAttack alone.
        check_limit: the same for the checks for gradient masking; 0 runs none.
        restarts: of each attack in ``attacks``.
        seed: of every attack.
        batch_size: examples at a time.
        timing: whether latency is measured, if there is a dense net to compare with.
        strongest: whether each attack of `hauberk.evaluation.search` is tried on every example that
            the earlier ones left. Otherwise that is done on ``check_limit`` examples, and without
            it on what runs in ONNX Runtime by Square and transfer alone.
        draws: judge and attack the mean probabilities of so many draws of a network that draws at
            random; 0 refuses such a network.
        effort: budgets of these attacks; by default `hauberk.evaluation.search.USUAL`.
        certify: bounds that certify examples, ``interval`` or ``crown``; empty for none.
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
    strongest: bool = False
    effort: Effort | None = None
    draws: int = 0
    certify: str = ""

    def __post_init__(self) -> None:
        """Validate the settings."""
        if not (self.attacks or self.autoattack or self.strongest):
            raise ValueError("An evaluation was given no attack; give one, or AutoAttack.")
        for name in ("limit", "autoattack_limit", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} was given as {value}; give a count of 1 or more.")
        for name in ("check_limit", "draws"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} was given as {getattr(self, name)}; give 0 or more.")
        if self.certify and self.certify not in BOUNDS:
            raise ValueError(
                f"certify was given as {self.certify!r}; give one of {', '.join(BOUNDS)}."
            )

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
            ValueError: no examples, a threat that an attack or the bounds do not support, a layer
                with no bound, or a classifier whose answer to an image depends on chance, on other
                images or on earlier calls.
            Contradiction: a certified example was fooled.
        """
        if len(examples) == 0:
            raise ValueError("The test split is empty; give data with test examples.")
        network = self._bounded(classifier, examples.shape)
        found = self._attacked(classifier, examples, source, progress)
        few, robust = found.subject, Proportion.of(found.robust)
        certified = None
        if network is not None:
            certified = Certified.of(self.certify, network, few, found.robust, progress)
        return Row(
            file=classifier.name,
            bytes=classifier.nbytes,
            dense_bytes=classifier.dense_bytes,
            threat=self.threat_name,
            attack=found.attack,
            clean=Proportion.of(few.clean),
            robust=robust,
            name=name,
            attacks=found.attacks,
            taken=found.taken,
            members=found.members,
            clean_split=Proportion.of(found.clean) if robust.n < len(examples) else None,
            latency_ms=self._latency(classifier, dense, examples.shape),
            macs=None if classifier.model is None else macs(classifier.model, examples.shape),
            activations=_activations(classifier, examples.shape),
            exits=exits_of(classifier.model, few.examples.first(_FEW), self.threat, PGD(_STEPS)),
            certified=certified,
            checks=found.checks,
            warnings=found.warnings,
            in_file=classifier.in_file,
            white_box=classifier.model is not None,
        )

    def _attacked(
        self,
        classifier: Shipped,
        examples: Examples,
        source: nn.Module | None,
        progress: Progress,
    ) -> _Attacked:
        """Run the attacks and the checks."""
        source = None if source is None else freeze(source)
        judged = Expected(classifier.judged, self.draws) if self.draws else classifier.judged
        subject = Subject.of(
            judged, examples, self.threat, seed=self.seed, batch_size=self.batch_size
        )
        function = OneFunction(classifier.name, subject, self.draws)
        tried, white_box = subject.first(self.limit), classifier.model is not None
        by_part, warnings = self._by_part(tried, progress) if white_box else ({}, ())
        masks = {name: torch.stack(list(each.values())).all(0) for name, each in by_part.items()}
        trials = Trials(tried.clean)
        for attack, mask in masks.items():
            trials.add(attack, mask)
        search = Search(
            tried if self.strongest else tried.first(self.check_limit or None),
            trials,
            source=source,
            pool=pool_of(examples),
            effort=self.effort,
            autoattack=self.strongest,
            gradient=white_box,
            progress=progress,
        )
        ran = self._search(search, classifier)
        n = len(next(iter(masks.values()))) if self.autoattack and masks else len(trials.robust)
        function.after()
        checks: tuple[Check, ...] = ()
        if self._checked(search):
            checks = checks_of(search, function, self.check_limit, progress)
        return _Attacked(
            subject=tried.first(n),
            clean=subject.clean,
            robust=trials.robust[:n],
            attack=" + ".join([*list(masks)[:1], *ran]),
            attacks={attack: Proportion.of(mask) for attack, mask in masks.items()},
            taken=trials.taken,
            members=_members(by_part),
            checks=checks,
            warnings=self._warnings(classifier, search, warnings),
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

    def _search(self, search: Search, classifier: Shipped) -> list[str]:
        """Run the search that was asked for, the black box alone for a session; what ran."""
        before = len(search.trials.taken)
        if self.strongest or self.check_limit:
            search.run()
        elif classifier.session is not None:
            search.black_box()
        if self.strongest:
            return ["strongest"]
        return ["checks"] if self._checked(search) else list(search.trials.taken)[before:]

    def _checked(self, search: Search) -> bool:
        """Whether checks are to judge what a search found."""
        return bool(self.check_limit) and search.white_box is not None

    def _warnings(
        self, classifier: Shipped, search: Search, earlier: Sequence[str]
    ) -> tuple[str, ...]:
        """What limits the figures."""
        if classifier.model is None:
            return (self._blind(classifier, search),)
        return tuple(dict.fromkeys([*earlier, *search.warnings]))

    def _blind(self, classifier: Shipped, search: Search) -> str:
        """The warning for a classifier that was attacked without its gradient."""
        source = search.source is not None
        more = "" if source else " Give the dense net (--dense) to add transferred attacks."
        return (
            f"It was attacked without its gradient, because {classifier.blind}: a white-box "
            f"attack may find far less robustness.{more}"
        )

    def _bounded(self, classifier: Shipped, shape: tuple[int, ...]) -> Network | None:
        """The operators to certify, read before any attack is made."""
        if not self.certify:
            return None
        if classifier.model is None or self.draws:
            raise ValueError(
                f"{classifier.name} cannot be certified, because "
                f"{classifier.blind or 'it draws at random'}; leave out certify."
            )
        return Network.of(classifier.model, shape)

    def _latency(
        self, classifier: Shipped, dense: nn.Module | None, shape: tuple[int, ...]
    ) -> dict[str, Timing]:
        if dense is None or not self.timing:
            return {}
        return latency(classifier.timed, dense, shape)


def _activations(classifier: Shipped, shape: tuple[int, ...]) -> int | None:
    return None if classifier.model is None else peak_bytes(classifier.model, shape)


def _members(by_part: Mapping[str, Mapping[str, Mask]]) -> dict[str, dict[str, Proportion]]:
    """The result in each member, of threats that are a union."""
    return {
        name: {part: Proportion.of(mask) for part, mask in each.items()}
        for name, each in by_part.items()
        if len(each) > 1
    }
