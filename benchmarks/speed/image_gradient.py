"""Claim: with gradients passed back to images of few channels in full blocks, an input gradient is
1.23 times as fast on `caffe-lenet` and 1.08 on `lenet:2` (batch 128, one CPU thread); `digits-cnn`
(0.97) and ResNet-18 (1.02, batch 16) gain nothing. The numbers are the same.

    python -m benchmarks.speed.image_gradient            (one minute; --small: without ResNet-18)

Setting: a whole input gradient of a frozen net, with and without `hauberk.runtime.conv_backward`,
processor time, in turns, medians of 15. "difference" is the largest one, over the largest gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

import hauberk as hb
from benchmarks.speed.contest import alternate, digits, over, parse, parser, publish
from hauberk.attack import input_gradient
from hauberk.evaluation import frozen_copy

SEED, REPEATS = 0, 15
NETS = {
    "caffe-lenet": (128, 1, 28),
    "lenet:2": (128, 1, 28),
    "digits-cnn": (128, 1, 8),
    "resnet18": (16, 3, 32),
}


def gradients(net: str) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A batch's gradient, in full blocks and as torch gives it."""
    rng = torch.Generator().manual_seed(SEED)
    x = torch.rand(*NETS[net][:2], *[NETS[net][2]] * 2, generator=rng)
    y = torch.randint(0, 10, (len(x),), generator=rng)
    model = frozen_copy.seal(hb.models.build(net, seed=SEED))

    def blocks() -> Tensor:
        return input_gradient(lambda v: F.cross_entropy(model(v), y, reduction="none"), x)[1]

    def plain() -> Tensor:
        with patch.object(frozen_copy, "image_gradients", lambda _: nullcontext()):
            return blocks()

    return blocks, plain


def main(argv: Sequence[str] | None = None) -> None:
    """Every net, in turns."""
    given = parse(parser(__doc__), argv)
    found = {}
    for net in NETS:
        if given.small and net == "resnet18":
            continue
        blocks, plain = gradients(net)
        ours, theirs = blocks(), plain()
        times = alternate({"blocks": blocks, "plain": plain}, given.repeats or REPEATS)
        found[net] = {
            "batch": len(ours),
            "plain_over_blocks": digits(over(times, "plain", "blocks")),
            "difference": digits(float((ours - theirs).abs().max() / theirs.abs().max()), 2),
        }
        print(net, found[net])
    publish(__file__, __doc__, {"nets": found}, given.small, SEED)


if __name__ == "__main__":
    main()
