"""Checks of norm balls: a valid radius, and membership up to float rounding."""

from __future__ import annotations

from math import isfinite

from jaxtyping import Bool
from torch import Tensor

from hauberk.types import Images

_SLACK = 1e-5  # relative to the radius, far above the rounding of float32 images in [0, 1]
_PIXEL_SLACK = 1e-6


def check_radius(norm: str, eps: float, most: float) -> None:
    """Raise if ``eps`` is not a valid radius.

    Args:
        norm: its symbol, for the error.
        eps: the radius, in the norm of pixels in [0, 1].
        most: the largest radius; may be infinite.

    Raises:
        ValueError: for a NaN, infinite or negative eps, or one above ``most``.
    """
    if not (isfinite(eps) and 0 <= eps <= most):
        limits = f"in [0, {most:g}]" if isfinite(most) else "finite and at least 0"
        raise ValueError(
            f"The {norm} radius eps was given as {eps}; give one that is {limits}, in pixel units "
            "of [0, 1], such as 8/255 for 8 grey levels."
        )


def within(reach: Tensor, eps: float, x_adv: Images) -> Bool[Tensor, " batch"]:
    """A mask: all of ``reach`` at most ``eps`` and all of ``x_adv`` in [0, 1]; False for NaN.

    Args:
        reach: lengths of the perturbations, (batch,) or (batch, …).
        eps: the radius, in the same unit.
        x_adv: perturbed images, batch first.
    """
    in_ball = reach <= eps * (1 + _SLACK) + _PIXEL_SLACK
    in_box = (x_adv >= -_PIXEL_SLACK) & (x_adv <= 1 + _PIXEL_SLACK)
    return in_ball.reshape(len(x_adv), -1).all(1) & in_box.flatten(1).all(1)


def per_example(values: Tensor, x: Images) -> Tensor:
    """One number for each example, shaped to meet images."""
    return values.view(-1, *[1] * (x.ndim - 1))
