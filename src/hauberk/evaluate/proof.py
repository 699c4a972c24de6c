"""The proof: everything that is claimed of a shipped file, measured on the decoded file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from hauberk.attack import Attack
from hauberk.evaluate.autoattack import autoattack
from hauberk.evaluate.checks import Check, run_checks
from hauberk.evaluate.cost import Timing, latency, macs
from hauberk.evaluate.proportion import Proportion
from hauberk.evaluate.protocol import Progress, clean, silent, under_attack
from hauberk.evaluate.report import Row
from hauberk.evaluate.sealed import seal
from hauberk.threat import Threat
from hauberk.types import Examples


@dataclass(frozen=True)
class Shipped:
    """A file and what it decodes to.

    Attributes:
        path: of the file.
        nbytes: its size on disk.
        model: the decoded network.
        dense_bytes: of the dense net in float32.
    """

    path: str
    nbytes: int
    model: nn.Module
    dense_bytes: int


@dataclass(frozen=True)
class Proof:
    """How files are proved; the same for all rows of a report.

    Attributes:
        threat: what the adversary may do.
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

    def __post_init__(self) -> None:
        """Refuse a proof of nothing."""
        if not self.attacks and not self.autoattack:
            raise ValueError("A proof was given no attack: give at least one, or AutoAttack.")
        for limit in (self.limit, self.autoattack_limit):
            if limit is not None and limit < 1:
                raise ValueError(f"A proof was given the limit {limit}: give at least 1.")
        if self.check_limit < 0:
            raise ValueError(f"A proof was given check_limit={self.check_limit}: give 0 or more.")

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
            dense: the net that latency is compared with.
            source: the net from which adversarial examples are transferred, as a check.
            name: of the row.
            progress: told of each step's share of its own work.

        Raises:
            ValueError: no examples, or a threat that AutoAttack does not know.
        """
        if len(examples) == 0:
            raise ValueError("The test split is empty: give data with test examples.")
        model = seal(shipped.model)
        right = clean(model, examples, self.batch_size)
        tried = examples.first(self.limit)
        official, warnings = self._autoattack(model, tried, progress)
        shares = {**official, **self._attacks(model, tried, progress)}
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
            clean_split=Proportion.of(right) if robust.n < len(right) else None,
            latency_ms=self._latency(shipped.model, dense, examples.shape),
            macs=macs(shipped.model, examples.shape),
            checks=self._checks(model, examples, source, progress),
            warnings=warnings,
        )

    def _attacks(
        self, model: nn.Module, examples: Examples, progress: Progress
    ) -> dict[str, Proportion]:
        masks = {
            name: under_attack(
                model,
                examples,
                self.threat,
                attack,
                seed=self.seed,
                batch_size=self.batch_size,
                restarts=self.restarts,
                progress=progress,
            )
            for name, attack in self.attacks.items()
        }
        return {name: Proportion.of(mask) for name, mask in masks.items()}

    def _autoattack(
        self, model: nn.Module, examples: Examples, progress: Progress
    ) -> tuple[dict[str, Proportion], tuple[str, ...]]:
        if not self.autoattack:
            return {}, ()
        verdict = autoattack(
            model,
            examples.first(self.autoattack_limit),
            self.threat,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=progress,
        )
        return {"autoattack": Proportion.of(verdict.robust)}, verdict.warnings

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
