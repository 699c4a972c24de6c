"""The library in a few verbs: compress, load, evaluate."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hauberk import files, models
from hauberk.artifact import (
    About,
    Architecture,
    Artifact,
    OnnxFile,
    dense_bytes,
    fill_plain,
    slim,
)
from hauberk.artifact.plain import ENDINGS
from hauberk.data import Given
from hauberk.data import load as load_data
from hauberk.loop import follow
from hauberk.methods import ATMC, Method
from hauberk.methods.prices import round_half
from hauberk.objectives import Teacher
from hauberk.parametrize import state
from hauberk.solve import Run, Stage
from hauberk.threat import Threat
from hauberk.types import Data

FILE = "model.hbk"
PLAIN = ENDINGS
"""Endings of plain weights, which `start` reads."""
SAMPLE = 512
"""Training examples that a method may look at between its stages."""
_CALIBRATION = 1000
"""Training images by which the ranges of eight-bit activations are chosen."""


@dataclass(frozen=True)
class Compressed:
    """What a method made of a network.

    Attributes:
        artifact: the file that ships, in memory.
        model: the network decoded from it: ordinary torch layers, eval mode.
        dense: the trained network that the compression started from.
        path: where the file was written, if a folder was given.
        history: one row per epoch.
    """

    artifact: Artifact
    model: nn.Module
    dense: nn.Module
    path: Path | None
    history: list[dict[str, Any]]


def compress(
    model: nn.Module,
    data: Given,
    *,
    method: Method | None = None,
    threat: Threat,
    out: str | Path | None = None,
    pretrained: bool = False,
    run: Run | None = None,
) -> Compressed:
    """``min_w E max_{x' ∈ Δ(x)} loss  s.t.  w ∈ C_1 ∩ C_2 ∩ …``, down to the file that ships.

    Args:
        model: the network to compress; it is copied, not changed.
        data: whatever `hauberk.data.load` takes: `Data`, a name, a path, a torch `Dataset`, ….
        method: which paper, with its settings; `ATMC` if left out.
        threat: what the adversary may do, for instance ``Linf(8 / 255)``.
        out: folder for the file, checkpoints and logs; nothing is written without it.
        pretrained: the model is trained already: leave the dense stage out.
        run: seed, device, precision, resumption; ``out`` stands in for its folder.

    Raises:
        ValueError: the data do not fit the model, a setting makes no sense, training failed.
        OSError: the folder cannot be written.
    """
    data, method = load_data(data), method or ATMC()
    run = replace(run or Run(), out=Path(out) if out else None)
    check_fit(model, data)
    if method.teacher == "self" and not pretrained and not any(method.dense(threat)):
        raise ValueError(
            f"teacher was given as self to {type(method).__name__}, whose network is not trained "
            "before it starts; give the file of a trained one, or start from one (--from)."
        )
    teacher = _teacher(method.teacher, model, data, run.place())
    if teacher:
        run = replace(run, identity=f"{run.identity} teacher={teacher.digest()}")
    if method.slim:
        _rehearse_slim(model, data)
    if run.folder:
        files.ready(run.folder)
    course = _Course(method, threat, data, copy.deepcopy(model), copy.deepcopy(model).cpu())
    history = follow(course.legs(pretrained, teacher, run), course.working, data, run)
    artifact = course.shipped(Architecture.of(model))
    path = run.out / FILE if run.out else None
    if path and run.group.first:
        artifact.save(path)
    run.group.wait()
    net = artifact.fill(copy.deepcopy(course.dense))
    return Compressed(artifact, net, course.dense.eval(), path, history)


@dataclass(frozen=True)
class _Course:
    """From the network that was given to the file that ships.

    Attributes:
        method: which says the legs.
        threat: what the adversary may do.
        data: trained on.
        working: the network under way, changed in place.
        dense: a copy, to become the trained network that the compression starts from.
    """

    method: Method
    threat: Threat
    data: Data
    working: nn.Module
    dense: nn.Module

    def legs(self, pretrained: bool, teacher: Teacher | None, run: Run) -> Iterator[Stage]:
        """The dense training, where it is wanted; then the method's own stages, taught or not."""
        if not pretrained:
            if not run.resume:  # what cannot be is said at once
                next(self._own(copy.deepcopy(self.working)), None)
            yield from self.method.dense(self.threat)
            self.dense.load_state_dict(self.working.state_dict())
        stages = self._own(self.working)
        if self.method.teacher:  # self is copied now: the first stage may change the network
            stages = self.method.taught(stages, teacher or Teacher(self.working, run.place()))
        yield from stages

    def _own(self, model: nn.Module) -> Iterator[Stage]:
        sample = replace(
            self.data.train.first(SAMPLE),
            names=self.data.labels,
            classes=self.data.classes,
            held_out=self.data.validation,
        )
        return self.method.stages(model, self.threat, sample)

    def shipped(self, named: Architecture | None) -> Artifact:
        """What was trained, as a file.

        What leaves with dead channels is folded into biases, which are rounded after that.
        """
        net, slimmed = self.working, self.method.slim
        if slimmed:
            net = slim(net, torch.zeros(1, *self.data.shape))
        if self.method.half:
            round_half(net)
        whole = dense_bytes(self.dense.state_dict()) if slimmed else None
        return encode(net, self.data, named, whole)


def encode(
    model: nn.Module, data: Data, named: Architecture | None, whole: int | None = None
) -> Artifact:
    """The file of ``model``, for inputs and classes like those of ``data``.

    ``whole`` is the dense net's bytes in float32, where ``model`` is a slim form of it.
    """
    return Artifact.encode(
        state(model),
        architecture=named,
        input_shape=data.shape,
        classes=data.classes,
        dense_bytes=whole,
        labels=data.labels,
    )


def _teacher(named: str, model: nn.Module, data: Data, place: torch.device) -> Teacher | None:
    """The network in a teacher's file; none for ``self``, which is still to come."""
    if named in ("", "self"):
        return None
    path, own = Path(named), copy.deepcopy(model)
    if path.suffix.lower() in PLAIN:
        net = fill_plain(own, path)
    else:
        artifact = Artifact.load(path)
        if data.labels and artifact.labels and data.labels != artifact.labels:
            raise ValueError(
                f"The teacher {path} knows other classes than {data.name}, or in another order; "
                "give a teacher of the same classes."
            )
        net = module(artifact, path, None if artifact.architecture else own)
    if check_fit(net, data, "teacher") != check_fit(model, data):
        raise ValueError(
            f"The teacher {path} and the network have different numbers of outputs; give a teacher "
            "of the same classes."
        )
    return Teacher(net, place)


@torch.no_grad()
def _rehearse_slim(model: nn.Module, data: Data) -> None:
    """Refuse, before the training and not after it, a model that cannot lose filters."""
    trial = copy.deepcopy(model)
    for weight in (p for p in trial.parameters() if p.ndim > 1):
        weight[0] = 0.0
    slim(trial, torch.zeros(1, *data.shape), exact=False)


def start(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The trained network that a compression starts from.

    Args:
        path: an ``.hbk`` file, or plain weights for ``model``: ``.safetensors``, or a state_dict in
            a ``.pt`` or ``.pth``, which is read without unpickling.
        model: a module to fill, in place; an ``.hbk`` that names its architecture needs none.

    Raises:
        ValueError: a damaged or foreign file, or a module that does not match it.
        OSError: a file that cannot be read.
    """
    if Path(path).suffix.lower() not in PLAIN:
        return load(path, model)
    if model is None:
        raise ValueError(f"{path} holds plain weights; name the network that they are of (model).")
    return fill_plain(model, path)


def load(path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in a file: ordinary torch layers, eval mode, on the CPU.

    Args:
        path: an ``.hbk`` file.
        model: a module to fill; without it the architecture named in the file is built.

    Raises:
        ValueError: a damaged or foreign file, or a module that does not match it.
        OSError: a file that cannot be read.
    """
    return module(Artifact.load(Path(path)), path, model)


def export_onnx(
    path: str | Path, out: str | Path | None = None, model: nn.Module | None = None
) -> OnnxFile:
    """Write the network in a file as ONNX: ``max |f_onnx − f_torch| ≤ 1e-5 max |f_torch|``.

    Any batch size, weights inside, standard operators only. Codebooks and pruned weights stay small
    in the file and become dense float32 weights, to the bit, when a runtime loads it. It is checked
    in ONNX Runtime before it is written; needs ``pip install 'hauberk[onnx]'``.

    Args:
        path: an ``.hbk`` file.
        out: where to write, a path that ends in ``.onnx``; by default beside ``path``, under the
            same name.
        model: a module to fill; without it the architecture named in the file is built.

    Raises:
        ValueError: a damaged or foreign file, a missing package, or a network that cannot be
            exported.
        OSError: a file that cannot be read or written.
    """
    target = _onnx_target(path, out, "")
    artifact = Artifact.load(path)
    file = OnnxFile.encode(artifact, _exportable(artifact, path, model))
    file.save(target)
    return file


def export_onnx_int8(
    path: str | Path,
    data: Given,
    out: str | Path | None = None,
    model: nn.Module | None = None,
) -> OnnxFile:
    """Write the network in a file as ONNX that computes in eight bits.

    Weights by output channel, activations in ranges seen on the first 1,000 training images. ONNX
    Runtime must agree with the graph in torch before it is written: logits to one step of eight
    bits, the same answer on 99.9% of those images. Rounding changes what the network answers:
    evaluate the written file.

    Args:
        path: an ``.hbk`` file.
        data: the data that the network was trained on, or what `hauberk.data.load` knows.
        out: where to write, a path that ends in ``.onnx``; by default beside ``path``, as
            ``model-int8.onnx`` for ``model.hbk``.
        model: a module to fill; without it the architecture named in the file is built.

    Raises:
        ValueError: a damaged or foreign file, a missing package, data that do not fit, or a network
            that cannot be exported.
        OSError: a file that cannot be read or written.
    """
    target = _onnx_target(path, out, "-int8")
    artifact = Artifact.load(path)
    net = _exportable(artifact, path, model)
    data = load_data(data)
    images = data.train.first(_CALIBRATION).images().cpu()
    file = OnnxFile.encode_int8(artifact, net, images)
    file.save(target)
    return file


def _onnx_target(path: str | Path, out: str | Path | None, ending: str) -> Path:
    source = Path(path)
    target = Path(out) if out else source.with_name(f"{source.stem}{ending}.onnx")
    if target.suffix.lower() != ".onnx":
        raise ValueError(f"The file to write was given as {target}; give a path ending in .onnx.")
    return target


def _exportable(artifact: Artifact, path: str | Path, model: nn.Module | None) -> nn.Module:
    if artifact.architecture is None and model is None:
        raise ValueError(
            f"{path} names no architecture, for it was made from a module of its user's own; "
            "name that (--model package.module:function), or give it: "
            "hauberk.export_onnx(path, model=MyNet())."
        )
    return module(artifact, path, model)


def module(artifact: Artifact, path: str | Path, model: nn.Module | None = None) -> nn.Module:
    """The network in an artifact; ``path`` is named in errors."""
    return artifact.fill(blank(artifact.about, path) if model is None else model)


def blank(about: About, path: str | Path) -> nn.Module:
    """The network that a file names, at its full size and with weights of its own."""
    if about.architecture is None:
        raise ValueError(
            f"{path} names no architecture, for it was made from a module of its user's own; "
            "name that (--model package.module:function), or give it: "
            "hauberk.load(path, model=MyNet())."
        )
    named = about.architecture
    return models.build_named(named.name, _whole(named.arguments, path))


def _whole(arguments: Mapping[str, int | float | str], path: str | Path) -> dict[str, int]:
    whole = {name: value for name, value in arguments.items() if isinstance(value, int)}
    if len(whole) < len(arguments):
        raise ValueError(f"{path} names a network with arguments that no known network takes.")
    return whole


def check_fit(model: nn.Module, data: Data, who: str = "model") -> int:
    """How many outputs the model has; data whose shape or classes it cannot take are refused.

    Args:
        model: that is tried.
        data: for which.
        who: it is, in the sentence.

    Raises:
        ValueError: it does not fit.
    """
    example = torch.zeros(2, *data.shape)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    trial = copy.deepcopy(model).eval()
    try:
        with torch.no_grad():
            logits = trial(example.to(device))
    except RuntimeError as error:
        shape = " × ".join(map(str, data.shape))
        why = str(error).splitlines()[0]
        raise ValueError(
            f"The {who} cannot take the images of {data.name}, which are {shape} ({why}); "
            f"give a {who} for this shape, or other data."
        ) from error
    if logits.ndim != 2 or logits.shape[1] < data.classes:
        raise ValueError(
            f"The {who} gives outputs of shape {tuple(logits.shape[1:])} and {data.name} has "
            f"{data.classes} classes; give a {who} with at least one output per class."
        )
    return int(logits.shape[1])
