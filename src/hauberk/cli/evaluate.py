"""``hauberk evaluate``: the report of one file, of a classifier or of an image-to-image network."""

from __future__ import annotations

from torch import nn

from hauberk.cli.commands import Evaluate
from hauberk.cli.console import bars, say
from hauberk.cli.resolve import place
from hauberk.cli.settings import network
from hauberk.evaluation import ImageReport, Report
from hauberk.evaluation.image_file import evaluate_image_file
from hauberk.evaluation.shipped_file import Opened, evaluate_file, read
from hauberk.plots import image_sheet
from hauberk.plots.tiles import check_path
from hauberk.runtime.processes import ALONE
from hauberk.verbs.load import loaded


def evaluate(spec: Evaluate) -> Report | ImageReport:
    """The report, of one row.

    Args:
        spec: the settings of the command.

    Raises:
        ValueError: a file, data or settings that cannot be used.
        OSError: a file that cannot be read or written.
    """
    own = network(spec.model, spec.seed, spec.mean, spec.std)
    opened = read(spec.file, own)  # a bad file is named before the data are read
    dense = loaded(spec.dense, own) if spec.dense else None
    if dense is not None and spec.task == "image":
        return _images(spec, opened, dense)
    return _classes(spec, opened, dense)


def _classes(spec: Evaluate, opened: Opened, source: nn.Module | None) -> Report:
    assert spec.threat is not None
    evaluation = spec.evaluation.evaluation(
        spec.threat,
        spec.seed,
        restarts=spec.restarts,
        checks=spec.checks,
        draws=spec.draws,
        certify=spec.certify,
    )
    data, device = spec.data.read(recorded=opened.photographs), place(spec.device, ALONE)
    with bars(spec.file.name) as bar:
        row = evaluate_file(
            opened, data, evaluation, source=source, device=device, progress=bar.seen
        )
    return Report([row])


def _images(spec: Evaluate, opened: Opened, dense: nn.Module) -> ImageReport:
    picture = spec.images.picture
    if picture is not None:
        check_path(picture)
    evaluation = spec.images.evaluation(spec.seed, spec.evaluation.limit)
    data = spec.data.read(labelled=False, recorded=opened.photographs)
    if picture is not None and not image_sheet.drawn(data.shape):
        raise ValueError(
            f"Images of {data.shape[0]} channels cannot be drawn; leave out --picture."
        )
    device = place(spec.device, ALONE)
    with bars(spec.file.name) as bar:
        row = evaluate_image_file(
            opened, data, evaluation, dense=dense, device=device, progress=bar.seen
        )
    if picture is not None:
        image_sheet.draw(opened.shipped, dense, data.test, picture)
        say(f"{picture} shows the first images.")
    return ImageReport([row])
