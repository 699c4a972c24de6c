"""The official AutoAttack, behind the one door through which the rest of the house sees it.

    robust_i = no attack of {APGD-CE, APGD-T, FAB-T, Square} fools the network on x_i

Source: F. Croce and M. Hein (2020), arXiv 2003.01690, in the authors' code as packaged in
pyautoattack. Departures: targeted attacks aim at no more classes than there are; with fewer than
four classes, where the targeted difference-of-logits loss does not exist, APGD-T gives way to
APGD-DLR (three classes) or falls out (two).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hauberk.dataset import Examples
from hauberk.evaluation.accuracy import Progress, clean, silent
from hauberk.evaluation.frozen_copy import Sealed, seal
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.threat import Threat
from hauberk.threats import L1, L2, Linf
from hauberk.types import Images

if TYPE_CHECKING:
    from pyautoattack import AutoAttack


@dataclass(frozen=True)
class Verdict:
    """What AutoAttack found.

    Attributes:
        robust: for each example, whether it is correct and withstood every attack.
        warnings: the official code's own doubts, such as points with zero gradient.
    """

    robust: Mask
    warnings: tuple[str, ...]


def autoattack(
    model: nn.Module,
    examples: Examples,
    threat: Threat,
    *,
    seed: int,
    batch_size: int = 500,
    progress: Progress = silent,
) -> Verdict:
    """The standard version on every example that the network classifies correctly.

    Global random state, tracing hooks and log levels are left as they were.

    Args:
        model: to logits (batch, class); it is left untouched.
        examples: on the device of the model.
        threat: `Linf`, `L2` or `L1`.
        seed: of every attack in it.
        batch_size: examples at a time.
        progress: told of batches done, and of how many are still robust, with its interval.

    Raises:
        ValueError: a threat that AutoAttack does not know.
    """
    norm, eps = _known(threat, examples.shape), threat.radius()
    sealed = seal(model)
    robust = clean(sealed, examples, batch_size)
    left = robust.nonzero()[:, 0]
    if len(left) == 0:
        return Verdict(robust, ())
    device = examples.y.device
    held = examples.served(examples.x.device)  # the official code takes its batches to the device
    x, y = _as_maps(held.images(left)), held.y[left.to(held.y.device)]
    with torch.no_grad():
        classes = sealed(examples.images(left[:1])).shape[1]
    count = _Count(len(left), len(examples))
    with _undisturbed(device), _listening(progress, count) as warnings:
        official = _official(_Maps(sealed, examples.shape), norm, eps, classes, seed, device)
        _, y_adv = official.run_standard_evaluation(x, y, batch_size=batch_size)
    robust[left] = (y_adv == y).to(device)
    return Verdict(robust, tuple(dict.fromkeys(warnings)))


def square(
    model: nn.Module,
    examples: Examples,
    threat: Threat,
    *,
    seed: int,
    queries: int = 5000,
    batch_size: int = 500,
    progress: Progress = silent,
) -> Mask:
    """Which examples stay correct under Square alone: random search, no gradient asked.

    Source: Andriushchenko et al. (2020), arXiv 1912.00049, in the official code.

    Args:
        model: to logits (batch, class); it is left untouched.
        examples: on the device of the model.
        threat: `Linf`, `L2` or `L1`, or a union of them.
        seed: of the random search.
        queries: forward passes for each example.
        batch_size: examples at a time.
        progress: told of batches done.
    """
    sealed = seal(model)
    robust = clean(sealed, examples, batch_size)
    for member in threat.parts():
        left = robust.nonzero()[:, 0]
        for start in range(0, len(left), batch_size):
            part = left[start : start + batch_size]
            robust[part] = _unsearched(sealed, examples, part, member, seed, queries)
            progress(start + len(part), len(left), "Square")
    return robust


def _unsearched(
    sealed: Sealed, examples: Examples, part: Tensor, threat: Threat, seed: int, queries: int
) -> Mask:
    """Which of the examples ``part`` withstand Square within one norm's ball."""
    from pyautoattack.square import SquareAttack

    norm, eps = _known(threat, examples.shape), threat.radius()
    maps, x, y = _Maps(sealed, examples.shape), _as_maps(examples.images(part)), examples.y[part]
    with _undisturbed(x.device), torch.no_grad():
        search = SquareAttack(
            maps, norm, queries, eps, seed=seed, resc_schedule=False, device=x.device
        )
        answers: Tensor = maps(search.perturb(x, y)).argmax(1)
    return answers == y


def refusal(threat: Threat, shape: tuple[int, ...]) -> str | None:
    """Why the official code cannot attack inputs of ``shape`` within ``threat``, if it cannot."""
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
    """The official name of the threat's norm: the one place that asks for the type."""
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
    official.attacks_to_run = list(_attacks(classes))
    return official


def _attacks(classes: int) -> Sequence[str]:
    if classes >= 4:
        return "apgd-ce", "apgd-t", "fab-t", "square"
    if classes == 3:
        return "apgd-ce", "apgd-dlr", "fab-t", "square"
    return "apgd-ce", "fab-t", "square"


class _Maps(nn.Module):
    """The network as the official code wants it: inputs are always (channel, height, width)."""

    def __init__(self, model: Sealed, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.model, self.shape = model, shape

    def forward(self, x: Images) -> Tensor:
        logits: Tensor = self.model(x.reshape(-1, *self.shape))
        return logits


def _as_maps(x: Images) -> Images:
    """Images as they are; vectors as one column, sequences as columns of their channels."""
    if x.ndim == 2:
        return x[:, None, :, None]
    return x[..., None] if x.ndim == 3 else x


@contextmanager
def _undisturbed(device: torch.device) -> Iterator[None]:
    """The official code seeds the global generators and drops tracers: put them back."""
    trace = sys.gettrace()
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        sys.settrace(trace)


@dataclass
class _Count:
    """How many of ``total`` examples are still robust."""

    robust: int
    total: int

    def __str__(self) -> str:
        return f"{Proportion(self.robust, self.total)} left"


@contextmanager
def _listening(progress: Progress, count: _Count) -> Iterator[list[str]]:
    """Turns the official log, its only word on progress, into calls and a list of warnings."""
    logger = logging.getLogger("auto-attack")
    warnings: list[str] = []
    ear = _Ear(progress, count, warnings.append)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(ear)
    try:
        yield warnings
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = propagate


class _Ear(logging.Handler):
    """Hears ``apgd-ce - 1/2 - 3 out of 50 successfully perturbed``."""

    def __init__(self, progress: Progress, count: _Count, warn: Callable[[str], Any]) -> None:
        super().__init__()
        self.progress, self.count, self.warn = progress, count, warn

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            # with three classes it doubts a loss that we do not let it use
            if "targeted DLR" not in text:
                self.warn(text.removesuffix(" See flags_doc.md for details."))
            return
        attack, _, rest = text.partition(" - ")
        done, slash, total = rest.partition(" - ")[0].partition("/")
        if slash and done.isdigit() and total.isdigit():
            self.count.robust -= int(rest.partition(" - ")[2].split()[0])
            self.progress(int(done), int(total), f"AutoAttack: {attack}, {self.count}")
