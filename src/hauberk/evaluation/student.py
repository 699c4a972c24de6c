"""A student of a classifier: a small network that learns its answers, and has an honest gradient.

min_θ  Σ CE( s_θ(x'), argmax f(x') ),   x' = data, mixtures, noise, adversarial points of s_θ

Only answers are taken from the classifier, so no mask of its gradient or of its logits is learned.
Each round adds the points that fool the student of the round before, with what the classifier says
of them: that is where the two boundaries still differ.

Source: Papernot et al. (2017), arXiv 1602.02697. Departure: their points come from the Jacobian's
sign; here they come from PGD on the student.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attacks import PGD
from hauberk.attacks.losses import cross_entropy
from hauberk.dataset import Examples
from hauberk.evaluation.subject import Subject
from hauberk.ops.random import generator
from hauberk.types import Images, Labels

_POOL, _PIXELS = 2000, 1 << 24
"""Images that a student learns from, and their pixels, at most; but never fewer than a batch."""
_BATCH = 128


def pool_of(examples: Examples) -> Images:
    """The first images, as many as a student learns from.

    Args:
        examples: of any number.
    """
    fit = _PIXELS // max(torch.Size(examples.shape).numel(), 1)
    return examples.first(min(_POOL, max(_BATCH, fit))).images()


class Student:
    """A network in training on the answers of a subject.

    Attributes:
        net: the student.
    """

    def __init__(self, subject: Subject, pool: Images) -> None:
        """An untrained student; convolutions for images, fully connected layers for vectors.

        Args:
            subject: the classifier and the threat.
            pool: images to learn from; labels are not needed.
        """
        self.subject, self.pool = subject, pool[:_POOL]
        self.rng = generator(subject.seed, "student", 0)
        with torch.no_grad():
            classes = subject.model(pool[:1]).shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subject.seed)
            self.net = _network(tuple(pool.shape[1:]), classes).to(pool.device)
        self._x, self._y = [self.pool], [self._answers(self.pool)]
        self._optimizer = torch.optim.Adam(self.net.parameters(), 2e-3)

    def learn(self, steps: int) -> None:
        """One round.

        Args:
            steps: of Adam.
        """
        self._add(self._mixed(), self._noisy(1.0), self._noisy(2.0))
        if len(self._x) > 4:  # an untrained student has no points of its own
            self._add(*(self._fooled(factor) for factor in (1.0, 2.0)))
        x, y = torch.cat(self._x), torch.cat(self._y)
        self.net.train()
        for _ in range(steps):
            at = torch.randint(len(x), (_BATCH,), generator=self.rng)
            loss = F.cross_entropy(self.net(x[at]), y[at])
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
        self.net.eval().zero_grad()

    @torch.no_grad()
    def _answers(self, x: Images) -> Labels:
        size = self.subject.batch_size
        answers: Tensor = torch.cat(
            [self.subject.model(part).argmax(1) for part in torch.split(x, size)]
        )
        return answers

    def _add(self, *several: Images) -> None:
        for x in several:
            self._x.append(x)
            self._y.append(self._answers(x))

    def _mixed(self) -> Images:
        """Points between two images, most of them near one."""
        other = self.pool[torch.randperm(len(self.pool), generator=self.rng)]
        t = torch.rand(len(other), generator=self.rng).to(other.device) * 0.6
        t = t.view(-1, *[1] * (other.ndim - 1))
        return (1 - t) * self.pool + t * other

    def _noisy(self, factor: float) -> Images:
        """Random points of the threat, made larger."""
        part = self.subject.threat.parts()[0].scaled(factor)
        return part.sample(self.pool, self.rng)

    def _fooled(self, factor: float) -> Images:
        """Points that fool the student."""
        threat = self.subject.threat.parts()[0].scaled(factor)
        y = self._y[0]
        parts = [
            PGD(10)(lambda z, y=at: cross_entropy(self.net(z), y), x, threat, self.rng)  # type: ignore[misc]
            for x, at in zip(torch.split(self.pool, 500), torch.split(y, 500), strict=True)
        ]
        return torch.cat(parts)


def _network(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A student for inputs of this shape."""
    if len(shape) != 3 or min(shape[1:]) < 4:
        size = torch.Size(shape).numel()
        return nn.Sequential(
            nn.Flatten(), nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, classes),
        )  # fmt: skip
    stride = max(1, round(min(shape[1:]) / 16))
    body = nn.Sequential(
        nn.Conv2d(shape[0], 32, 2 * stride + 1, stride, stride), nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(),
    )  # fmt: skip
    width = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(*body, nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, classes))
