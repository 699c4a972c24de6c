"""Adapter around the authors' AutoAttack implementation.

    robust_i = no attack of {APGD-CE, APGD-T, FAB-T, Square} fools the network on x_i

Source: F. Croce and M. Hein (2020), arXiv 2003.01690, in the authors' code as packaged in
pyautoattack. Departures: targeted attacks aim at no more classes than there are; with fewer than
four classes, where the targeted difference-of-logits loss does not exist, APGD-T is replaced by
APGD-DLR (three classes) or left out (two).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hauberk.evaluation.accuracy import Progress, silent
from hauberk.evaluation.frozen_copy import FrozenCopy
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.subject import Subject
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf
from hauberk.types import Images

if TYPE_CHECKING:
    from pyautoattack import AutoAttack


STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
"""The parts of AutoAttack's standard version, in order."""
_LARGEST = 1e30
"""Infinite logits are given to the official code as this; its losses would be NaN."""


@dataclass(frozen=True)
class Verdict:
    """The result of AutoAttack.

    Attributes:
        robust: for each example, whether it is correct and withstood every attack.
        warnings: of the official code, such as points with zero gradient; and parts that do not
            exist for so few classes.
    """

    robust: Mask
    warnings: tuple[str, ...]


def autoattack(
    subject: Subject, *, parts: Sequence[str] = STANDARD, progress: Progress = silent
) -> Verdict:
    """The standard version on every example that the network classifies correctly.

    Global random state, tracing hooks and log levels are restored.

    Args:
        subject: the classifier, examples, seed and threat: `Linf`, `L2` or `L1`.
        parts: those of `STANDARD` to run.
        progress: called with the batches done, and a note on how many are still robust.

    Raises:
        ValueError: a threat that AutoAttack does not support.
    """
    examples, robust = subject.examples, subject.clean.clone()
    norm, eps = _known(subject.threat, examples.shape), subject.threat.radius()
    left = robust.nonzero()[:, 0]
    if len(left) == 0:
        return Verdict(robust, ())
    device = examples.y.device
    held = examples.served(examples.x.device)  # the official code takes its batches to the device
    x, y = _as_maps(held.images(left)), held.y[left.to(held.y.device)]
    with torch.no_grad():
        classes = subject.model(examples.images(left[:1])).shape[1]
    count, maps = _Count(len(left), len(examples)), _Maps(subject.model, examples.shape)
    with _undisturbed(device), _listening(progress, count) as warnings:
        official = _official(maps, norm, eps, classes, subject.seed, device)
        official.attacks_to_run = _attacks(classes, parts)
        x_adv, _ = official.run_standard_evaluation(x, y, batch_size=subject.batch_size)
    robust[left] = _judged(subject, x_adv.to(device), left)
    return Verdict(robust, tuple(dict.fromkeys([*substituted(classes), *warnings])))


def substituted(classes: int) -> tuple[str, ...]:
    """The sentence on a suite that is not the standard one, where there are too few classes.

    Args:
        classes: of the network.
    """
    if classes >= 4:
        return ()
    instead = "APGD-DLR ran in place of APGD-T" if classes == 3 else "APGD-T did not run"
    return (f"AutoAttack's targeted loss needs four classes, so with {classes} {instead}.",)


def _judged(subject: Subject, maps: Tensor, places: Tensor) -> Mask:
    """The verdict on the points of the official code, a batch at a time."""
    points = maps.reshape(-1, *subject.examples.shape)
    size = subject.batch_size
    starts = range(0, len(places), size)
    return torch.cat(
        [subject.withstands(points[i : i + size], places[i : i + size]) for i in starts]
    )


def square(subject: Subject, *, queries: int = 5000, progress: Progress = silent) -> Mask:
    """A mask of the examples that stay correct under Square alone, a random search by queries.

    Source: Andriushchenko et al. (2020), arXiv 1912.00049, in the official code.

    Args:
        subject: the classifier, examples, seed and threat: `Linf`, `L2`, `L1` or a union of them.
        queries: forward passes for each example.
        progress: called with the examples done.

    Raises:
        ValueError: a threat that the official code does not support.
    """
    robust = subject.clean.clone()
    for threat in subject.threat.parts():
        total = int(robust.sum())
        for start, places in subject.in_batches(robust):
            robust[places] = _withstand_square(subject, places, threat, queries)
            progress(start + len(places), total, "Square")
    return robust


def _withstand_square(subject: Subject, places: Tensor, threat: Threat, queries: int) -> Mask:
    """A mask of the given examples that withstand Square within one norm's ball."""
    from pyautoattack.square import SquareAttack

    examples = subject.examples
    norm, eps = _known(threat, examples.shape), threat.radius()
    maps, y = _Maps(subject.model, examples.shape), examples.y[places]
    x = _as_maps(examples.images(places))
    with _undisturbed(x.device), torch.no_grad():
        search = SquareAttack(
            maps, norm, queries, eps, seed=subject.seed, resc_schedule=False, device=x.device
        )
        found: Tensor = search.perturb(x, y)
    return subject.withstands(found.reshape(-1, *examples.shape), places, threat)


def refusal(threat: Threat, shape: tuple[int, ...]) -> str | None:
    """The reason that the official code cannot attack such inputs; ``None`` if it can."""
    return next((why for part in threat.parts() if (why := _refused(part, shape))), None)


def _refused(threat: Threat, shape: tuple[int, ...]) -> str | None:
    norm = _norm(threat)
    if norm is None:
        return (
            f"AutoAttack was given the threat {threat}: it knows Linf, L2 and L1, "
            "one at a time; evaluate other threats with PGD."
        )
    rows = _as_maps(torch.empty(1, *shape)).shape[2]
    if norm != "Linf" and rows < 5:
        return (
            f"AutoAttack under {norm} was given inputs of shape {shape}: its search needs at least "
            "5 rows; evaluate with PGD."
        )
    return None


def _norm(threat: Threat) -> str | None:
    """The official name of the threat's norm; `None` for a threat that it does not support."""
    official = {Linf: "Linf", L2: "L2", L1: "L1"}
    return next((name for kind, name in official.items() if isinstance(threat, kind)), None)


def _known(threat: Threat, shape: tuple[int, ...]) -> str:
    norm, sentence = _norm(threat), _refused(threat, shape)
    if norm is None or sentence:
        raise ValueError(sentence)
    return norm


def _official(
    model: nn.Module, norm: str, eps: float, classes: int, seed: int, device: torch.device
) -> AutoAttack:
    from pyautoattack import AutoAttack

    official = AutoAttack(model, eps=eps, norm=norm, seed=seed, device=device, version="standard")
    for targeted in (official.apgd_targeted, official.fab):
        targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)
    return official


def _attacks(classes: int, parts: Sequence[str]) -> list[str]:
    """The official names of the parts that exist for so many classes."""
    targeted = {"apgd-t": "apgd-t" if classes >= 4 else "apgd-dlr"}
    return [targeted.get(part, part) for part in parts if classes > 2 or part != "apgd-t"]


class _Maps(nn.Module):
    """The network as the official code expects it: inputs are (channel, height, width)."""

    def __init__(self, model: FrozenCopy, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.shape = model, shape

    def forward(self, x: Images) -> Tensor:
        logits: Tensor = self.model(x.reshape(-1, *self.shape))
        return logits.nan_to_num(nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)


def _as_maps(x: Images) -> Float[Tensor, "batch channel *place"]:
    """Images as they are; vectors as one column, sequences as columns of their channels."""
    if x.ndim == 2:
        return x[:, None, :, None]
    return x[..., None] if x.ndim == 3 else x


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """Restore the global generators and the tracer, which the official code changes."""
    trace = sys.gettrace()
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        sys.settrace(trace)


@dataclass
class _Count:
    """The number of the ``total`` examples that are still robust."""

    robust: int
    total: int

    def __str__(self) -> str:
        return f"{Proportion(self.robust, self.total)} left"


@contextmanager
def _listening(progress: Progress, count: _Count) -> Iterator[list[str]]:
    """Turn the official log, which alone reports progress, into calls and a list of warnings."""
    logger = logging.getLogger("auto-attack")
    warnings: list[str] = []
    reader = _LogReader(progress, count, warnings.append)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(reader)
    try:
        yield warnings
    finally:
        logger.removeHandler(reader)
        logger.setLevel(level)
        logger.propagate = propagate


class _LogReader(logging.Handler):
    """Reads ``apgd-ce - 1/2 - 3 out of 50 successfully perturbed``."""

    def __init__(self, progress: Progress, count: _Count, warn: Callable[[str], Any]) -> None:
        super().__init__()
        self.progress, self.count, self.warn = progress, count, warn

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            # with three classes it warns of a loss that is not used here
            if "targeted DLR" not in text:
                self.warn(text.removesuffix(" See flags_doc.md for details."))
            return
        attack, _, rest = text.partition(" - ")
        done, slash, total = rest.partition(" - ")[0].partition("/")
        if slash and done.isdigit() and total.isdigit():
            self.count.robust -= int(rest.partition(" - ")[2].split()[0])
            self.progress(int(done), int(total), f"AutoAttack: {attack}, {self.count}")
