"""The command: one function a verb.

A method's frozen dataclass is its flags: ``hauberk compress --method NAME --help`` lists them.
Torch is imported when a verb runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.cli.errors import exit_code
from hauberk.cli.streams import columns, prepare, refuse_bytes, refuse_closed
from hauberk.runtime.notes import printed

if TYPE_CHECKING:
    from rich.table import Table

    from hauberk.evaluation import ImageReport, Report

USAGE = """\
hauberk makes a neural network small while it keeps its accuracy and its adversarial robustness,
and measures both on the file that ships.

  hauberk demo                 trains, compresses and evaluates on embedded data, in minutes
  hauberk train                a dense, adversarially trained network
  hauberk compress             a small one: sparsity, rank and codebook in one problem
  hauberk sweep                methods × sizes × seeds, every run in one table
  hauberk evaluate FILE        bytes, clean accuracy, accuracy under attack, latency, checks;
                               for image-to-image networks distances to the dense net
  hauberk inspect FILE         a table by layer: shape, rank, kept weights, bits, bytes; a picture
  hauberk data D               shapes, classes and their counts, a sheet of examples
  hauberk export FILE          the same network as ONNX for other runtimes, or as C for
                               microcontrollers; evaluate takes them too

hauberk VERB --help lists the flags of a verb.

  hauberk train    --data digits --model digits-cnn --threat linf:0.1 --out runs/dense
  hauberk compress --from runs/dense/model.hbk --data digits --threat linf:0.1 --keep 1% --bits 4
  hauberk evaluate runs/compress/model.hbk --data digits --threat linf:0.1
  hauberk export   runs/compress/model.hbk --format onnx
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; the process ends with 0, or with 2 and a one-line error for a bad input."""
    words = list(sys.argv[1:] if argv is None else argv)
    prepare()
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    if words[0] == "--version":
        from hauberk import __version__

        print(f"hauberk {__version__}")
        return
    with printed(quiet=os.environ.get("RANK", "0") != "0"):
        sys.exit(exit_code(lambda: _verb(words)(words[1:])))


def _verb(words: Sequence[str]) -> Callable[[list[str]], None]:
    name = words[0]
    refuse_bytes(words)
    verbs: dict[str, Callable[[list[str]], None]] = {
        "demo": _demo,
        "train": _train,
        "compress": _compress,
        "sweep": _sweep,
        "evaluate": _evaluate,
        "inspect": _inspect,
        "export": _export,
        "data": _data,
    }
    if name not in verbs:
        raise ValueError(
            f"There is no verb {name!r}; the verbs are {', '.join(verbs)}: see hauberk --help."
        )
    if name in ("evaluate", "inspect", "data") and not {"-h", "--help"} & set(words):
        refuse_closed(name)
    return verbs[name]


def _demo(words: list[str]) -> None:
    from hauberk.cli.commands import Demo
    from hauberk.cli.parsing import parse

    spec = parse(Demo, "demo", words)
    from hauberk.cli.demo import demo

    _show(demo(spec.out, spec.seed), spec.out / "model.hbk", spec.json)


def _train(words: list[str]) -> None:
    _run(["train", *words])


def _compress(words: list[str]) -> None:
    _run(["compress", *words])


def _run(words: list[str]) -> None:
    """Train or compress, evaluate, report; in several processes if the flags say so."""
    from hauberk.cli.run_spec import RunSpec
    from hauberk.runtime.launch import launch, wanted

    spec = RunSpec.parse(words)
    machines = spec.machines
    if wanted(machines.devices, machines.nodes, machines.head):
        sys.exit(launch(words, machines.devices, machines.nodes, machines.head, spec.out))
    from hauberk.cli.console import stderr
    from hauberk.runtime.processes import joined

    group = joined()
    stderr.quiet = not group.first
    if spec.task == "image":
        from hauberk.cli.image_pipeline import SHEET, make_images

        pictures = make_images(spec, group)
        if pictures:
            _show(pictures, Path(pictures.rows[-1].file), spec.json, SHEET)
        return
    from hauberk.cli.pipeline import make

    report = make(spec, group=group)
    if report:
        _show(report, Path(report.rows[-1].file), spec.json)


def _sweep(words: list[str]) -> None:
    from hauberk.cli.sweep.sweep_spec import SweepSpec

    spec = SweepSpec.parse(words)
    from hauberk.cli.console import say
    from hauberk.cli.sweep.plan import Plan
    from hauberk.cli.sweep.sweep import sweep

    machines = spec.machines
    if machines.devices * machines.nodes != 1 or "RANK" in os.environ:
        raise ValueError(
            "A sweep computes each run in one process; leave out --devices, --nodes and torchrun, "
            "and give --ray to go through several runs at a time."
        )
    table = sweep(Plan.of(spec), shlex.join(["hauberk", "sweep", *words]))
    if spec.json:
        print(json.dumps(table.json()))
    else:
        _print(table.table(), table.failures())
    if not table.done:
        raise ValueError(
            f"None of the {len(table.rows)} runs succeeded; {spec.out}/sweep.csv says why."
        )
    say(f"{spec.out}/sweep.csv has a row for each run; tradeoff.png is next to it.")


def _evaluate(words: list[str]) -> None:
    from hauberk.cli.commands import Evaluate
    from hauberk.cli.parsing import parse

    spec = parse(Evaluate, "evaluate", words)
    from hauberk.cli.evaluate import evaluate

    report = evaluate(spec)
    if spec.json:
        print(json.dumps(report.rows[0].json()))
        _say_weakness(report)
    else:
        _print(report.table(columns(100)), report.findings())
    if spec.require:
        from hauberk.cli.requirement import check
        from hauberk.evaluation import Row

        (row,) = report.rows
        assert isinstance(row, Row)
        check(spec.require, row)


def _inspect(words: list[str]) -> None:
    from hauberk.cli.commands import Inspect
    from hauberk.cli.parsing import parse

    spec = parse(Inspect, "inspect", words)
    from hauberk.artifact import Artifact
    from hauberk.cli.inspect import as_json, draw, on_target, table

    artifact = Artifact.load(spec.file)
    part = on_target(artifact, spec) if spec.target else None
    if spec.picture is not None:
        draw(artifact, str(spec.file), spec.picture)
    if spec.json:
        held = {"on_target": part.json()} if part else {}
        print(json.dumps(as_json(artifact, str(spec.file)) | held))
    else:
        _print(table(artifact, str(spec.file)), otherwise=120)
    if part and not spec.json:
        _say(part.text())


def _export(words: list[str]) -> None:
    from hauberk.cli.commands import Export
    from hauberk.cli.parsing import parse

    spec = parse(Export, "export", words)
    from hauberk.cli.settings import network
    from hauberk.verbs.export import export

    own = network(spec.model)
    made = export(
        spec.file,
        spec.format,
        out=spec.out,
        data=spec.data,
        model=own,
        image_size=spec.image_size.size if spec.image_size else None,
        target=spec.target,
    )
    _say(json.dumps(made.json()) if spec.json else made.text())


def _data(words: list[str]) -> None:
    from hauberk.cli.commands import Show
    from hauberk.cli.parsing import parse

    spec = parse(Show, "data", words)
    from hauberk.cli.data import as_json, table
    from hauberk.plots.contact_sheet import draw

    data = spec.source.read()
    if spec.picture is not None:
        draw(data, spec.picture, spec.each)
    if spec.json:
        print(json.dumps(as_json(data)))
    else:
        _print(table(data))


def _show(
    report: Report | ImageReport, ships: Path, as_json: bool, picture: str = "tradeoff.png"
) -> None:
    """The report on stdout, as JSON or as a table, and where the files are."""
    from hauberk.cli.console import say

    if as_json:
        print(json.dumps(report.json()))
    else:
        _print(report.table(columns(100)), report.findings())
    say(f"{ships} is the file that ships; report.md and {picture} are next to it.")
    _say_weakness(report)


def _say_weakness(report: Report | ImageReport) -> None:
    """Print, as the last line, that the file that ships is not robust, if so."""
    from hauberk.cli.console import say
    from hauberk.evaluation import Report

    if isinstance(report, Report) and report.rows[-1].weakness:
        say(report.rows[-1].weakness)


def _say(text: str) -> None:
    """The lines on stdout, escaped."""
    from hauberk.printable import printable

    print("\n".join(map(printable, text.split("\n"))))


def _print(table: Table, findings: Sequence[str] = (), otherwise: int = 110) -> None:
    from rich.console import Console

    from hauberk.printable import cell

    console = Console(width=columns(otherwise), highlight=False)
    console.print(table)
    for finding in findings:
        console.print(cell(f"! {finding}"))
