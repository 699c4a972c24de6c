"""Evaluate anything that classifies: bytes, clean and robust accuracy, latency, masking checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from hauberk.data import Given
from hauberk.data import load as load_data
from hauberk.evaluation import Report, provenance
from hauberk.evaluation.named_attacks import named
from hauberk.evaluation.shipped_file import evaluate_file, read
from hauberk.threat import Threat
from hauberk.training.run import Run
from hauberk.verbs.load import loaded


def evaluate(
    what: str | Path | nn.Module,
    data: Given,
    *,
    threat: Threat,
    attack: str = "strongest",
    model: nn.Module | None = None,
    dense: str | Path | nn.Module | None = None,
    limit: int | None = None,
    restarts: int = 1,
    checks: bool = True,
    draws: int = 0,
    certify: str = "",
    seed: int = 0,
    batch_size: int = 500,
    device: torch.device | str | None = None,
) -> Report:
    """The report of one classifier on the test split; robust accuracy is an empirical upper bound.

    Args:
        what: an ``.hbk``; an ``.onnx`` by any exporter, which ONNX Runtime runs; a ``.c`` that
            `hauberk.export` wrote, which is compiled; plain weights of ``model``; or a module to
            logits (batch, class) for images in [0, 1], which is copied, not changed.
        data: what `hauberk.data.load` takes; its test split is attacked.
        threat: what the adversary may do, for instance ``Linf(8 / 255)``.
        attack: ``strongest``: an example is robust only if nothing fools it, of PGD, the standard
            AutoAttack, approximated gradients, images of eight bits, transfer, a student, Square
            and answers alone; ``autoattack``; for progress ``pgd:STEPS`` or ``fgsm``; or your
            own, ``package.module:Name``. What a check fools counts as lost with each of them.
        model: the module to fill, if the file names no architecture.
        dense: the dense net, as a module or a file, from which attacks are transferred: a check,
            and for an ``.onnx`` also an attack.
        limit: attack only the first so many test examples; all by default.
        restarts: random starts of the attack; an example is robust if it withstands all.
        checks: whether to look for gradient masking, on up to 200 examples.
        draws: judge and attack the mean of so many draws of a network that draws at random; by
            default such a network is refused.
        certify: ``crown`` or ``interval``: also count the examples that keep their class whatever
            the threat allows, by sound bounds; by default none is computed.
        seed: random seed of every random start.
        batch_size: examples at a time.
        device: where to compute; by default CUDA if available, else the CPU.

    Raises:
        ValueError: a damaged file, a graph that is no image classifier, weights or data that do not
            fit, an unknown attack, a missing package, or a network whose answer to an image depends
            on chance, on other images or on earlier calls.
        OSError: a file that cannot be read.
    """
    plan = replace(named(attack).evaluation(threat), limit=limit, check_limit=200 if checks else 0)
    plan = replace(plan, restarts=restarts, draws=draws, certify=certify)
    plan = replace(plan, seed=seed, batch_size=batch_size)
    opened = read(what, model)
    source = None if dense is None else loaded(dense, model)
    data = load_data(data, recorded=opened.photographs)
    place = Run().place() if device is None else torch.device(device)
    row = evaluate_file(opened, data, plan, source=source, device=place)
    command = f'hauberk.evaluate("{row.file}", "{data.name}", threat={threat}, attack="{attack}")'
    origin = provenance(command=command, seed=seed, data=data.name, device=str(place))
    return Report([row], origin)
