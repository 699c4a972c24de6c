"""The report on classifiers: clean and robust accuracy, bytes, multiplications, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hauberk.evaluation.certified import Certified
from hauberk.evaluation.checks.check import Check
from hauberk.evaluation.cost import Macs, Timing
from hauberk.evaluation.exit_cost import ExitCost
from hauberk.evaluation.proportion import Proportion
from hauberk.evaluation.row_report import RowReport
from hauberk.evaluation.trials import Taken
from hauberk.printable import printable


@dataclass(frozen=True)
class Row:
    """The measurements of one classifier.

    Attributes:
        file: the path, or the name of a module that is in no file.
        bytes: of the file; of the float32 state dict of such a module.
        dense_bytes: of the dense net in float32.
        threat: as the user writes it, ``linf:0.1``.
        attack: what was tried, as the user writes it: ``strongest``, ``autoattack + checks``.
        clean: on the examples that were attacked.
        robust: examples that nothing fooled: no attack, and no check.
        name: of the row in a table.
        attacks: the result of each attack that ran on all examples, by name.
        taken: by attack, in order, the examples that it was the first to fool.
        members: for a union of threats, by attack, the result in each member; an example counts in
            ``attacks`` and ``robust`` if it withstands all.
        clean_split: on the whole split, if fewer examples were attacked.
        latency_ms: by batch, such as ``batch1``.
        macs: multiplications of one input.
        activations: peak of the bytes that activations take for one input.
        exits: multiplications with early exits, of a sum of networks that has them.
        certified: what sound bounds say, if they were asked.
        checks: for gradient masking.
        warnings: what limits the figures, such as points with zero gradient in AutoAttack.
        in_file: whether ``bytes`` are a file's; else they are those of a float32 state dict.
        white_box: whether the attacks got the gradient; else they were Square and transfer.
        images: how photographs were brought to one size; empty if images were taken as they are.
        classes: of the data; 0 if unknown.
    """

    file: str
    bytes: int
    dense_bytes: int
    threat: str
    attack: str
    clean: Proportion
    robust: Proportion
    name: str | None = None
    attacks: Mapping[str, Proportion] = field(default_factory=dict)
    taken: Mapping[str, Taken] = field(default_factory=dict)
    members: Mapping[str, Mapping[str, Proportion]] = field(default_factory=dict)
    clean_split: Proportion | None = None
    latency_ms: Mapping[str, Timing] = field(default_factory=dict)
    macs: Macs | None = None
    activations: int | None = None
    exits: ExitCost | None = None
    certified: Certified | None = None
    checks: Sequence[Check] = ()
    warnings: Sequence[str] = ()
    in_file: bool = True
    white_box: bool = True
    images: str = ""
    classes: int = 0

    @property
    def weakness(self) -> str:
        """A sentence if the robust accuracy is 0% or below chance; else empty."""
        found, chance = self.robust.accuracy, 1 / self.classes if self.classes else 0.0
        if found > 0 and found >= chance:
            return ""
        guess = f", where a guess is right on {chance:.1%}" if chance else ""
        return (
            f"NOT ROBUST: {found:.1%} under {self.attack}{guess}, whatever the checks say; start "
            "from an adversarially trained network (hauberk train), or give a smaller threat."
        )

    @property
    def ratio(self) -> float:
        """Bytes of the file over bytes of the dense net in float32."""
        return self.bytes / self.dense_bytes

    @property
    def clean_whole(self) -> Proportion:
        """Clean accuracy on the whole split, also if fewer examples were attacked."""
        return self.clean_split or self.clean

    def json(self) -> dict[str, Any]:
        """The object that ``evaluate --json`` prints, without what was not measured."""
        optional = {
            "name": self.name,
            "images": self.images,
            "classes": self.classes,
            "clean_split": self.clean_split and self.clean_split.json(),
            "macs": self.macs and self.macs.json(),
            "activations": self.activations,
            "exits": self.exits and self.exits.json(),
            "certified": self.certified and self.certified.json(),
            "warnings": list(self.warnings),
            "members": {
                attack: {member: result.json() for member, result in each.items()}
                for attack, each in self.members.items()
            },
        }
        return {
            "file": self.file,
            "bytes": self.bytes,
            "dense_bytes": self.dense_bytes,
            "ratio": self.ratio,
            "threat": self.threat,
            "attack": self.attack,
            "n": self.robust.n,
            "clean": self.clean.json(),
            "robust": self.robust.json(),
            "attacks": {name: result.json() for name, result in self.attacks.items()},
            "taken": {name: taken.json() for name, taken in self.taken.items()},
            "latency_ms": {name: timing.json() for name, timing in self.latency_ms.items()},
            "checks": {check.name: check.json() for check in self.checks},
            "bytes_of": "file" if self.in_file else "float32 state dict",
            "white_box": self.white_box,
            **{key: value for key, value in optional.items() if value},
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], name: str | None = None) -> Row:
        """The row that `json` wrote; ``name`` replaces its own.

        Raises:
            KeyError, TypeError, ValueError: it is no such object.
        """
        split, work = found.get("clean_split"), found.get("macs")
        bound, early = found.get("certified"), found.get("exits")
        members = found.get("members", {})
        return cls(
            file=found["file"],
            bytes=found["bytes"],
            dense_bytes=found["dense_bytes"],
            threat=found["threat"],
            attack=found["attack"],
            clean=Proportion.from_json(found["clean"]),
            robust=Proportion.from_json(found["robust"]),
            name=name or found.get("name"),
            attacks=_proportions(found.get("attacks", {})),
            taken={k: Taken.from_json(each) for k, each in found.get("taken", {}).items()},
            members={attack: _proportions(each) for attack, each in members.items()},
            clean_split=Proportion.from_json(split) if split else None,
            latency_ms={k: Timing.from_json(t) for k, t in found.get("latency_ms", {}).items()},
            macs=Macs.from_json(work) if work else None,
            activations=found.get("activations"),
            exits=ExitCost(**early) if early else None,
            certified=Certified.from_json(bound) if bound else None,
            checks=[Check.from_json(k, check) for k, check in found.get("checks", {}).items()],
            warnings=found.get("warnings", ()),
            in_file=found.get("bytes_of", "file") == "file",
            white_box=found.get("white_box", True),
            images=found.get("images", ""),
            classes=found.get("classes", 0),
        )

    def cells(self, brief: bool = False) -> tuple[str, ...]:
        """One table line, clean on the whole split; intervals without decimals if ``brief``."""
        digits = 0 if brief else 1
        every = {self.attack: self.robust, **self.attacks, **self._in_members()}
        single = {name: result for name, result in every.items() if _is_single(name)}
        ran = [check for check in self.checks if check.passed is not None]
        return (
            printable(self.name or Path(self.file).name),
            f"{self.bytes:,}",
            f"{self.ratio:.2%}",
            _percent(self.clean_whole, digits),
            "\n".join(_percent(every[name], digits) for name in every if name not in single),
            "\n".join(printable(name) for name in every if name not in single),
            "\n".join(
                f"{_percent(result, digits)} {printable(name)}" for name, result in single.items()
            ),
            " / ".join(f"{timing.median:.2f}" for timing in self.latency_ms.values()),
            f"{sum(check.passed is True for check in ran)}/{len(ran)}" if ran else "",
        )

    def remarks(self) -> list[str]:
        """What a reader must know: failed checks, warnings, losses by attack, bounds, work."""
        failed = [check.sentence for check in self.checks if check.passed is False]
        counts = ", ".join(f"{name} {taken.count}" for name, taken in self.taken.items())
        order = [f"Examples lost to each attack, in this order: {counts}."] if counts else []
        weak = [self.weakness] if self.weakness else []
        sure = [self.certified.sentence()] if self.certified else []
        early = [self.exits.sentence()] if self.exits else []
        return [*failed, *self.warnings, *weak, *order, *sure, *early, *self._work()]

    def _work(self) -> list[str]:
        if self.macs is None or self.activations is None:
            return []
        return [
            f"One input takes {self.macs.sparse:,} multiplications by weights that are not 0 (of "
            f"{self.macs.dense:,}) and {self.activations:,} bytes of activations."
        ]

    def _in_members(self) -> dict[str, Proportion]:
        """``pgd:40 in l2:2``."""
        return {
            f"{attack} in {member}": result
            for attack, each in self.members.items()
            for member, result in each.items()
        }


@dataclass(frozen=True)
class Report(RowReport[Row]):
    """Rows of classifiers that belong together, and their provenance."""

    heads: ClassVar[Sequence[str]] = (
        "",
        "bytes",
        "of dense",
        "clean",
        "robust",
        "under",
        "for progress",
        "ms 1 / 64",
        "checks",
    )
    left: ClassVar[Sequence[str]] = ("", "under")
    note: ClassVar[str] = (
        "Accuracies in per cent with Wilson 95% intervals; robust: fooled by nothing that was "
        "tried; for progress: PGD or FGSM alone, which is too high; checks passed of those run;"
    )

    def caption(self) -> str:
        """The threats and the number of examples."""
        threats = " and ".join(dict.fromkeys(row.threat for row in self.rows))
        counts = {result.n for row in self.rows for result in (row.robust, *row.attacks.values())}
        span = " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)}))
        images = "".join(f" Images {how}." for how in {row.images for row in self.rows} - {""})
        return f"threat {threats}; {span} examples attacked.{images}"


def _is_single(attack: str) -> bool:
    """Whether a result is that of PGD or FGSM, which are for progress."""
    return attack.partition(":")[0].partition(" ")[0] in ("pgd", "fgsm")


def _proportions(found: Mapping[str, Any]) -> dict[str, Proportion]:
    return {name: Proportion.from_json(result) for name, result in found.items()}


def _percent(result: Proportion, digits: int) -> str:
    low, high = (f"{100 * end:.{digits}f}" for end in result.ci95)
    return f"{100 * result.accuracy:.1f} ({low}–{high})"
