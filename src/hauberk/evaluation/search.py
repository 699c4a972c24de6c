"""The search for adversarial examples: many attacks, each on what all earlier ones left.

    robust ← robust ∧ [ attack a fails ],   a = white-box, transferred, by scores, by labels

An attack beyond the white-box ones is tried on the first fifty examples that are left, with a small
budget. If it fools one of them, it goes on with all examples and its whole budget: an honest net
costs little, and a mask costs what it takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from hauberk.attacks import PGD
from hauberk.evaluation.accuracy import Progress, silent, transferred, under_attack
from hauberk.evaluation.autoattack import autoattack, refusal, square
from hauberk.evaluation.bypass import Bypass
from hauberk.evaluation.decision import Decision
from hauberk.evaluation.eight_bits import on_grid, ways_to_ask
from hauberk.evaluation.proportion import Mask
from hauberk.evaluation.student import Student, pool_of
from hauberk.evaluation.subject import Subject
from hauberk.evaluation.trials import Trials
from hauberk.runtime.packages import gist
from hauberk.types import Images

Attempt = Callable[[Subject], Mask]
"""From a subject to the examples that withstand, of those that its mask ``clean`` marks."""


@dataclass(frozen=True)
class Effort:
    """How much a search may cost.

    Attributes:
        steps: of PGD.
        bypass: steps of the attacks with an approximated backward pass, or a student's.
        probe: examples that an attack beyond the white-box ones starts with.
        small: queries of Square for each of these.
        queries: of Square for each example, once it has fooled one.
        rounds: of the student.
        learning: its steps of Adam in each round.
        walk: steps along the boundary of the attack by answers.
        flips: blocks of pixels that it reverses.
    """

    steps: int = 100
    bypass: int = 20
    probe: int = 50
    small: int = 500
    queries: int = 1000
    rounds: int = 3
    learning: int = 250
    walk: int = 12
    flips: int = 1500


USUAL = Effort()
_BYPASSES = (
    Bypass(first=True),
    Bypass(),
    Bypass(first=True, comparisons=True, direct=True),
    Bypass(own=True, samples=8, targets=0),
)
"""Attacks with an approximated backward pass, the likeliest to succeed first."""
_AT_LEVELS = (Bypass(first=True, eight_bits=True), Bypass(own=True, eight_bits=True))
"""The same at images of eight bits."""
BEYOND = ("bypass", "eight_bits", "transfer", "student", "square", "decision")
"""The attacks that should find little on a network whose own gradient is of use."""


class Search:
    """Attacks on a subject, one after the other.

    Attributes:
        subject: the classifier, examples, threat and seed.
        trials: what was fooled, and by which attack.
        white_box: mask of the examples that the white-box attacks left; ``None`` before they ran.
        skipped: by attack, why it did not run.
        warnings: of AutoAttack.
        taught: a network with an honest gradient: the last student.
        asked: the subject, in the ways in which attacks by answers ask it.
    """

    def __init__(
        self,
        subject: Subject,
        trials: Trials | None = None,
        *,
        source: nn.Module | None = None,
        pool: Images | None = None,
        effort: Effort | None = None,
        autoattack: bool = False,
        gradient: bool = True,
        progress: Progress = silent,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            subject: the classifier, examples, threat and seed.
            trials: of earlier attacks, which the search goes on with.
            source: the net from which examples are transferred, such as the dense one.
            pool: images that a student may learn from; by default the subject's.
            effort: budgets; by default `USUAL`.
            autoattack: whether the standard AutoAttack runs, too, all of it.
            gradient: whether the classifier has a gradient.
            progress: called with the attacks done.
        """
        self.subject, self.trials = subject, trials or Trials(subject.clean)
        self.source, self.effort, self.gradient = source, effort or USUAL, gradient
        self.autoattack, self.progress = autoattack, progress
        self.pool = pool_of(subject.examples) if pool is None else pool
        self.white_box: Mask | None = None
        self.skipped: dict[str, str] = {}
        self.warnings: dict[str, None] = {}
        self.taught: nn.Module | None = source
        self.asked = ways_to_ask(subject)

    def run(self) -> None:
        """Try every attack."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("white-box attacks", self._white_box),
            ("approximated gradients", self._bypass),
            ("images of eight bits", self._eight_bits),
            ("transfer", self._transfer),
            ("a student", self._student),
            ("Square", self._square),
            ("answers alone", self._decision),
        ]
        for done, (name, step) in enumerate(steps):
            self.progress(done, len(steps), f"{name}, {int(self.left.sum())} left")
            step()
        self.progress(len(steps), len(steps), f"{int(self.left.sum())} left")

    def black_box(self) -> None:
        """Try the attacks that need nothing but the answers."""
        self._transfer()
        self._square()

    @property
    def left(self) -> Mask:
        """The examples of the subject that are still robust."""
        return self.trials.robust[: len(self.subject.examples)]

    def _white_box(self) -> None:
        if self.gradient:
            steps = self.effort.steps
            self._all(f"pgd:{steps}", lambda s: under_attack(s, PGD(steps, track=True)))
            if self.autoattack:
                self._official()
        self.white_box = self.left.clone()

    def _official(self) -> None:
        """The standard AutoAttack on the examples that are left, in each member of a union."""
        name = "autoattack"
        if why := refusal(self.subject.threat, self.subject.examples.shape):
            self.skipped[name] = why
            self.warnings[f"AutoAttack did not run. {why}"] = None
            return
        for threat in self.subject.threat.parts():
            verdict = autoattack(self.subject.within(threat).only(self.left.clone()))
            self.trials.add(name, verdict.robust)
            self.warnings.update(dict.fromkeys(verdict.warnings))

    def _transfer(self) -> None:
        source = self.source
        if source is None:
            self.skipped["transfer"] = "It needs the dense net (--dense)."
        else:
            self._all("transfer", lambda subject: transferred(subject, source))

    def _bypass(self) -> None:
        """White-box attacks with an approximated backward pass."""
        self._approximated("bypass", _BYPASSES, self.subject)

    def _eight_bits(self) -> None:
        """The same where the network is asked at images of eight bits alone."""
        grid = on_grid(self.subject)
        if grid is None:
            self.skipped["eight_bits"] = "The examples, or the threat, hold none."
        else:
            self._approximated("eight_bits", _AT_LEVELS, replace(grid, model=self.subject.model))

    def _approximated(self, name: str, several: tuple[Bypass, ...], subject: Subject) -> None:
        steps = self.effort.bypass
        for kind in several if self.gradient else ():
            settings = replace(kind, steps=steps)
            short = replace(settings, steps=min(10, steps), targets=min(settings.targets, 1))
            try:
                self._probed(name, short, settings, subject)
            except Exception as error:  # a user's network may refuse what is asked of it
                self.skipped[name] = f"The network cannot be run in this way ({gist(error)})."

    def _student(self) -> None:
        """Attacks on a student of the answers, round by round, while they find something."""
        for asked in self.asked:
            student, attack = Student(asked, self.pool), Bypass(self.effort.bypass, own=True)
            for _ in range(self.effort.rounds if self.left.any() else 0):
                student.learn(self.effort.learning)
                before = int(self.left.sum())
                whole = lambda subject: attack(subject, student.net)  # noqa: B023, E731
                self._probed("student", whole, whole, asked)
                self.taught = student.net
                if int(self.left.sum()) == before:
                    break

    def _decision(self) -> None:
        """Walks along the boundary."""
        small = Decision(rounds=min(3, self.effort.walk), flips=min(150, self.effort.flips))
        whole = Decision(rounds=self.effort.walk, queries=30, flips=self.effort.flips)
        for asked in self.asked:
            self._probed(
                "decision",
                lambda subject: small(subject, self.pool, self.taught),
                lambda subject: whole(subject, self.pool, self.taught),
                asked,
            )

    @property
    def suspect(self) -> bool:
        """Whether another attack took much of what the white-box ones left."""
        others = [t for name, t in self.trials.taken.items() if name in BEYOND]
        return any(taken.much for taken in others) or not self.gradient

    def _square(self) -> None:
        if why := refusal(self.subject.threat, self.subject.examples.shape):
            self.skipped["square"] = why
            return
        small, queries = min(self.effort.small, self.effort.queries), self.effort.queries
        for asked in self.asked:
            self._probed(
                "square",
                lambda subject: square(subject, queries=small),
                lambda subject: square(subject, queries=queries),
                asked,
            )

    def _all(self, name: str, attempt: Attempt) -> None:
        """An attack on all examples that are left."""
        wanted = self.left.clone()
        survives = attempt(self.subject.only(wanted)) if wanted.any() else wanted
        self.trials.add(name, survives)

    def _probed(self, name: str, small: Attempt, whole: Attempt, asked: Subject) -> None:
        """An attack on a few examples, and on all of them if it fools one or a mask is likely."""
        count = len(self.left) if self.suspect else self.effort.probe
        few = self.left & (self.left.cumsum(0) <= count)
        survives = small(asked.only(few)) if few.any() else few
        if self.trials.add(name, survives, tried=few):
            self.trials.add(name, whole(asked.only(self.left.clone())))
