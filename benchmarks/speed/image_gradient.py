"""Claim: on a CPU, with gradients passed back to images of few channels in full blocks, a whole
input gradient of a sealed net takes 0.75 to 0.95 of the time for LeNets and the same for others, at
the same numbers but for rounding.

    python benchmarks/speed/image_gradient.py            (one minute; --small: without ResNet-18)

The contestants are the same gradient with and without `hauberk.runtime.conv_backward`.
``difference`` is the largest one, over the largest gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from unittest.mock import patch

import torch
from _bench import alternate, digits, flags, over, publish
from torch import Tensor
from torch.nn import functional as F

import hauberk as hb
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


def main() -> None:
    """Every net, in turns."""
    given = flags(__doc__)
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
