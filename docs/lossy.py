"""Lossy compression of images at a required distortion, without a sweep over weights.

    min_θ R(θ)  s.t.  D(θ) ≤ c        R: bits of a code, D: squared error of the image, both means

    python docs/lossy.py                 three targets by three ways: 80 s of one quiet core
    python docs/lossy.py --targets 2 --ways dual

A small autoencoder codes an 8 × 8 digit as sixteen integers; each costs −log₂ of its probability
under a learnt logistic distribution. Training adds noise where the file rounds (Ballé, Laparra and
Simoncelli, 2017, arXiv 1611.01704): the noisy D is the bound's surrogate, the rounded D on held-out
images its true value. `DualAscent` is the solver that `--robust-at-least` uses; the baselines, a
fixed weight β and a hinge, are those of van Rozendaal, Sautière and Cohen, 2020 (arXiv 2005.04064).

The dual ascent meets each distortion to 3% without a sweep. The bits are not the least for it: the
multiplier has to be found before they can settle.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import hauberk as hb
from hauberk.problem import Loss
from hauberk.training.loop import solve
from hauberk.training.stage import Stage

BETA = 5.0
"""The weight of both baselines, for all targets; a sweep would find the one that fits each."""


class Codec(nn.Module):
    """An encoder, a decoder, and the distribution of each code."""

    def __init__(self, codes: int = 16, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encode = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, codes)
        )
        self.decode = nn.Sequential(nn.Linear(codes, 96), nn.ReLU(), nn.Linear(96, 64))
        self.middle = nn.Parameter(torch.zeros(codes))
        self.log_scale = nn.Parameter(torch.zeros(codes))

    def bits(self, z: Tensor) -> Tensor:
        """``−log₂ P(z − ½ < Z ≤ z + ½)`` of every image's codes: (batch,)."""
        scale = self.log_scale.exp()
        upper, lower = ((z + half - self.middle) / scale for half in (0.5, -0.5))
        sign = 1 - 2 * (upper + lower > 0).to(z.dtype)  # in the tail that does not cancel
        p = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
        return -p.clamp_min(1e-9).log2().sum(1)

    def error(self, z: Tensor, x: Tensor) -> Tensor:
        """``‖decoded − x‖²`` of every image: (batch,)."""
        return (self.decode(z) - x.flatten(1)).square().sum(1)

    def noisy(self, batch: hb.batch.Batch) -> Tensor:
        """Codes with noise in place of rounding; the same for every caller of one step."""
        z = self.encode(batch.x)
        rng = torch.Generator(z.device).manual_seed(int(batch.progress * 1e9))
        return z + torch.rand(z.shape, generator=rng, device=z.device) - 0.5


@torch.no_grad()
def measured(net: Codec, images: Tensor) -> tuple[float, float]:
    """Mean bits and squared error of an image, with codes rounded to integers."""
    z = net.encode(images).round()
    return float(net.bits(z).mean()), float(net.error(z, images).mean())


# shown in docs/guides/bounds.md from here …
class Bits(hb.problem.Objective):
    """R alone, minimised under the bound."""

    def __call__(self, model: nn.Module, batch: hb.batch.Batch) -> Loss:
        return Loss(model.bits(model.noisy(batch)).mean())


def distortion(model: nn.Module, batch: hb.batch.Batch) -> Tensor:
    """The surrogate of D: with noise in place of rounding."""
    return model.error(model.noisy(batch), batch.x).mean()


@dataclass(frozen=True)
class Weighted(hb.problem.Objective):
    """``R + β D``, or with a target the hinge ``R + β max(0, D − c)``."""

    beta: float
    target: float = 0.0

    def __call__(self, model: nn.Module, batch: hb.batch.Batch) -> Loss:
        z = model.noisy(batch)
        excess = (model.error(z, batch.x).mean() - self.target).clamp_min(0)
        return Loss(model.bits(z).mean() + self.beta * excess)


def trained(way: str, target: float, data: hb.Data, epochs: int) -> Codec:
    """The autoencoder that one of the three ways trains for this distortion."""
    net, images = Codec(), data.validation.images()
    descent = hb.solvers.Descent(lr=1e-2, average=0.0, clip=10.0)
    solver: hb.solver.Solver = hb.solvers.ProjectedGradient(descent)
    if way == "dual":
        bound = hb.problem.Bound(distortion, lambda net: measured(net, images)[1], target)
        problem = hb.problem.Problem(Bits(), bounds={"distortion": bound})
        solver = hb.solvers.DualAscent(descent, speed=0.12, most=100.0, looks=1000, patience=500)
    elif way == "hinge":
        problem = hb.problem.Problem(Weighted(BETA, target))
    else:
        problem = hb.problem.Problem(Weighted(BETA))
    # … to here
    made = solve(Stage(way, problem, solver, epochs), net, data, hb.Run())
    assert made.ok, made.sentence
    return net


def rows(
    targets: Iterable[float], ways: Iterable[str], epochs: int
) -> Iterator[dict[str, float | str]]:
    """Distortion and bits of each way and target, on validation and on test images."""
    data, targets = hb.data.load("digits"), list(targets)
    for way in ways:
        net = None
        for target in targets:
            if net is None or way != "weighted":  # the target does not enter it
                net = trained(way, target, data, epochs)
            bits, reached = measured(net, data.validation.images())
            test_bits, test = measured(net, data.test.images())
            yield {
                "target": target,
                "way": way,
                "distortion": reached,
                "off": reached / target - 1,
                "bits": bits,
                "test distortion": test,
                "test bits": test_bits,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--targets", default="1,2,4", help="squared errors, commas between them")
    parser.add_argument("--ways", default="dual,weighted,hinge")
    parser.add_argument("--epochs", type=int, default=150)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    targets = map(float, flags.targets.split(","))
    print("| target | way | distortion | off | bits | test distortion | test bits |")
    print("|---|---|---|---|---|---|---|")
    for row in rows(targets, flags.ways.split(","), flags.epochs):
        print(
            f"| {row['target']} | {row['way']} | {row['distortion']:.3f} | {row['off']:+.1%} | "
            f"{row['bits']:.2f} | {row['test distortion']:.3f} | {row['test bits']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
