"""The ideal information content, in bits, of a choice of some elements among many."""

from __future__ import annotations

from math import lgamma, log

FLOAT_BITS = 32


def choice_bits(total: int, chosen: int) -> float:
    """``log₂ C(total, chosen)``: which ``chosen`` of ``total`` things were taken."""
    if not 0 < chosen < total:
        return 0.0
    nats = lgamma(total + 1) - lgamma(chosen + 1) - lgamma(total - chosen + 1)
    return max(0.0, nats / log(2))


def most_choice_bits(total: int, at_most: int) -> float:
    """The largest `choice_bits` of ``total`` things of which ``at_most`` may be taken."""
    return choice_bits(total, min(at_most, total // 2))
