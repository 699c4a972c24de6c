"""The proof of a shipped file: accuracy, robustness, gradient masking, cost, and the report."""

from __future__ import annotations

from hauberk.evaluate.autoattack import Verdict, autoattack, square
from hauberk.evaluate.checks import Check, run_checks
from hauberk.evaluate.cost import Macs, Timing, dense_bytes, latency, macs
from hauberk.evaluate.picture import Published, tradeoff
from hauberk.evaluate.proof import Proof, Shipped
from hauberk.evaluate.proportion import Mask, Proportion
from hauberk.evaluate.protocol import Progress, clean, silent, transferred, under_attack
from hauberk.evaluate.report import Report, Row, provenance
from hauberk.evaluate.twin import Judged, agree

__all__ = [
    "Check",
    "Judged",
    "Macs",
    "Mask",
    "Progress",
    "Proof",
    "Proportion",
    "Published",
    "Report",
    "Row",
    "Shipped",
    "Timing",
    "Verdict",
    "agree",
    "autoattack",
    "clean",
    "dense_bytes",
    "latency",
    "macs",
    "provenance",
    "run_checks",
    "silent",
    "square",
    "tradeoff",
    "transferred",
    "under_attack",
]
