"""Compress a network: train it under constraints, down to the file that ships."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hauberk.allocation.costs import round_half
from hauberk.allocation.forms import form_of
from hauberk.artifact import Architecture, Artifact, dense_bytes, fill_plain
from hauberk.artifact.state_dicts import is_plain
from hauberk.data import Given
from hauberk.data import load as load_data
from hauberk.dataset import Data
from hauberk.method import Compression, Method
from hauberk.methods import ATMC
from hauberk.networks import check_fit, module, needs_model
from hauberk.objectives import Teacher
from hauberk.parametrize import dense_line, dense_parts, matrices, state
from hauberk.preparation import Preparation
from hauberk.printable import span
from hauberk.recipe import FileSettings
from hauberk.recipe.packaging import HBK
from hauberk.runtime import files
from hauberk.runtime.lock import locked
from hauberk.runtime.notes import note
from hauberk.runtime.progress import tell
from hauberk.slimming.slim import slim
from hauberk.threat import Threat
from hauberk.threats import NoThreat
from hauberk.threats.reach import check_reach
from hauberk.training.loop import follow
from hauberk.training.run import Run, TrainingFailed
from hauberk.training.stage import Stage
from hauberk.verbs.duration import WORTH_SAYING, estimate
from hauberk.verbs.export import export
from hauberk.verbs.rehearsal import rehearse_imitation, rehearsed
from hauberk.verbs.run_inputs import TEACHER, merged, run_inputs
from hauberk.verbs.start import StartingPoint

FILE = "model.hbk"
SAMPLE = 512
"""Training examples that a method may use between its stages."""


@dataclass(frozen=True)
class Compressed:
    """A trained or compressed network and its file.

    Attributes:
        artifact: the file that ships, in memory.
        model: the network decoded from it: ordinary torch layers, eval mode.
        dense: the trained network that the compression started from.
        path: where the file was written, if a folder was given.
        history: one row per epoch.
        ships: the file that ships: the same, or its export (``Packaging(ship="onnx-int8")``).
    """

    artifact: Artifact
    model: nn.Module
    dense: nn.Module
    path: Path | None
    history: list[dict[str, Any]]
    ships: Path | None = None


def compress(
    model: nn.Module,
    data: Given,
    *,
    threat: Threat | None,
    method: Method | None = None,
    out: str | Path | None = None,
    pretrained: bool = False,
    run: Run | None = None,
) -> Compressed:
    """``min_w E max_{x' ∈ Δ(x)} loss  s.t.  w ∈ C_1 ∩ C_2 ∩ …``, down to the file that ships.

    Args:
        model: the network to compress; it is copied, not changed.
        data: what `hauberk.data.load` takes: `Data`, a name, a path, a torch `Dataset`, ….
        threat: what the adversary may do, for instance ``Linf(8 / 255)``; ``None`` trains without
            one.
        method: which paper, with its settings; `ATMC` by default.
        out: folder for the file, checkpoints and logs; nothing is written without it.
        pretrained: whether the model is trained already; no dense net is then trained first.
        run: seed, device, precision, resumption; ``out`` replaces its folder.

    Raises:
        ValueError: data that do not fit the model, a model that cannot be trained or written (see
            `hauberk.verbs.rehearsal`), invalid settings, or a failed training.
        OSError: the folder cannot be written, or another run writes into it.
    """
    data, method, threat = load_data(data), method or ATMC(), threat or NoThreat()
    run = replace(run or Run(), out=Path(out) if out else None)
    _check_labels(method, data, pretrained)
    check_reach(threat, data.shape, data.name)
    rows = min(method.optimisation.batch_size, len(data.train))
    given = model
    model = rehearsed(model, data, not isinstance(threat, NoThreat), rows)
    if method.distillation.teacher == "self" and not pretrained and not any(method.dense(threat)):
        raise ValueError(
            f"teacher was given as self to {type(method).__name__}, whose network is not trained "
            "before it starts; give the file of a trained one, or start from one (--from)."
        )
    teacher = _teacher(method.distillation.teacher, model, data, run.place())
    if run.out:
        taught = {TEACHER: teacher.digest()} if teacher else {}
        made_of = run_inputs(given, data, pretrained) | taught
        run = replace(run, inputs=merged(run.inputs, made_of))
    if not data.classes and not run.resume:
        rehearse_imitation(method, model, data)
    if method.packaging.slim:
        _rehearse_slim(model, data)
    if method.packaging.ship != HBK:
        _rehearse_export(model, data, method.packaging)
    if isinstance(method, Compression):
        _note_dense(model)
    if run.group.first and not run.resume:
        attacked = not (isinstance(threat, NoThreat) or method.training_loss.natural)
        took = estimate(model, data, method, attacked, pretrained, run.place())
        if took > WORTH_SAYING:
            run.watcher.note(f"The training takes about {span(took)}.")
    with locked(run.out, run.group):
        return _made(model, data, threat, method, teacher, pretrained, run)


def _made(
    model: nn.Module,
    data: Data,
    threat: Threat,
    method: Method,
    teacher: Teacher | None,
    pretrained: bool,
    run: Run,
) -> Compressed:
    """The stages, and the file, in a folder that is this run's."""
    if run.folder:
        files.ready(run.folder)
    if pretrained and not run.resume:
        _say_start(model, data, threat, method, run)
    working, dense = (method.network(copy.deepcopy(model)) for _ in range(2))
    course = _Course(method, threat, data, working, dense.cpu())
    history = follow(course.stages(pretrained, teacher, run), working, data, run)
    artifact = course.shipped(Architecture.of(working))
    net = module(artifact, FILE, copy.deepcopy(model).cpu())
    if artifact.about.architecture is None:
        artifact = artifact.answered(net)
    path = run.out / FILE if run.out else None
    ships = path
    if path and run.group.first:
        artifact.save(path)
        ships = _exported(artifact, path, data, model, method)
    run.group.barrier()
    return Compressed(artifact, net, course.dense.eval(), path, history, ships)


def _exported(artifact: Artifact, path: Path, data: Data, model: nn.Module, method: Method) -> Path:
    """The file that ships, written next to the ``.hbk`` and checked against the method's target."""
    file, ship = path, method.packaging.ship
    if ship != HBK:
        tell(f"writing {ship}")
        own = copy.deepcopy(model).cpu() if needs_model(artifact.about) else None
        file = export(path, ship, data=data, model=own).file
    fault = method.complaint(file.stat().st_size, artifact.dense_bytes)
    if fault:
        raise TrainingFailed(fault)
    return file


@dataclass(frozen=True)
class _Course:
    """The stages from the user's network to the file that ships.

    Attributes:
        method: yields the stages.
        threat: what the adversary may do.
        data: the training data.
        working: the network that is trained, in place.
        dense: a copy, which becomes the trained network that the compression starts from.
    """

    method: Method
    threat: Threat
    data: Data
    working: nn.Module
    dense: nn.Module

    def stages(self, pretrained: bool, teacher: Teacher | None, run: Run) -> Iterator[Stage]:
        """The dense training, unless pretrained; then the method's stages, distilled or not."""
        if not pretrained:
            if not run.resume:  # fail early: the method's own checks run before the dense training
                next(self._own(copy.deepcopy(self.working)), None)
            yield from self.method.dense(self.threat)
            self.dense.load_state_dict(self.working.state_dict())
        stages = self._own(self.working)
        if self.method.distillation.teacher:
            # self is copied now: the first stage may change the network
            stages = self.method.distilled(stages, teacher or Teacher(self.working, run.place()))
        yield from stages

    def _own(self, model: nn.Module) -> Iterator[Stage]:
        sample = replace(
            self.data.train.first(SAMPLE),
            names=self.data.labels,
            classes=self.data.classes,
            resize=self.data.resize,
            held_out=self.data.validation,
        )
        return self.method.stages(model, self.threat, sample)

    def shipped(self, named: Architecture | None) -> Artifact:
        """The trained network as a file.

        Dead channels are folded into biases first; the biases are then rounded.
        """
        net, slimmed = self.working, self.method.packaging.slim
        if slimmed:
            net = slim(net, torch.zeros(1, *self.data.shape))
        if self.method.packaging.float16:
            round_half(net)
        whole = dense_bytes(self.dense.state_dict()) if slimmed else None
        return encode(net, self.data, named, whole)


def _say_start(model: nn.Module, data: Data, threat: Threat, method: Method, run: Run) -> None:
    """Report how robust the trained weights are; a note if they surely are not."""
    attacked = not (isinstance(threat, NoThreat) or method.training_loss.natural)
    if not attacked or not data.classes or not len(data.validation) or not run.group.first:
        return
    found = StartingPoint.of(copy.deepcopy(model), data, threat, run.place())
    line = found.line(isinstance(method, Compression))
    if found.natural:
        note(line)
    else:
        run.watcher.note(line)


def encode(
    model: nn.Module, data: Data, named: Architecture | None, whole: int | None = None
) -> Artifact:
    """The file of a network.

    Args:
        model: the network.
        data: whose input shape, classes and class names the file states.
        named: how the network is built again; ``None`` for a user's own module.
        whole: bytes of the dense net in float32, if ``model`` is a slim form of it.

    Raises:
        ValueError: weights that no file can hold, such as NaN.
    """
    return Artifact.encode(
        state(model),
        architecture=named,
        input_shape=data.shape,
        classes=data.classes,
        dense_bytes=whole,
        labels=data.labels,
        preparation=Preparation.of(model, data.resize),
    )


def shipped(net: nn.Module, data: Data) -> Artifact:
    """The file of a network of plain layers, in eval mode, with its answer if it is a user's own.

    Raises:
        ValueError: weights that no file can hold, such as NaN.
    """
    named = Architecture.of(net)
    artifact = encode(net, data, named)
    return artifact if named else artifact.answered(net)


def _check_labels(method: Method, data: Data, pretrained: bool) -> None:
    """Raise a ValueError if a training would need labels that the data do not have."""
    if data.classes:
        return
    if method.needs_labels:
        raise ValueError(
            f"{type(method).__name__} learns from labels, and {data.name} has none; give data with "
            "labels, or GANSlimming, which slims a network from images to images."
        )
    if not pretrained and method.distillation.teacher in ("", "self"):
        raise ValueError(
            f"{data.name} has no labels, so the network cannot be trained on it first; give a "
            "trained one (--from, in Python pretrained=True), or a teacher's file to imitate."
        )


def _teacher(named: str, model: nn.Module, data: Data, place: torch.device) -> Teacher | None:
    """The network in a teacher's file; ``None`` for ``self``, which is not trained yet."""
    if named in ("", "self"):
        return None
    path, own = Path(named), copy.deepcopy(model)
    if is_plain(path):
        net = fill_plain(own, path)
    else:
        artifact = Artifact.load(path)
        if data.labels and artifact.about.labels and data.labels != artifact.about.labels:
            raise ValueError(
                f"The teacher {path} knows other classes than {data.name}, or in another order; "
                "give a teacher of the same classes."
            )
        moved = data.under(artifact.about.labels, artifact.about.classes) if data.classes else data
        if not torch.equal(moved.test.y, data.test.y):
            raise ValueError(
                f"The teacher {path} knows the classes of {data.name} in another order; give a "
                "teacher that was trained on data with the same class names."
            )
        net = module(artifact, path, own if needs_model(artifact.about) else None)
    if check_fit(net, data, "teacher") != check_fit(model, data):
        raise ValueError(
            f"The teacher {path} and the network have different numbers of outputs; give a teacher "
            "of the same classes."
        )
    return Teacher(net, place)


def _note_dense(model: nn.Module) -> None:
    """Note what no method compresses; frozen weights have a note of their own."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    parts = dense_parts(model, matrices(model))
    line = dense_line({name: part for name, part in parts.items() if name not in frozen})
    if line:
        note(f"These stay dense, with their fraction of the dense bytes: {line}.")


@torch.no_grad()
def _rehearse_slim(model: nn.Module, data: Data) -> None:
    """Fail before the training, not after it, if the model cannot lose filters."""
    trial = copy.deepcopy(model)
    for weight in (p for p in trial.parameters() if p.ndim > 1):
        weight[0] = 0.0
    slim(trial, torch.zeros(1, *data.shape), exact=False)


def _rehearse_export(model: nn.Module, data: Data, packaging: FileSettings) -> None:
    """Fail before the training if the model cannot be written in the format that ships."""
    trial = copy.deepcopy(model).eval()
    form = form_of(packaging, 8)
    form.nbytes(encode(trial, data, Architecture.of(trial)), trial, data.train.first(2))
