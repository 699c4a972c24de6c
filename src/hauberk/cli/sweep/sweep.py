"""``hauberk sweep``: many compressions, one table.

Here they are done one after the other, on the same data and the same net, read once; on Ray many at
a time, each by a worker that reads both once for all that it does. A run is the same either way.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from hauberk import networks
from hauberk.cli import pipeline, run_file
from hauberk.cli.console import Tally, bars, say, tally
from hauberk.cli.flags import Sweep
from hauberk.cli.sweep import ray
from hauberk.cli.sweep.plan import Cell, Grid, run_flags
from hauberk.cli.sweep.table import CSV, Outcome, Outcomes, load
from hauberk.plots.tradeoff import tradeoff
from hauberk.runtime import files, signals
from hauberk.runtime.signals import Interrupted
from hauberk.verbs import compress

PICTURE = "tradeoff.png"
_LEFT = (compress.FILE, run_file.NAME, PICTURE, "metrics.csv", "report.json", "report.md")
"""What a run leaves, beside its checkpoints."""


def sweep(grid: Grid, command: str) -> Outcomes:
    """Do every run that is not done, and keep the table on disk up to date.

    Args:
        grid: what the words of the command name.
        command: for the table.

    Raises:
        ValueError: data or network that no run could use, or a folder with another sweep's runs.
        OSError: a file that cannot be read or written.
        Interrupted: after SIGINT or SIGTERM; the run under way has saved what it did.
    """
    flags = grid.flags
    if flags.ray:
        _ready(flags)
    given = pipeline.Given.read(grid.cells[0].flags, flags.from_)
    networks.check_fit(given.net, given.data)
    for note in grid.notes:
        say(note)
    with ray.joined(flags.ray) if flags.ray else nullcontext():
        table = _done(grid, replace(_begun(grid), command=command), given)
    if table.done:
        tradeoff([*table.start(), *table.labelled()], flags.out / PICTURE)
    return table


def _ready(flags: Sweep) -> None:
    """Refuse, before data are read, what Ray cannot do."""
    ray.installed()
    if flags.device.startswith("cuda:"):
        raise ValueError(
            f"--device was given as {flags.device}, and with --ray each run has a GPU of its own; "
            "give --device cuda."
        )


def _done(grid: Grid, table: Outcomes, given: pipeline.Given) -> Outcomes:
    """The table once all is done; on disk, it is what is done so far."""
    out = grid.flags.out
    files.write(out / run_file.NAME, grid.text.encode())
    table.save(out)
    # within Ray's, which minds SIGTERM in its own way
    with signals.heeded(), tally(len(table.rows), table.over) as shown:
        try:
            with closing(_made(grid, table, given, shown)) as made:  # Ray's runs end with it
                for outcome in made:
                    table = table.put(outcome)
                    table.save(out)
                    shown.count(outcome.line())
        except KeyboardInterrupt as stop:
            raise _stopped(stop, table, out) from stop
    return table


def _stopped(stop: KeyboardInterrupt, table: Outcomes, out: Path) -> Interrupted:
    signum = int(getattr(stop, "signum", signal.SIGINT))
    return Interrupted(
        f"{signal.Signals(signum).name} ended the sweep with {table.over} of {len(table.rows)} "
        f"runs done (see {out / CSV}); run the same command with --resume to go on.",
        signum,
    )


def _begun(grid: Grid) -> Outcomes:
    """The table at the start: what an earlier sweep did, if this one resumes it, else nothing."""
    out = grid.flags.out
    earlier = load(out).rows if grid.flags.resume else ()
    known = {row.name: row for row in earlier}
    fresh = [_to_do(cell) for cell in grid.cells]
    for row in fresh:
        if row.name in known:
            _same(known[row.name], row, out)
    files.ready(out)
    if not grid.flags.resume:
        for row in fresh:
            _clear(out / row.name)
    kept = (known.get(row.name, row) for row in fresh)
    return Outcomes(tuple(k if _stands(k, out) else f for k, f in zip(kept, fresh, strict=True)))


def _clear(folder: Path) -> None:
    """What an earlier sweep left is neither this one's nor to be resumed from."""
    for path in (*folder.glob("*.safetensors"), *(folder / name for name in _LEFT)):
        path.unlink(missing_ok=True)


def _to_do(cell: Cell) -> Outcome:
    return Outcome(
        name=cell.name,
        group=cell.group,
        method=cell.method,
        size=cell.size,
        seed=cell.seed,
        varied=cell.varied,
        settings=cell.settings(),
    )


def _same(old: Outcome, new: Outcome, out: Path) -> None:
    """Refuse to mix runs of other settings into the table."""
    for key in dict.fromkeys((*old.settings, *new.settings)):
        was, now = (row.settings.get(key, "nothing") for row in (old, new))
        if was != now:
            raise ValueError(
                f"{out / old.name} was made with {key} = {was}, and {now} is asked for; give the "
                "settings of that sweep, or another --out, or leave --resume out to start anew."
            )


def _stands(row: Outcome, out: Path) -> bool:
    """Whether a row's run is over and what it left is there."""
    if row.report is None:
        return row.over and (out / row.name).is_dir()
    path = out / row.name / compress.FILE
    return path.is_file() and path.stat().st_size == row.report["bytes"]


def _made(grid: Grid, table: Outcomes, given: pipeline.Given, shown: Tally) -> Generator[Outcome]:
    """The outcomes of the runs that are to do, as they end."""
    over = {row.name for row in table.rows if row.over}
    cells = [cell for cell in grid.cells if cell.name not in over]
    if grid.flags.ray:
        if cells:
            yield from _on_ray(grid.flags, cells)
        return
    if grid.flags.threads:
        torch.set_num_threads(grid.flags.threads)
    for cell in cells:
        yield perform(cell, given, lambda label="", cell=cell: shown.bars(f"{cell.name} {label}"))


def perform(cell: Cell, given: pipeline.Given, shown: pipeline.Shown) -> Outcome:
    """One run; where it fails, its sentence."""
    began, outcome = time.monotonic(), _to_do(cell)
    command = f"hauberk compress {shlex.join(cell.words)}"
    try:
        given = given.seeded(cell.flags)
        report = pipeline.make(cell.flags, "compress", cell.flags.from_, given, shown, command)
        assert report is not None
    except (ValueError, torch.OutOfMemoryError) as error:
        cell.flags.out.mkdir(parents=True, exist_ok=True)
        sentence = " ".join(str(error).split())
        return replace(outcome, state="failed", sentence=sentence, seconds=time.monotonic() - began)
    *dense, row = (row.json() for row in report.rows)
    return replace(
        outcome,
        state="done",
        seconds=time.monotonic() - began,
        report=row,
        dense=dense[0] if dense else None,
    )


def _on_ray(flags: Sweep, cells: Sequence[Cell]) -> Iterator[Outcome]:
    """One task for each run; each writes its own folder, and only this process the table."""
    gpu = flags.device == "cuda" if flags.device else None
    cpus, here = flags.threads or 1, str(Path.cwd())
    bare = [replace(cell) for cell in cells]  # without the flags they may hold: words travel
    calls = [(cell, bare[0], here, cpus) for cell in bare]
    for place, got in ray.spread(_remotely, calls, cpus=cpus, gpu=gpu):
        if isinstance(got, ray.Lost):
            yield replace(_to_do(cells[place]), state="lost", sentence=_lost(got))
        else:
            yield got


def _lost(why: ray.Lost) -> str:
    return f"its worker died ({why}); run the same command with --resume to have it done again."


def _remotely(cell: Cell, first: Cell, here: str, threads: int) -> Outcome:
    """A run in a worker of Ray, which has the same folders as the machine that sent it."""
    if not Path(here).is_dir():
        raise OSError(
            f"A worker of the Ray cluster has no folder {here}; start the sweep in a folder that "
            "all its machines share."
        )
    os.chdir(here)
    torch.set_num_threads(threads)
    return perform(cell, _given(first.method, first.words), bars)


@lru_cache(1)
def _given(method: str, words: tuple[str, ...]) -> pipeline.Given:
    """A worker reads data and net once, by the words of the sweep's first run."""
    flags = run_flags(method, words)
    return pipeline.Given.read(flags, flags.from_)
