"""The one report: clean and robust accuracy, bytes, multiplications, milliseconds, provenance."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from hauberk.evaluation.cost import Macs, Timing
from hauberk.evaluation.gradient_masking import Check
from hauberk.evaluation.proportion import Proportion
from hauberk.runtime.files import write
from hauberk.runtime.packages import version

if TYPE_CHECKING:
    from rich.table import Table

_NO_FILE = "It is in no file; its bytes are those of its float32 state dict."
_HEADS = ("", "bytes", "of dense", "clean", "robust", "under", "ms 1 / 64", "checks")


@dataclass(frozen=True)
class Row:
    """The measurements of one classifier.

    Attributes:
        file: the path, or the name of a module that is in no file.
        bytes: of the file; of the float32 state dict of such a module.
        dense_bytes: of the dense net in float32.
        threat: as the user writes it, ``linf:0.1``.
        attack: the one behind ``robust``, as the user writes it; ``pgd:40 + square`` for the worst
            of two.
        clean: on the examples that were attacked.
        robust: under ``attack``.
        name: of the row in a table.
        attacks: every attack's own result, by name.
        members: for a union of threats, by attack, the result in each member; an example counts in
            ``attacks`` and ``robust`` if it withstands all.
        clean_split: on the whole split, if fewer examples were attacked.
        latency_ms: by batch, such as ``batch1``.
        macs: multiplications of one input.
        checks: for gradient masking.
        warnings: what limits the figures, such as points with zero gradient in AutoAttack.
        in_file: whether ``bytes`` are a file's; else they are those of a float32 state dict.
        white_box: whether the attacks got the gradient; else they were Square and transfer.
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
    members: Mapping[str, Mapping[str, Proportion]] = field(default_factory=dict)
    clean_split: Proportion | None = None
    latency_ms: Mapping[str, Timing] = field(default_factory=dict)
    macs: Macs | None = None
    checks: Sequence[Check] = ()
    warnings: Sequence[str] = ()
    in_file: bool = True
    white_box: bool = True

    @property
    def ratio(self) -> float:
        """Bytes of the file over bytes of the dense net in float32."""
        return self.bytes / self.dense_bytes

    def json(self) -> dict[str, Any]:
        """The object that ``evaluate --json`` prints, without what was not measured."""
        optional = {
            "name": self.name,
            "clean_split": self.clean_split and self.clean_split.json(),
            "macs": self.macs and self.macs.json(),
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
            members={attack: _proportions(each) for attack, each in members.items()},
            clean_split=Proportion.from_json(split) if split else None,
            latency_ms={k: Timing.from_json(t) for k, t in found.get("latency_ms", {}).items()},
            macs=Macs(work["dense"], work["sparse"]) if work else None,
            checks=[Check.from_json(k, check) for k, check in found.get("checks", {}).items()],
            warnings=found.get("warnings", ()),
            in_file=found.get("bytes_of", "file") == "file",
            white_box=found.get("white_box", True),
        )

    def cells(self, digits: int = 1) -> tuple[str, ...]:
        """One table line, clean on the whole split; intervals with ``digits`` decimals."""
        every = {self.attack: self.robust, **self.attacks, **self._in_members()}
        ran = [check for check in self.checks if check.passed is not None]
        return (
            self.name or Path(self.file).name,
            f"{self.bytes:,}",
            f"{self.ratio:.2%}",
            _percent(self.clean_split or self.clean, digits),
            "\n".join(_percent(result, digits) for result in every.values()),
            "\n".join(every),
            " / ".join(f"{timing.median:.2f}" for timing in self.latency_ms.values()),
            f"{sum(check.passed is True for check in ran)}/{len(ran)}" if ran else "",
        )

    def _in_members(self) -> dict[str, Proportion]:
        """``pgd:40 in l2:2``."""
        return {
            f"{attack} in {member}": result
            for attack, each in self.members.items()
            for member, result in each.items()
        }


@dataclass(frozen=True)
class Report:
    """Rows that belong together, and their provenance."""

    rows: Sequence[Row]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """``{"rows": [...], "provenance": {...}}``."""
        return {"rows": [row.json() for row in self.rows], "provenance": dict(self.provenance)}

    def markdown(self) -> str:
        """The table, the findings of failed checks, and the provenance, as Markdown."""
        lines = [_line(_HEADS), _line(["---", *["---:"] * 4, "---", "---:", "---:"])]
        lines += [_line([c.replace("\n", "<br>") for c in row.cells()]) for row in self.rows]
        about = "Accuracies in per cent with Wilson 95% intervals; checks passed of those run; "
        lines += ["", about + _about(self.rows), ""]
        lines += [f"- {finding}" for finding in self.findings()]
        lines += ["", *(f"- {key}: {value}" for key, value in self.provenance.items())]
        return "\n".join(lines).rstrip() + "\n"

    def table(self) -> Table:
        """The same for a terminal of 100 columns, to be printed by rich."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption=_about(self.rows))
        for head in _HEADS:
            justify: Literal["left", "right"] = "left" if head in {"", "under"} else "right"
            table.add_column(head, justify=justify, no_wrap=head != "", overflow="fold")
        for row in self.rows:
            table.add_row(*row.cells(digits=0))
        return table

    def findings(self) -> list[str]:
        """One line for each row that is in no file, each failed check and each warning."""
        return [
            f"{row.name or row.file}: {sentence}"
            for row in self.rows
            for sentence in (
                *(() if row.in_file else (_NO_FILE,)),
                *(check.sentence for check in row.checks if check.passed is False),
                *row.warnings,
            )
        ]

    def save(self, folder: Path) -> None:
        """Writes ``report.json`` and ``report.md``, each by rename.

        Raises:
            OSError: the folder cannot be written.
        """
        text = json.dumps(self.json(), indent=2, ensure_ascii=False) + "\n"
        write(folder / "report.json", text.encode())
        write(folder / "report.md", self.markdown().encode())


def provenance(*, command: str, seed: int, data: str, device: str = "cpu") -> dict[str, Any]:
    """Versions, machine, command, seed and date of a run.

    Args:
        command: that reproduces the report.
        seed: of every random start.
        data: name of the data set.
        device: that computed.
    """
    packages = ("hauberk", "torch", "numpy", "pyautoattack")
    return {
        "command": command,
        "seed": seed,
        "data": data,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
    }


def _proportions(found: Mapping[str, Any]) -> dict[str, Proportion]:
    return {name: Proportion.from_json(result) for name, result in found.items()}


def _percent(result: Proportion, digits: int) -> str:
    low, high = (f"{100 * end:.{digits}f}" for end in result.ci95)
    return f"{100 * result.accuracy:.1f} ({low}–{high})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _about(rows: Sequence[Row]) -> str:
    """The threats and the number of examples, for a caption."""
    threats = " and ".join(dict.fromkeys(row.threat for row in rows))
    counts = {result.n for row in rows for result in (row.robust, *row.attacks.values())}
    span = " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)}))
    return f"threat {threats}; {span} examples attacked."
