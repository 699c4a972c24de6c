"""One run of ``hauberk compress --task image``: a small network from images to images, measured.

Its folder holds the file, a report of its distances to the dense net, and a sheet of pictures.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from torch import nn

from hauberk.artifact import Architecture
from hauberk.cli.console import bars
from hauberk.cli.pipeline import Given
from hauberk.cli.run_spec import RunSpec
from hauberk.dataset import Data
from hauberk.evaluation import ImageReport, ImageRow, provenance
from hauberk.evaluation.image_distances import IMAGES
from hauberk.evaluation.image_file import evaluate_image_file
from hauberk.evaluation.shipped_file import read
from hauberk.plots import image_sheet
from hauberk.runtime.processes import ALONE, Group, destroy_process_group
from hauberk.verbs.compress import compress, encode

SHEET = "sheet.png"
"""The sheet of pictures in the folder of a run."""


def make_images(spec: RunSpec, group: Group = ALONE) -> ImageReport | None:
    """Slim, evaluate, publish; the report, in the first of the processes.

    Args:
        spec: the run.
        group: the processes that train together; the group is destroyed after training.

    Raises:
        ValueError: a setting makes no sense, the data do not fit, training failed.
        OSError: a file that cannot be read or written.
    """
    given, evaluation = Given.read(spec), spec.measured()
    _refuse_few(given.data)
    with bars() as bar:
        run = replace(spec.run(group, bar), out=spec.out)
        made = compress(
            given.net, given.data, threat=None, method=spec.method, pretrained=True, run=run, out=spec.out
        )
    destroy_process_group()
    if not group.first:
        return None
    assert made.path is not None
    spec.save()
    dense = spec.out / "rows" / "dense.hbk"
    encode(made.dense, given.data, Architecture.of(given.net)).save(dense)

    def row(path: Path, name: str) -> ImageRow:
        with bars(name) as bar:
            return evaluate_image_file(
                read(path, given.own),
                given.data,
                evaluation,
                dense=made.dense,
                name=name,
                device=run.place(),
                progress=bar.seen,
            )

    rows = [row(dense, "dense"), row(made.path, type(spec.method).__name__)]
    image_sheet.draw(made.model, made.dense, given.data.test, spec.out / SHEET)
    command = " ".join(["hauberk", *sys.argv[1:]])
    origin = provenance(
        command=command,
        seed=spec.seed,
        data=given.data.name,
        device=str(run.place()),
        packages=IMAGES,
    )
    report = ImageReport(rows, origin)
    report.save(spec.out)
    return report
