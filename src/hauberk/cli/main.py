"""The command: one verb each.

A method's frozen dataclass is its flags: ``hauberk compress --method NAME --help`` shows them.
Torch is imported when a verb runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import copy
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hauberk.cli import resolve, run_file
from hauberk.cli.flags import Compress, Demo, Evaluate, Export, Inspect, Show, Train
from hauberk.cli.parsing import number, parse, peek, with_method

if TYPE_CHECKING:
    from rich.table import Table

    from hauberk.evaluation import Report
    from hauberk.method import Method

USAGE = """\
hauberk makes a neural network small while it keeps its accuracy and its adversarial robustness,
and proves it on the file that ships.

  hauberk demo                 the whole story on embedded data, in three to five minutes
  hauberk train                a dense, adversarially trained network
  hauberk compress             a small one: sparsity, rank and codebook in one problem
  hauberk sweep                methods × sizes × seeds, every run in one table
  hauberk evaluate FILE        bytes, clean accuracy, accuracy under attack, latency, checks
  hauberk inspect FILE         a table by layer: shape, rank, kept weights, bits, bytes; a picture
  hauberk data D               shapes, classes and their counts, a sheet of examples
  hauberk export FILE          the same network as ONNX, for other runtimes; evaluate takes it too

hauberk VERB --help explains each one's flags.

  hauberk train    --data digits --model digits-cnn --threat linf:0.1 --out runs/dense
  hauberk compress --from runs/dense/model.hbk --data digits --threat linf:0.1 --keep 1% --bits 4
  hauberk evaluate runs/compress/model.hbk --data digits --threat linf:0.1 --attack autoattack
  hauberk export   runs/compress/model.hbk --format onnx
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; the process ends with 0, or with 2 and one sentence for a bad input."""
    words = [number(word) for word in (sys.argv[1:] if argv is None else argv)]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return
    if words[0] == "--version":
        from hauberk import __version__

        print(f"hauberk {__version__}")
        return
    sys.exit(_guarded(words))


def _guarded(words: list[str]) -> int:
    """The exit code: 2 for what the user can mend, 130 and 143 after a signal."""
    try:
        _verb(words[0])(words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt as stop:
        if not _rank():
            _complain(str(stop) or "Interrupted before anything was saved.")
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except (ValueError, OSError) as error:
        _complain_once(error)
        return 2
    return 0


def _verb(name: str) -> Callable[[list[str]], None]:
    verbs: dict[str, Callable[[list[str]], None]] = {
        "demo": _demo,
        "train": _train,
        "compress": _compress,
        "sweep": _sweep,
        "evaluate": _evaluate,
        "inspect": _inspect,
        "export": _export,
        "data": _show_data,
    }
    if name not in verbs:
        raise ValueError(
            f"There is no verb {name!r}; the verbs are {', '.join(verbs)}: see hauberk --help."
        )
    return verbs[name]


def _demo(words: list[str]) -> None:
    flags = parse(Demo, "demo", words)
    from hauberk.cli.demo import demo

    _show(demo(flags.out, flags.seed), flags.out, flags.json)


def _train(words: list[str]) -> None:
    from hauberk.methods import DA

    flags = _settings(Train, DA, "train", *_configured(words, "train"))
    if not flags.model:
        raise ValueError("train was given no --model; give one, such as --model digits-cnn.")
    _share(flags, "train", words)
    _make(flags, "train", "")


def _compress(words: list[str]) -> None:
    path, given, rest = _configured(words, "compress")
    asked = {"size": "sized", "robust-at-least": "constrained"}
    own = [
        m for flag, m in asked.items() if peek(rest, flag, "") or flag.replace("-", "_") in given
    ]
    if len(own) > 1:
        raise ValueError(
            "--size and --robust-at-least were both given; one says how large the file is, the "
            "other finds it out: give one."
        )
    named = peek(rest, "method", str(given.get("method", (*own, "atmc")[0])))
    flags = _settings(Compress, resolve.method(named), "compress", path, given, rest)
    if not flags.from_ and not flags.model:
        raise ValueError(
            "compress was given neither --from nor --model; give a file to start from, "
            "or the name of a network to train first, such as --model digits-cnn."
        )
    _share(flags, "compress", words)
    _make(flags, "compress", flags.from_)


def _configured(
    words: list[str], verb: str
) -> tuple[Path | None, dict[str, run_file.Value], list[str]]:
    """The file of settings that the words begin with, what it says, and the other words."""
    path, rest = run_file.split(words)
    return path, {} if path is None else run_file.read(path, verb), rest


def _settings(
    cls: type[Any],
    method: type[Method],
    verb: str,
    path: Path | None,
    given: dict[str, run_file.Value],
    words: list[str],
) -> Any:
    """The flags of a verb and its method: those of the file, then those of the command line."""
    both = with_method(cls, method)
    first = [] if path is None else run_file.words(given, both, path)
    return parse(both, verb, [*first, *words])


def _share(flags: Any, verb: str, words: list[str]) -> None:
    """Where several processes are wanted, start them with the same words, and end with them."""
    from hauberk.runtime.launch import launch, wanted

    if wanted(flags.devices, flags.nodes, flags.head):
        sys.exit(launch([verb, *words], flags.devices, flags.nodes, flags.head, flags.out))


def _make(flags: Any, verb: str, start: str) -> None:
    """Train or compress, prove, report."""
    from hauberk.cli.console import stderr
    from hauberk.cli.pipeline import make
    from hauberk.runtime.processes import joined

    group = joined()
    stderr.quiet = not group.first
    report = make(flags, verb, start, group=group)
    if report:
        _show(report, flags.out, flags.json)


def _sweep(words: list[str]) -> None:
    from hauberk.cli.console import say
    from hauberk.cli.sweep.plan import Grid
    from hauberk.cli.sweep.sweep import sweep

    grid = Grid.read(words)
    if grid.flags.devices * grid.flags.nodes != 1 or "RANK" in os.environ:
        raise ValueError(
            "A sweep shares no run among processes; leave --devices, --nodes and torchrun out, and "
            "give --ray to go through several runs at a time."
        )
    table = sweep(grid, shlex.join(["hauberk", "sweep", *words]))
    if grid.flags.json:
        print(json.dumps(table.json()))
    else:
        _print(table.table(), table.failures())
    if not table.done:
        raise ValueError(
            f"None of the {len(table.rows)} runs succeeded; {grid.flags.out}/sweep.csv says why."
        )
    say(f"{grid.flags.out}/sweep.csv has a row for each run; beside it tradeoff.png.")


def _evaluate(words: list[str]) -> None:
    flags = parse(Evaluate, "evaluate", words)
    from hauberk.cli.console import bars
    from hauberk.evaluation import Report
    from hauberk.evaluation.shipped_file import prove, read
    from hauberk.verbs.load import load

    proof = resolve.proof(flags, resolve.threat(flags.threat))
    opened = read(flags.file)  # a bad file is named before the data are read
    own = resolve.own(flags)
    source = load(flags.dense, copy.deepcopy(own)) if flags.dense else None
    data, place = resolve.data(flags), resolve.device(flags.device)
    with bars(flags.file.name) as bar:
        row = prove(opened, data, proof, source=source, model=own, device=place, progress=bar.seen)
    if flags.json:
        print(json.dumps(row.json()))
    else:
        _print(Report([row]).table(), Report([row]).findings())


def _inspect(words: list[str]) -> None:
    flags = parse(Inspect, "inspect", words)
    from hauberk.artifact import Artifact
    from hauberk.cli.inspect import as_json, draw, table

    artifact = Artifact.load(flags.file)
    if flags.picture is not None:
        draw(artifact, str(flags.file), flags.picture)
    if flags.json:
        print(json.dumps(as_json(artifact, str(flags.file))))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(table(artifact, str(flags.file)))


def _export(words: list[str]) -> None:
    flags = parse(Export, "export", words)
    from hauberk.verbs.export import export

    own = resolve.own(flags)
    made = export(flags.file, flags.format, out=flags.out, data=flags.data, model=own)
    print(json.dumps(made.json()) if flags.json else made.text())


def _show_data(words: list[str]) -> None:
    flags = parse(Show, "data", words)
    from hauberk.cli.data import as_json, table
    from hauberk.plots.contact_sheet import draw

    data = resolve.data(flags)
    if flags.picture is not None:
        draw(data, flags.picture, flags.each)
    if flags.json:
        print(json.dumps(as_json(data)))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 110).print(table(data))


def _show(report: Report, out: Path, as_json: bool) -> None:
    """The report on stdout, as JSON or as a table, and where the files are."""
    from hauberk.cli.console import say

    if as_json:
        print(json.dumps(report.json()))
    else:
        _print(report.table(), report.findings())
    say(f"{out}/model.hbk is the file that ships; beside it report.md and tradeoff.png.")


def _print(table: Table, findings: Sequence[str]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    for finding in findings:
        console.print(f"! {finding}")


def _complain_once(error: ValueError | OSError) -> None:
    """The sentence, from one process alone where several find the same fault."""
    rank = _rank()
    if not rank and "torch" not in sys.modules:
        _complain(_sentence(error))
        return
    from hauberk.runtime.launch import is_child
    from hauberk.runtime.processes import Lost

    if rank:
        time.sleep(20)  # where the first one found it too, this process is ended meanwhile
    if not (isinstance(error, Lost) and (rank or is_child())):
        _complain(f"process {rank}: {_sentence(error)}" if rank else _sentence(error))


def _rank() -> int:
    """Which of a run's processes this is."""
    return int(os.environ.get("RANK", "0"))


def _complain(sentence: str) -> None:
    print(f"hauberk: {sentence}", file=sys.stderr)


def _sentence(error: ValueError | OSError) -> str:
    """One line; the operating system's errors without their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'}: {error.strerror}."
    return " ".join(str(error).split())
