"""The proof: everything that is claimed of a shipped file, measured on the decoded file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from hauberk.attack import Attack
from hauberk.dataset import Examples
from hauberk.evaluation.accuracy import Progress, clean, silent, transferred, under_attack
from hauberk.evaluation.autoattack import autoattack, square
from hauberk.evaluation.cost import Timing, latency, macs
from hauberk.evaluation.frozen_copy import seal
from hauberk.evaluation.gradient_masking import Check, run_checks
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.report import Row
from hauberk.onnx.attackable import Judged
from hauberk.onnx.session import Session
from hauberk.threat import Threat


@dataclass(frozen=True)
class Shipped:
    """A file and what it decodes to.

    Attributes:
        path: of the file.
        nbytes: its size on disk.
        model: the decoded network.
        dense_bytes: of the dense net in float32.
        session: the file in ONNX Runtime, where it is an ``.onnx``: it is then what is asked and
            timed, and ``model``, its graph in torch, gives attacks the gradient.
    """

    path: str
    nbytes: int
    model: nn.Module
    dense_bytes: int
    session: Session | None = None

    @property
    def judged(self) -> nn.Module:
        """What is asked for logits."""
        return self.model if self.session is None else Judged(self.session, self.model)


@dataclass(frozen=True)
class Evaluation:
    """How files are proved; the same for all rows of a report.

    Attributes:
        threat: what the adversary may do; in a union a file is robust where it withstands each
            member, and the row has each member's own share beside it.
        threat_name: as the user writes it, ``linf:0.1``.
        attacks: by name as the user writes it, ``pgd:40``; the first is the row's ``robust``
            unless AutoAttack runs.
        autoattack: whether the official AutoAttack runs, and is the row's ``robust``.
        limit: attack the first so many examples; ``None`` attacks all.
        autoattack_limit: the same for AutoAttack alone, where it shall see fewer.
        check_limit: the same for the checks for gradient masking; 0 runs none.
        restarts: of each attack in ``attacks``.
        seed: of every attack.
        batch_size: examples at a time.
        timing: whether the latency is measured, where there is a dense net to compare with.
        queries: of Square for each example, where the file runs in ONNX Runtime: an example is
            then robust if it withstands the attack, Square, and what is transferred from the
            source, where there is one.
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
        """Refuse a proof of nothing."""
        if not self.attacks and not self.autoattack:
            raise ValueError("A proof was given no attack: give at least one, or AutoAttack.")
        for limit in (self.limit, self.autoattack_limit):
            if limit is not None and limit < 1:
                raise ValueError(f"A proof was given the limit {limit}: give at least 1.")
        if self.check_limit < 0:
            raise ValueError(f"A proof was given check_limit={self.check_limit}: give 0 or more.")
        if self.queries < 1:
            raise ValueError(f"A proof was given {self.queries} queries: give at least 1.")

    def __call__(
        self,
        shipped: Shipped,
        examples: Examples,
        *,
        dense: nn.Module | None = None,
        source: nn.Module | None = None,
        name: str | None = None,
        progress: Progress = silent,
    ) -> Row:
        """The row of ``shipped`` on ``examples``.

        Args:
            shipped: the file, decoded.
            examples: of the test split, on the device of the model.
            dense: the net that latency is compared with; a session where the file runs as one.
            source: the net from which adversarial examples are transferred, as a check; where the
                file runs as a session, also as an attack.
            name: of the row.
            progress: told of each step's share of its own work.

        Raises:
            ValueError: no examples, or a threat that AutoAttack does not know.
        """
        if len(examples) == 0:
            raise ValueError("The test split is empty: give data with test examples.")
        model = seal(shipped.judged)
        right = clean(model, examples, self.batch_size)
        tried = examples.first(self.limit)
        by_part, warnings = self._by_part(model, tried, progress)
        masks = {name: torch.stack(list(each.values())).all(0) for name, each in by_part.items()}
        if shipped.session is not None:
            masks = self._deployed(masks, shipped.session, tried, source, progress)
        shares = {attack: Proportion.of(mask) for attack, mask in masks.items()}
        attack, robust = next(iter(shares.items()))
        return Row(
            file=shipped.path,
            bytes=shipped.nbytes,
            dense_bytes=shipped.dense_bytes,
            threat=self.threat_name,
            attack=attack,
            clean=Proportion.of(right[: robust.n]),
            robust=robust,
            name=name,
            attacks=shares,
            members={
                name: {part: Proportion.of(mask) for part, mask in each.items()}
                for name, each in by_part.items()
                if len(each) > 1
            },
            clean_split=Proportion.of(right) if robust.n < len(right) else None,
            latency_ms=self._latency(shipped.session or shipped.model, dense, examples.shape),
            macs=macs(shipped.model, examples.shape),
            checks=self._checks(model, examples, source, progress),
            warnings=warnings,
        )

    def _by_part(
        self, model: nn.Module, examples: Examples, progress: Progress
    ) -> tuple[dict[str, dict[str, Mask]], tuple[str, ...]]:
        """By attack, who withstands it in each of the threat's parts; AutoAttack's doubts."""
        found: dict[str, dict[str, Mask]] = {}
        doubts: dict[str, None] = {}
        settings: dict[str, Any] = {"seed": self.seed, "batch_size": self.batch_size}
        settings["progress"] = progress
        parts = {str(part): part for part in self.threat.parts()}
        if self.autoattack:
            few = examples.first(self.autoattack_limit)
            verdicts = {k: autoattack(model, few, part, **settings) for k, part in parts.items()}
            found["autoattack"] = {k: verdict.robust for k, verdict in verdicts.items()}
            doubts = dict.fromkeys(w for verdict in verdicts.values() for w in verdict.warnings)
        settings["restarts"] = self.restarts
        for name, attack in self.attacks.items():
            found[name] = {
                k: under_attack(model, examples, part, attack, **settings)
                for k, part in parts.items()
            }
        return found, tuple(doubts)

    def _deployed(
        self,
        masks: dict[str, Mask],
        session: Session,
        examples: Examples,
        source: nn.Module | None,
        progress: Progress,
    ) -> dict[str, Mask]:
        """The worst, for each example, of the first attack and of those on the session itself."""
        name, mask = next(iter(masks.items()))
        few = examples.first(len(mask))
        others: dict[str, Mask] = {}
        settings: dict[str, Any] = {"seed": self.seed, "batch_size": self.batch_size}
        if source is not None:
            others["transfer"] = transferred(session, source, few, self.threat, **settings)
        settings |= {"queries": self.queries, "progress": progress}
        others["square"] = square(session, few, self.threat, **settings)
        worst = mask
        for survives in others.values():
            worst = worst & survives
        return {" + ".join((name, *others)): worst, **masks, **others}

    def _latency(
        self, model: nn.Module, dense: nn.Module | None, shape: tuple[int, ...]
    ) -> dict[str, Timing]:
        return latency(model, dense, shape) if dense is not None and self.timing else {}

    def _checks(
        self, model: nn.Module, examples: Examples, source: nn.Module | None, progress: Progress
    ) -> tuple[Check, ...]:
        if self.check_limit == 0:
            return ()
        return run_checks(
            model,
            examples.first(self.check_limit),
            self.threat,
            seed=self.seed,
            source=source,
            batch_size=self.batch_size,
            progress=progress,
        )
