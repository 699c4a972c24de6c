"""One run of ``hauberk compress --task image``: a small network from images to images, measured.

Its folder holds the file, a report of its distances to the dense net, and a sheet of pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from hauberk.artifact import Architecture
from hauberk.artifact.state_dicts import is_plain
from hauberk.cli.console import bars, say
from hauberk.cli.pipeline import Given
from hauberk.cli.run_spec import RunSpec
from hauberk.evaluation import ImageEvaluation, ImageReport, ImageRow, provenance
from hauberk.evaluation.image_file import evaluate_image_file
from hauberk.evaluation.images import check_count
from hauberk.evaluation.provenance import IMAGES
from hauberk.evaluation.shipped_file import Opened, read
from hauberk.parametrize.plain import copied
from hauberk.plots import image_sheet
from hauberk.preparation import shown
from hauberk.runtime.lock import locked
from hauberk.runtime.processes import ALONE, Group, destroy_process_group
from hauberk.verbs.compress import Compressed, compress, shipped
from hauberk.verbs.load import load

SHEET = "sheet.png"
"""The sheet of pictures in the folder of a run."""


def make_images(spec: RunSpec, group: Group = ALONE) -> ImageReport | None:
    """Slim, evaluate, publish; the report, in the first of the processes.

    Args:
        spec: the run.
        group: the processes that train together; the group is destroyed after training.

    Raises:
        ValueError: a setting makes no sense, the data do not fit, training failed.
        OSError: a file that cannot be read or written, or a folder that another run writes into.
    """
    with locked(spec.out, group):
        return _made(spec, group)


def _made(spec: RunSpec, group: Group) -> ImageReport | None:
    """The same, in a folder that is this run's."""
    given, evaluation = Given.read(spec), spec.measured()
    teacher = _teacher(spec, given)
    _rehearse(given, evaluation, teacher or given.net)
    with bars() as bar:
        run = replace(spec.run(group, bar), out=spec.out)
        made = compress(
            given.net,
            given.data,
            threat=None,
            method=spec.method,
            out=spec.out,
            pretrained=given.trained,
            run=run,
        )
    destroy_process_group()
    if not group.first:
        return None
    spec.save()
    made = replace(made, dense=teacher or made.dense)
    assert made.ships is not None
    opened = read(made.ships, given.own)
    rows = list(_rows(spec, given, made, opened, evaluation, run.place()))
    origin = provenance(
        command=" ".join(["hauberk", *sys.argv[1:]]),
        seed=spec.seed,
        data=given.data.name,
        device=str(run.place()),
        packages=IMAGES,
    )
    how = {"images": shown(given.data.resize, given.data.shape)} if given.data.resize else {}
    report = ImageReport(rows, {**origin, **how})
    report.save(spec.out)
    if image_sheet.drawn(given.data.shape):
        image_sheet.draw(opened.shipped, made.dense, given.data.test, spec.out / SHEET)
    else:
        say(f"{SHEET} was left out, because only gray and RGB images are drawn.")
    return report


def _teacher(spec: RunSpec, given: Given) -> nn.Module | None:
    """The network of the teacher's file, whose images are the targets; none if it is the start."""
    teacher = spec.method.distillation.teacher
    if teacher in ("", "self"):
        return None
    return load(teacher, given.own and copied(given.own) if is_plain(teacher) else None)


def _rehearse(given: Given, evaluation: ImageEvaluation, dense: nn.Module) -> None:
    """Evaluate the start on two images, so that what fails after the training fails before it.

    Raises:
        ValueError: a package is missing, too few or too small images, features of other shapes.
    """
    check_count(given.data.test.first(evaluation.limit))
    trial = replace(
        evaluation, limit=min(evaluation.limit or 2, 2), timing=False, resamples=2, cost_size=None
    )
    evaluate_image_file(read(given.net), given.data, trial, dense=dense)


def _rows(
    spec: RunSpec,
    given: Given,
    made: Compressed,
    small: Opened,
    evaluation: ImageEvaluation,
    place: torch.device,
) -> Iterator[ImageRow]:
    """The dense net, which is written too; then the file that ships."""
    dense, named = spec.out / "rows" / "dense.hbk", Architecture.of(made.dense)
    shipped(made.dense, given.data).save(dense)
    opened = {
        "dense": read(dense, None if named else given.own),
        type(spec.method).__name__: small,
    }
    for name, each in opened.items():
        with bars(name) as bar:
            yield evaluate_image_file(
                each,
                given.data,
                evaluation,
                dense=made.dense,
                name=name,
                device=place,
                progress=bar.seen,
            )
