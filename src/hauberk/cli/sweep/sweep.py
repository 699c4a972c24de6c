"""``hauberk sweep``: many compressions, one table.

Without Ray the runs go one after the other, on data and a net that are read once. On Ray many go at
a time, each in a worker that reads both once for all its runs. The results are the same.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from hauberk.cli import pipeline, run_file
from hauberk.cli.console import Tally, bars, say, tally
from hauberk.cli.errors import one_line
from hauberk.cli.run_spec import RunSpec
from hauberk.cli.sweep import ray
from hauberk.cli.sweep.plan import Plan, PlannedRun
from hauberk.cli.sweep.sweep_spec import SweepSpec
from hauberk.cli.sweep.table import CSV, Outcome, Outcomes, load
from hauberk.plots.tradeoff import tradeoff
from hauberk.runtime import files, signals
from hauberk.runtime.lock import locked
from hauberk.runtime.notes import printed
from hauberk.runtime.signals import Interrupted
from hauberk.threats import NoThreat
from hauberk.verbs import compress
from hauberk.verbs.pipeline import PICTURE
from hauberk.verbs.rehearsal import rehearsed
from hauberk.verbs.run_inputs import TEACHER, changes, file_digest, merged

_LEFT = (compress.FILE, run_file.NAME, PICTURE, "metrics.csv", "report.json", "report.md")
"""Files that a run leaves, other than its checkpoints."""


def sweep(plan: Plan, command: str) -> Outcomes:
    """Make every run that is not done, and keep the table on disk up to date.

    Args:
        plan: the runs.
        command: for the table.

    Raises:
        ValueError: data or network that no run could use, or a folder with another sweep's runs.
        OSError: a file that cannot be read or written.
        Interrupted: after SIGINT, SIGTERM or SIGHUP; the run under way has saved what it did.
    """
    spec = plan.spec
    if spec.ray:
        _ready(spec)
    with locked(spec.out):
        given = pipeline.Given.read(plan.runs[0].spec)
        _rehearse(plan, given)
        for note in plan.notes:
            say(note)
        with ray.joined(spec.ray) if spec.ray else nullcontext():
            table = _done(plan, replace(_begun(plan, given), command=command), given)
        if table.done:
            tradeoff([*table.start(), *table.labelled()], spec.out / PICTURE)
    return table


def _rehearse(plan: Plan, given: pipeline.Given) -> None:
    """One step of the network before the first run; each run says what it changes in it."""
    rows = min(run.spec.method.optimisation.batch_size for run in plan.runs)
    attacked = not isinstance(plan.runs[0].spec.attacked().threat, NoThreat)
    with printed(quiet=True):
        rehearsed(given.net, given.data, attacked, min(rows, len(given.data.train)))


def _ready(spec: SweepSpec) -> None:
    """Raise a ValueError, before data are read, for what Ray cannot do."""
    ray.installed()
    device = str(spec.machines.device or "")
    if device.startswith("cuda:"):
        raise ValueError(
            f"--device was given as {device}, and with --ray each run has a GPU of its own; "
            "give --device cuda."
        )


def _done(plan: Plan, table: Outcomes, given: pipeline.Given) -> Outcomes:
    """The table once all runs are done; the one on disk grows as they end."""
    out = plan.spec.out
    files.write(out / run_file.NAME, plan.spec.to_toml().encode())
    table.save(out)
    # inside of Ray's context, which installs its own SIGTERM handler
    with signals.raised(), tally(len(table.rows), table.over) as shown:
        try:
            with closing(_made(plan, table, given, shown)) as made:  # Ray's runs end with it
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


def _begun(plan: Plan, given: pipeline.Given) -> Outcomes:
    """The table at the start: of the sweep that this one resumes, else with nothing done."""
    out = plan.spec.out
    earlier = load(out).rows if plan.spec.resume else ()
    known = {row.name: row for row in earlier}
    fresh = [_to_do(run, inputs_of(run, given)) for run in plan.runs]
    for row in fresh:
        if row.name in known:
            _same(known[row.name], row, out)
    files.ready(out)
    if not plan.spec.resume:
        for folder in (out / row.name for row in fresh):
            with locked(folder):
                _clear(folder)
    kept = (known.get(row.name, row) for row in fresh)
    return Outcomes(tuple(k if _stands(k, out) else f for k, f in zip(kept, fresh, strict=True)))


def _clear(folder: Path) -> None:
    """Delete what an earlier sweep left: it is neither this one's nor to be resumed from."""
    for path in (*folder.glob("*.safetensors"), *(folder / name for name in _LEFT)):
        path.unlink(missing_ok=True)


def inputs_of(run: PlannedRun, given: pipeline.Given) -> dict[str, str]:
    """The digests of what a run is made of.

    Args:
        run: settings and name.
        given: the data and the network.
    """
    teacher = run.spec.method.distillation.teacher
    taught = {TEACHER: file_digest(Path(teacher))} if teacher not in ("", "self") else {}
    return merged(run.spec.code, given.inputs) | taught


def _to_do(run: PlannedRun, inputs: Mapping[str, str]) -> Outcome:
    return Outcome(
        name=run.name,
        group=run.group,
        method=run.method,
        size=run.size,
        seed=run.spec.seed,
        varied=run.varied,
        settings=run.settings(),
        inputs=inputs,
    )


def _same(old: Outcome, new: Outcome, out: Path) -> None:
    """Raise a ValueError if a row was made with other settings."""
    for key in dict.fromkeys((*old.settings, *new.settings)):
        was, now = (row.settings.get(key, "nothing") for row in (old, new))
        if was != now:
            raise ValueError(
                f"{out / old.name} was made with {key} = {was}, and {now} is requested; give the "
                "settings of that sweep, or another --out, or leave --resume out to start anew."
            )
    changed = changes(old.inputs, new.inputs)
    if changed:
        raise ValueError(
            f"{out / old.name} was made with other {' and other '.join(changed)} (the names are "
            "the same, the content has changed since); give those of that sweep, or another --out, "
            "or leave --resume out to start anew."
        )


def _stands(row: Outcome, out: Path) -> bool:
    """Whether the run of a row is finished and its files are there."""
    if row.report is None:
        return row.over and (out / row.name).is_dir()
    path = out / row.name / compress.FILE
    return path.is_file() and path.stat().st_size == row.report["bytes"]


def _made(plan: Plan, table: Outcomes, given: pipeline.Given, shown: Tally) -> Generator[Outcome]:
    """The outcomes of the runs that are left, as they end."""
    over = {row.name for row in table.rows if row.over}
    left = [run for run in plan.runs if run.name not in over]
    if plan.spec.ray:
        if left:
            yield from _on_ray(plan.spec, left)
        return
    if plan.spec.threads:
        torch.set_num_threads(plan.spec.threads)
    for run in left:
        yield perform(run, given, lambda label="", run=run: shown.bars(f"{run.name} {label}"))


def perform(run: PlannedRun, given: pipeline.Given, shown: pipeline.Shown) -> Outcome:
    """One run; if it fails, its error.

    Args:
        run: settings and name.
        given: the data and the network, read already.
        shown: opens the progress bars.
    """
    began, outcome, spec = time.monotonic(), _to_do(run, inputs_of(run, given)), run.spec
    try:
        report = pipeline.make(spec, given.seeded(spec), shown, spec.command)
        assert report is not None
    except (ValueError, torch.OutOfMemoryError) as error:
        spec.out.mkdir(parents=True, exist_ok=True)
        seconds = time.monotonic() - began
        return replace(outcome, state="failed", error=one_line(error), seconds=seconds)
    *dense, row = (row.json() for row in report.rows)
    return replace(
        outcome,
        state="done",
        seconds=time.monotonic() - began,
        report=row,
        dense=dense[0] if dense else None,
    )


def _on_ray(spec: SweepSpec, left: Sequence[PlannedRun]) -> Iterator[Outcome]:
    """One task for each run; each writes its own folder, and only this process the table."""
    device = str(spec.machines.device or "")
    cpus, here = spec.threads or 1, str(Path.cwd())
    calls = [(run, left[0].spec, here, cpus) for run in left]
    gpu = device == "cuda" if device else None
    for place, got in ray.spread(_remotely, calls, cpus=cpus, gpu=gpu):
        if isinstance(got, ray.Lost):
            yield replace(_to_do(left[place], {}), state="lost", error=_lost(got))
        else:
            yield got


def _lost(why: ray.Lost) -> str:
    return f"its worker died ({why}); run the same command with --resume to repeat it."


def _remotely(run: PlannedRun, first: RunSpec, here: str, threads: int) -> Outcome:
    """A run in a worker of Ray, which has the same folders as the machine that sent it."""
    if not Path(here).is_dir():
        raise OSError(
            f"A worker of the Ray cluster has no folder {here}; start the sweep in a folder that "
            "every machine of the cluster mounts."
        )
    os.chdir(here)
    torch.set_num_threads(threads)
    return perform(run, _given(first), bars)


@lru_cache(1)
def _given(first: RunSpec) -> pipeline.Given:
    """A worker reads data and net once, by the sweep's first run."""
    return pipeline.Given.read(first)
