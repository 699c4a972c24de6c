"""The command line of every table: train, measure and publish its rows, or some of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

import hauberk as hb
from benchmarks.arguments import DATA, parser
from benchmarks.record import RESULTS, Header, record
from benchmarks.steps import measure, train
from benchmarks.table import Table

STEPS = ("train", "measure", "publish")


def run(
    table: Table,
    docstring: str | None,
    publish: Callable[[], None],
    argv: Sequence[str] | None = None,
    after: Callable[[hb.Data], None] = lambda data: None,
) -> None:
    """Do what the command line names.

    Args:
        table: the rows.
        docstring: of the script, its help.
        publish: writes the record, from the rows that are finished.
        argv: the command line; by default this process's.
        after: what else is measured once the rows are.
    """
    given = arguments(table, docstring).parse_args(argv)
    torch.set_num_threads(given.threads)
    data = hb.data.load(given.data)
    for name in given.rows:
        if "train" in given.steps:
            train(table, name, data)
        if "measure" in given.steps:
            measure(table, name, data)
    if "measure" in given.steps:
        after(data)
    if "publish" in given.steps:
        publish()


def arguments(table: Table, docstring: str | None) -> argparse.ArgumentParser:
    """The options of a table's script."""
    options = parser(docstring)
    options.add_argument("--data", required=True, help=DATA)
    options.add_argument(
        "--rows",
        nargs="+",
        choices=list(table.entries),
        default=list(table.entries),
        metavar="ROW",
        help="by default all, in this order: " + "; ".join(table.entries).replace("%", "%%"),
    )
    options.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="by default all")
    options.add_argument("--threads", type=int, default=2, help="of torch")
    return options


def write(
    table: Table, script: str, docstring: str | None, summaries: Mapping[str, Any] | None = None
) -> None:
    """Write ``results/SCRIPT.json``: the summaries, then the finished rows.

    Args:
        table: the rows.
        script: the name of the script.
        docstring: its own, for the claim and the command.
        summaries: what is computed from the rows, by name.
    """
    header, results = Header.of(docstring), {**(summaries or {}), "rows": table.rows()}
    record(RESULTS / f"{script}.json", header.claim, results, command=header.command)
