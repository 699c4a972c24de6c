"""A C file as a classifier to evaluate: compiled for this computer, attacked through its twin.

    f(x) = code(round(255 x)),   ∇f(x) := ∇reference(x)

Bytes are flash: code and tables, as the target's ``size`` counts them. The code takes pixels of 8
bits. Every candidate of an attack is rounded to them and judged by the compiled code. An ℓ∞ radius
is rounded down to whole steps of 1/255 first, so that no rounded candidate is outside of it. Under
ℓ2 and ℓ1 a candidate may leave the set by its rounding: robustness is then counted too low.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hauberk.artifact.format import About
from hauberk.dataset import Examples
from hauberk.evaluation.shipped import Shipped
from hauberk.microcontroller import compiled
from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.compiled import Compiled
from hauberk.microcontroller.flash import code_bytes
from hauberk.microcontroller.reference import Reference
from hauberk.ops.pixel_levels import whole_radius
from hauberk.threat import Threat
from hauberk.threats.linf import Linf


def shipped_code(path: Path) -> tuple[Shipped, About]:
    """The network in a C file, and the description of the file that it was made from.

    Args:
        path: of the ``.c`` file.

    Raises:
        ValueError: hauberk did not write the file, it was changed, or a compiler is missing.
        OSError: it cannot be read.
    """
    file = CodeFile.load(path)
    assert file.about.dense_bytes is not None
    code = Compiled(file, str(path))
    net = Reference(file.graph).eval()
    shipped = Shipped(str(path), code_bytes(file, str(path)), file.about.dense_bytes, net, code)
    return shipped, file.about


def agree(code: Compiled, twin: Reference, examples: Examples, batch_size: int = 500) -> None:
    """Check that the compiled code and the reference give the same integers on all examples.

    Args:
        code: the compiled code.
        twin: its reference.
        examples: on the device of the reference.
        batch_size: examples at a time.

    Raises:
        ValueError: they differ.
    """
    for x, _ in examples.batches(batch_size):
        compiled.agree(code, twin, x)


def on_grid(threat: Threat) -> Threat:
    """The threat within which rounding to 8 bits stays: an ℓ∞ radius of whole steps of 1/255."""
    if not isinstance(threat, Linf):
        return threat
    return replace(threat, eps=whole_radius(threat.eps))
