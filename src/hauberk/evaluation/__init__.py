"""The proof of a shipped file: accuracy, robustness, gradient masking, cost, and the report."""

from __future__ import annotations

from hauberk.evaluation.accuracy import Progress, clean, silent, transferred, under_attack
from hauberk.evaluation.autoattack import Verdict, autoattack, square
from hauberk.evaluation.cost import Macs, Timing, dense_bytes, latency, macs
from hauberk.evaluation.evaluation import Evaluation, Shipped
from hauberk.evaluation.gradient_masking import Check, run_checks
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.report import Report, Row, provenance

__all__ = [
    "Check",
    "Evaluation",
    "Macs",
    "Mask",
    "Progress",
    "Proportion",
    "Report",
    "Row",
    "Shipped",
    "Timing",
    "Verdict",
    "autoattack",
    "clean",
    "dense_bytes",
    "latency",
    "macs",
    "provenance",
    "run_checks",
    "silent",
    "square",
    "transferred",
    "under_attack",
]
