"""The command: one verb each.

A method's frozen dataclass is its flags: ``hauberk compress --method NAME --help`` shows them.
Torch is imported when a verb runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import json
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    import torch

    from hauberk.attack import Attack
    from hauberk.console import Bars
    from hauberk.evaluate import Proof, Report
    from hauberk.methods import Method
    from hauberk.solve import Run
    from hauberk.threat import Threat

USAGE = """\
hauberk makes a neural network small while it keeps its accuracy and its adversarial robustness,
and proves it on the file that ships.

  hauberk demo                 the whole story on embedded data, in about three minutes
  hauberk train                a dense, adversarially trained network
  hauberk compress             a small one: sparsity, rank and codebook in one problem
  hauberk evaluate FILE        bytes, clean accuracy, accuracy under attack, latency, checks
  hauberk inspect FILE         a table by layer: shape, rank, kept weights, bits, bytes

hauberk VERB --help explains each one's flags.

  hauberk train    --data digits --model digits-cnn --threat linf:0.1 --out runs/dense
  hauberk compress --from runs/dense/model.hbk --data digits --threat linf:0.1 --keep 1% --bits 4
  hauberk evaluate runs/compress/model.hbk --data digits --threat linf:0.1 --attack autoattack
"""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train a robust net on digits, compress it with ATMC, ship a file and prove it.

    Attributes:
        out: folder for the files, the report and the picture.
        seed: of every shuffle and random start.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    out: Path = Path("runs/demo")
    seed: int = 0
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every training verb takes.

    Attributes:
        data: digits, an .npz file with x and y, or a parquet file (or the common prefix of
            X-train.parquet and X-test.parquet).
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, linf:0.3, l2:0.5.
        model: digits-cnn, caffe-lenet, or lenet:8 (its width after the colon).
        out: folder for the file, checkpoints, logs, report and picture.
        attack: the attack that the report shows: pgd:40, fgsm or autoattack.
        limit: attack only the first so many test examples.
        seed: of every shuffle and random start.
        resume: go on from the folder's checkpoint where there is one.
        device: cpu, cuda or cuda:1; by default CUDA where there is any.
        bf16: train in bfloat16 where that is safe (autocast).
        tensorboard: also write TensorBoard events to the folder.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    data: str
    threat: str
    model: str = ""
    out: Path = Path()
    attack: str = "pgd:40"
    limit: int = 0
    seed: int = 0
    resume: bool = False
    device: str = ""
    bf16: bool = False
    tensorboard: bool = False
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Train a dense, adversarially robust network and write it as a file.

    Attributes:
        out: folder for the file, checkpoints, logs, report and picture.
    """

    out: Path = Path("runs/train")


@dataclass(frozen=True, kw_only=True)
class Compress(Common):
    """Make a network small while it stays robust, and prove it on the file that ships.

    Attributes:
        method: atmc, al0, alr, ap, nap or da; its own flags are listed below.
        from_: an .hbk file to start from; without it a dense net is trained first.
        out: folder for the file, checkpoints, logs, report and picture.
    """

    method: str = "atmc"
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    out: Path = Path("runs/compress")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Prove a file: what it weighs, what it knows, what it withstands, how fast it is.

    Attributes:
        file: an .hbk file.
        data: as for train; the test split is attacked.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, linf:0.3, l2:0.5.
        attack: pgd:STEPS, fgsm or autoattack.
        limit: attack only the first so many test examples.
        restarts: random starts of PGD; an example counts as robust if it withstands all.
        dense: an .hbk file of the dense net, from which attacks are transferred as a check.
        checks: look for gradient masking, on up to 200 examples.
        seed: of every random start.
        device: cpu, cuda or cuda:1; by default CUDA where there is any.
        json: print one JSON object on stdout, and nothing else there.
    """

    file: tyro.conf.Positional[Path]
    data: str
    threat: str
    attack: str = "pgd:40"
    limit: int = 0
    restarts: int = 1
    dense: str = ""
    checks: bool = True
    seed: int = 0
    device: str = ""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a file holds, layer by layer.

    Attributes:
        file: an .hbk file.
        json: print one JSON object on stdout, and nothing else there.
    """

    file: tyro.conf.Positional[Path]
    json: bool = False


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; the process ends with 0, or with 2 and one sentence for a bad input."""
    words = [_number(word) for word in (sys.argv[1:] if argv is None else argv)]
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
        _complain(str(stop) or "Interrupted before anything was saved.")
        return 128 + getattr(stop, "signum", signal.SIGINT)
    except (ValueError, OSError) as error:
        _complain(_sentence(error))
        return 2
    return 0


def _verb(name: str) -> Callable[[list[str]], None]:
    verbs: dict[str, Callable[[list[str]], None]] = {
        "demo": _demo,
        "train": _train,
        "compress": _compress,
        "evaluate": _evaluate,
        "inspect": _inspect,
    }
    if name not in verbs:
        raise ValueError(
            f"There is no verb {name!r}; the verbs are {', '.join(verbs)}: see hauberk --help."
        )
    return verbs[name]


def _demo(words: list[str]) -> None:
    flags = _parse(Demo, "demo", words)
    from hauberk.demo import demo

    _show(demo(flags.out, flags.seed), flags.out, flags.json)


def _train(words: list[str]) -> None:
    from hauberk.methods import DA

    flags = _parse(_with_method(Train, DA), "train", words)
    if not flags.model:
        raise ValueError("train was given no --model; give one, such as --model digits-cnn.")
    _make(flags, "")


def _compress(words: list[str]) -> None:
    cls = _method(_peek(words, "method", "atmc"))
    flags = _parse(_with_method(Compress, cls), "compress", words)
    if not flags.from_ and not flags.model:
        raise ValueError(
            "compress was given neither --from nor --model; give an .hbk file to start from, "
            "or the name of a network to train first, such as --model digits-cnn."
        )
    _make(flags, flags.from_)


def _make(flags: Any, start: str) -> None:
    """Train or compress, prove, report."""
    from hauberk import api, models
    from hauberk.console import bars
    from hauberk.data import load
    from hauberk.methods import DA
    from hauberk.runs import keep_rows, prove, publish

    method, threat = flags.settings, _threat(flags.threat)
    proof, data = _proof(flags, threat), load(flags.data)
    net = api.load(start) if start else models.build(flags.model, seed=flags.seed)
    place = _device(flags.device)
    with bars() as bar:
        what = f"{method} {start or flags.model} {flags.data} {flags.threat}"
        run = _run(flags, place, what, bar)
        made = api.compress(
            net, data, method=method, threat=threat, out=flags.out, pretrained=bool(start), run=run
        )
    assert made.path is not None
    files = {type(method).__name__: made.path}
    if not isinstance(method, DA):
        dense = api.encode(made.dense, data, api.architecture(net))
        files = keep_rows(flags.out, {"dense": dense}) | files
    rows = []
    for name, path in files.items():
        with bars(name) as bar:
            rows.append(
                prove(
                    path,
                    data,
                    proof,
                    source=made.dense,
                    name=name,
                    device=place,
                    progress=bar.seen,
                )
            )
    _show(publish(flags.out, rows, data, flags.seed, place), flags.out, flags.json)


def _evaluate(words: list[str]) -> None:
    flags = _parse(Evaluate, "evaluate", words)
    from hauberk import api
    from hauberk.artifact import Artifact
    from hauberk.console import bars
    from hauberk.data import load
    from hauberk.evaluate import Report
    from hauberk.runs import prove

    proof = _proof(flags, _threat(flags.threat))
    Artifact.load(flags.file)  # a bad file is named before the data are read
    source = api.load(flags.dense) if flags.dense else None
    data, place = load(flags.data), _device(flags.device)
    with bars(flags.file.name) as bar:
        row = prove(flags.file, data, proof, source=source, device=place, progress=bar.seen)
    if flags.json:
        print(json.dumps(row.json()))
    else:
        _print(Report([row]))


def _inspect(words: list[str]) -> None:
    flags = _parse(Inspect, "inspect", words)
    from hauberk.artifact import Artifact
    from hauberk.inspect import as_json, table

    artifact = Artifact.load(flags.file)
    if flags.json:
        print(json.dumps(as_json(artifact, str(flags.file))))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 100).print(table(artifact, str(flags.file)))


def _show(report: Report, out: Path, as_json: bool) -> None:
    """The report on stdout, as JSON or as a table, and where the files are."""
    from hauberk.console import say

    if as_json:
        print(json.dumps(report.json()))
    else:
        _print(report)
    say(f"{out}/model.hbk is the file that ships; beside it report.md and tradeoff.png.")


def _print(report: Report) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(report.table())
    for finding in report.findings():
        console.print(f"! {finding}")


def _parse(cls: type[Any], verb: str, words: Sequence[str]) -> Any:
    """tyro's reading of the words; its complaint as one sentence."""
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            return tyro.cli(
                cls, prog=f"hauberk {verb}", args=list(words), config=(tyro.conf.OmitArgPrefixes,)
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ValueError(f"{_unboxed(heard.getvalue())}; see hauberk {verb} --help.") from None


def _unboxed(text: str) -> str:
    """The first paragraph of a framed message, below its title."""
    lines = [line.strip("│|╰╯ ") for line in text.splitlines()[1:]]
    paragraphs = itertools.groupby(lines, lambda line: set(line) <= set("─-"))
    first = next((" ".join(part) for rule, part in paragraphs if not rule), "Unreadable flags")
    return first.removeprefix("Error parsing settings: ").rstrip(".")


def _with_method(flags: type[Any], method: type[Method]) -> type[Any]:
    """The verb's flags and the method's, as one class."""
    both = dataclasses.make_dataclass(
        flags.__name__,
        [("settings", method, dataclasses.field(default_factory=method))],
        bases=(flags,),
        frozen=True,
        kw_only=True,
    )
    both.__doc__ = flags.__doc__
    return both


def _method(name: str) -> type[Method]:
    from hauberk import methods

    known: dict[str, type[Method]] = {
        "atmc": methods.ATMC,
        "al0": methods.AL0,
        "alr": methods.ALR,
        "ap": methods.AP,
        "nap": methods.NAP,
        "da": methods.DA,
    }
    if name.lower() not in known:
        raise ValueError(f"There is no method {name!r}; the methods are {', '.join(known)}.")
    return known[name.lower()]


def _peek(words: Sequence[str], flag: str, default: str) -> str:
    """The value of ``--flag`` before the flags are known."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == f"--{flag}":
            return following
        if word.startswith(f"--{flag}="):
            return word.partition("=")[2]
    return default


def _number(word: str) -> str:
    """``1%`` as ``0.01``, wherever it stands: sizes and ratios may be written either way."""
    flag, equals, value = word.rpartition("=")
    share = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)%", value)
    return f"{flag}{equals}{float(share[1]) / 100!r}" if share else word


def _threat(text: str) -> Threat:
    """``linf:8/255`` as a threat."""
    from hauberk.threats import L2, Linf

    known: dict[str, Callable[[float], Threat]] = {"linf": Linf, "l2": L2}
    norm, _, size = text.partition(":")
    number = re.fullmatch(r"(\d+\.?\d*|\.\d+)(?:/(\d+\.?\d*))?", size.strip())
    divisor = float(number[2] or 1) if number else 0.0
    if norm.lower() not in known or not number or not divisor:
        raise ValueError(
            f"The threat {text!r} could not be read; write a norm ({', '.join(known)}), a colon "
            "and a radius in pixel units of [0, 1], such as linf:8/255 or l2:0.5."
        )
    return known[norm.lower()](float(number[1]) / divisor)


def _attack(text: str) -> Attack | None:
    """``pgd:40`` or ``fgsm``; ``None`` for AutoAttack."""
    from hauberk.attacks import FGSM, PGD

    name, _, steps = text.lower().partition(":")
    if name == "autoattack" and not steps:
        return None
    if name == "fgsm" and not steps:
        return FGSM(track=True)
    if name == "pgd" and (not steps or (steps.isdecimal() and int(steps) > 0)):
        return PGD(int(steps or 40), track=True)
    raise ValueError(
        f"The attack {text!r} could not be read; write pgd:STEPS (such as pgd:40), fgsm "
        "or autoattack."
    )


def _proof(flags: Any, threat: Threat) -> Proof:
    """How the file is attacked."""
    from hauberk.evaluate import Proof

    attack = _attack(flags.attack)
    if flags.limit < 0:
        raise ValueError(f"--limit was given as {flags.limit}; give a count of 1 or more.")
    return Proof(
        threat,
        flags.threat,
        {} if attack is None else {flags.attack: attack},
        autoattack=attack is None,
        limit=flags.limit or None,
        check_limit=200 if getattr(flags, "checks", True) else 0,
        restarts=getattr(flags, "restarts", 1),
        seed=flags.seed,
    )


def _run(flags: Any, place: torch.device, what: str, bar: Bars) -> Run:
    from hauberk.solve import Run

    return Run(
        seed=flags.seed,
        resume=flags.resume,
        device=place,
        bf16=flags.bf16,
        tensorboard=flags.tensorboard,
        identity=f"{what} seed={flags.seed} bf16={flags.bf16}",
        watcher=bar,
    )


def _device(text: str) -> torch.device:
    """The device named, if it is there."""
    import torch

    from hauberk.solve import Run

    if not text:
        return Run().place()
    try:
        return torch.zeros(0, device=text).device
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"The device {text!r} is not to be had ({why}); give cpu, cuda or cuda:N."
        ) from error


def _complain(sentence: str) -> None:
    print(f"hauberk: {sentence}", file=sys.stderr)


def _sentence(error: ValueError | OSError) -> str:
    """One line; the operating system's errors without their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'}: {error.strerror}."
    return " ".join(str(error).split())
