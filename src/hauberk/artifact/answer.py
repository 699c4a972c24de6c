"""The answer: what a network gives for two known images, which tells its code from other code.

A file holds weights, and a user's own module their meaning: a mean, a scale, an activation. The
size of its outputs f(a), and that of f(a) − f(1 − a), in 17 characters, show whether the module
that is filled is the one that was trained.
"""

from __future__ import annotations

import re
from math import prod

import torch
from torch import Tensor, nn

BLANK = "0.00e+00 0.00e+00"
"""An answer of the same length as every other, to price a file."""
_FORM = re.compile(r"\d\.\d\de[+-]\d\d \d\.\d\de[+-]\d\d")
_CLOSE = 0.02  # of each number: three digits, and rounding of other machines
_ROUNDING = 1e-4  # of the outputs' size, for a difference that nearly vanishes
_PERIOD, _STEP = 1009, 367
"""Two primes: pixel k of the known image a is (k · step mod period) / (period − 1)."""


def answer(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Root mean squares of f(a) and of f(a) − f(1 − a); empty if they cannot be told.

    Args:
        model: the network f, in eval mode.
        shape: of one image.
    """
    pixels = torch.arange(prod(shape)).mul(_STEP).remainder(_PERIOD).float() / (_PERIOD - 1)
    image = pixels.view(1, *shape)
    place = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            out = model(torch.cat([image, 1 - image]).to(place))
    except Exception:  # a user's module may fail in any way; whoever runs it says how
        return ""
    if not isinstance(out, Tensor) or len(out) != 2 or not out.isfinite().all():
        return ""
    one, other = out.double()
    text = " ".join(f"{float(t.square().mean().sqrt()):.2e}" for t in (one, one - other))
    return text if well_formed(text) else ""


def well_formed(text: str) -> bool:
    """Whether `answer` could have written ``text``."""
    return _FORM.fullmatch(text) is not None


def agree(one: str, other: str) -> bool:
    """Whether two answers are those of one network, to rounding."""
    if not one or not other:
        return True
    pairs = list(zip(*([float(n) for n in text.split()] for text in (one, other)), strict=True))
    least = _ROUNDING * max(pairs[0])
    return all(abs(a - b) <= least + _CLOSE * max(a, b) for a, b in pairs)
