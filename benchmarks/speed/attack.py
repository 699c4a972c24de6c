"""Claim: PGD-40 takes 1.04 times its K input gradients on `caffe-lenet` (256 MNIST test images) and
0.96 on ResNet-18 (64 of CIFAR-10). To know which images are robust, the fastest of foolbox,
torchattacks and ART takes 2.15 and 2.67 times as long, run to the end 1.57 and 1.02 times.

    python -m benchmarks.speed.attack --data path/to/mnist --cifar path/to/cifar10-jpeg

Setting: equal steps, step size, eps and start (the clean image), so that all take the same path, to
equal robust accuracy; processor time of one thread, three repeats and one on ResNet-18. "to the
end": every image takes every step. "verdict": `under_attack` here, in which fooled images leave the
batch, and the peers' attack in its default form and one forward pass. `caffe-lenet` is that of
`atmc_mnist.py`, at eps 76/255. ResNet-18 learns from 9,600 images at eps 8/255 (once, ten minutes,
kept in runs/speed), so that a third of the images stay robust; without --cifar it is untrained and
its labels are its own answers. Peers that are not installed are named. --small: two minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import hauberk as hb
from benchmarks.speed.contest import SHIPPED, alternate, digits, over, parse, parser, publish
from hauberk.cli.console import bars
from hauberk.dataset import Examples
from hauberk.evaluation import Subject, under_attack
from hauberk.evaluation.frozen_copy import freeze
from hauberk.ops.random import generator
from hauberk.verbs import compress

SEED = 0
INSTALL = {
    "foolbox": "pip install --no-deps foolbox eagerpy",
    "torchattacks": "pip install --no-deps torchattacks",
    "adversarial-robustness-toolbox": "pip install --no-deps adversarial-robustness-toolbox",
}


@dataclass(frozen=True)
class Task:
    """A net, inputs in [0, 1], and PGD's settings."""

    net: nn.Module
    x: Tensor
    y: Tensor
    eps: float
    steps: int

    @property
    def step_size(self) -> float:
        """Of every contestant."""
        return 2.5 * self.eps / self.steps

    @property
    def pgd(self) -> hb.PGD:
        """Ours."""
        return hb.PGD(self.steps, step_size=self.step_size, random_start=False)


def limit(task: Task) -> Callable[[], None]:
    """K input gradients of bare PyTorch, parameters frozen, in the layout that runs fastest."""
    net = freeze(task.net).inner
    x = task.x.clone(memory_format=torch.channels_last)

    def run() -> None:
        for _ in range(task.steps):
            x.requires_grad_()
            torch.autograd.grad(F.cross_entropy(net(x), task.y, reduction="sum"), x)
            x.requires_grad_(False)

    return run


def ours(task: Task) -> Callable[[], Tensor]:
    """Our attack."""
    sealed, threat = freeze(task.net), hb.Linf(task.eps)

    def loss(x: Tensor) -> Tensor:
        return F.cross_entropy(sealed(x), task.y, reduction="none")

    return lambda: task.pgd(loss, task.x, threat, generator(SEED))


def foolbox(task: Task) -> Callable[[], Tensor]:
    """Its attack."""
    import foolbox as fb

    model = fb.PyTorchModel(task.net, bounds=(0, 1))
    attack = fb.attacks.LinfPGD(abs_stepsize=task.step_size, steps=task.steps, random_start=False)
    return lambda: attack(model, task.x, task.y, epsilons=task.eps)[1]


def torchattacks(task: Task) -> Callable[[], Tensor]:
    """Its attack."""
    import torchattacks as ta

    attack = ta.PGD(task.net, task.eps, task.step_size, task.steps, random_start=False)
    return lambda: attack(task.x, task.y)


def art(task: Task) -> Callable[[], Tensor]:
    """Its attack."""
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    model = PyTorchClassifier(
        task.net, nn.CrossEntropyLoss(), tuple(task.x.shape[1:]), 10, clip_values=(0, 1)
    )
    attack = ProjectedGradientDescent(
        model,
        eps=task.eps,
        eps_step=task.step_size,
        max_iter=task.steps,
        batch_size=len(task.x),
        verbose=False,
    )
    x, y = task.x.numpy(), task.y.numpy()
    return lambda: torch.from_numpy(attack.generate(x, y))


PEERS = {
    "foolbox": foolbox,
    "torchattacks": torchattacks,
    "adversarial-robustness-toolbox": art,
}


def contestants(task: Task) -> tuple[dict[str, Callable[[], Tensor]], list[str]]:
    """Ours, the peers that are installed, and a message for each that is not."""
    found, missing = {"hauberk": ours(task)}, list[str]()
    for name, make in PEERS.items():
        try:
            found[name] = make(task)
        except ImportError as error:
            missing.append(f"{name} was left out ({error}): {INSTALL[name]}")
    return found, missing


def measure(task: Task, repeats: int) -> dict[str, Any]:
    """Both comparisons on one task."""
    task.net.eval()
    attacks, missing = contestants(task)
    answers = {name: attack() for name, attack in attacks.items()}  # the warm-up, too
    task.net.zero_grad(set_to_none=True)
    limit(task)()
    with torch.no_grad():
        left = {n: int((task.net(a).argmax(1) == task.y).sum()) for n, a in answers.items()}
        farthest = {n: float((a - task.x).abs().max()) for n, a in answers.items()}
    times = alternate({"limit": limit(task), **attacks}, repeats, warm=False)
    peers = [name for name in attacks if name != "hauberk"]
    examples = Examples(task.x, task.y)
    ours, threat = replace(task.pgd, track=True), hb.Linf(task.eps)

    def verdict() -> Tensor:
        subject = Subject.of(task.net, examples, threat, seed=SEED)
        return under_attack(subject, ours)

    kept = verdict()
    verdicts = {"hauberk": verdict} | {name: verdict(task, attacks[name]) for name in peers}
    judged = alternate(verdicts, repeats, warm=False)
    n = len(task.y)
    return {
        "images": n,
        "steps": task.steps,
        "eps": task.eps,
        "missing": missing,
        "to the end": {
            "hauberk_over_limit": digits(over(times, "hauberk", "limit")),
            "peer_over_hauberk": {p: digits(over(times, p, "hauberk")) for p in peers},
            "images_per_s": {name: digits(n / min(t)) for name, t in times.items()},
            "robust_accuracy": {name: count / n for name, count in left.items()},
            "farthest_pixel": {name: digits(d, 5) for name, d in farthest.items()},
        },
        "verdict": {
            "peer_over_hauberk": {p: digits(over(judged, p, "hauberk")) for p in peers},
            "images_per_s": {name: digits(n / min(t)) for name, t in judged.items()},
            "robust_accuracy_hauberk": int(kept.sum()) / n,
        },
    }


def verdict(task: Task, attack: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A peer's attack and a forward pass on what it found."""

    def run() -> Tensor:
        x_adv = attack()
        with torch.no_grad():
            return task.net(x_adv).argmax(1) == task.y

    return run


def lenet(data: str, images: int, steps: int) -> Task:
    """The shipped net on MNIST."""
    examples = hb.data.load(data).test.first(images)
    return Task(hb.load(SHIPPED), examples.images(), examples.y, 76 / 255, steps)


def resnet18(cifar: str, images: int, steps: int) -> Task:
    """A trained ResNet-18 on CIFAR-10."""
    data = hb.data.load(cifar)
    test = data.test.first(images)
    return Task(learned(data), test.images(), test.y, 8 / 255, steps)


def learned(data: hb.Data) -> nn.Module:
    """A ResNet-18 with some robustness, trained once."""
    out = Path("runs/speed/resnet18")
    if not (out / compress.FILE).exists():
        some = replace(data, train=data.train.first(9600), validation=data.validation.first(128))
        with bars("ResNet-18") as bar:
            hb.compress(
                hb.models.build("resnet18", seed=SEED),
                some,
                method=hb.DA().with_(epochs=1, batch_size=64, lr=2e-3, attack_steps=1),
                threat=hb.Linf(8 / 255),
                out=out,
                run=hb.Run(seed=SEED, resume=True, watcher=bar),
            )
    return hb.load(out / compress.FILE)


def untrained(images: int, steps: int) -> Task:
    """An untrained ResNet-18 on noise that has its own answers for labels."""
    net = hb.models.build("resnet18", seed=SEED).eval()
    x = torch.rand(images, 3, 32, 32, generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        return Task(net, x, net(x).argmax(1), 1 / 255, steps)


def installed(name: str) -> str | None:
    """Its version."""
    try:
        return version(name)
    except ImportError:
        return None


def main(argv: Sequence[str] | None = None) -> None:
    """Measure each task whose data are given."""
    options = parser(__doc__)
    options.add_argument("--data", default="", help="MNIST; without: ResNet-18 only")
    options.add_argument("--images", type=int, default=0, help="of MNIST")
    options.add_argument("--cifar", default="", help="CIFAR-10; without: ResNet-18 is untrained")
    options.add_argument("--resnet", nargs=2, type=int, metavar=("IMAGES", "STEPS"))
    given = parse(options, argv)
    repeats = given.repeats or (2 if given.small else 3)
    found: dict[str, Any] = {"peers": {name: installed(name) for name in PEERS}}
    if given.data:
        images = given.images or (64 if given.small else 256)
        found["caffe-lenet"] = measure(lenet(given.data, images, 40), repeats)
    few, steps = given.resnet or ((4, 4) if given.small else (64, 40))
    task = resnet18(given.cifar, few, steps) if given.cifar else untrained(few, steps)
    found["resnet18"] = measure(task, max(1, repeats // 2))
    publish(__file__, __doc__, found, given.small, SEED)


if __name__ == "__main__":
    main()
