"""Evaluation: accuracy, robustness, checks for gradient masking, cost, and the report."""

from __future__ import annotations

from hauberk.evaluation.accuracy import Progress, silent, transferred, under_attack
from hauberk.evaluation.autoattack import Verdict, autoattack, square
from hauberk.evaluation.classifier import Classifier
from hauberk.evaluation.cost import Macs, Timing, latency, macs
from hauberk.evaluation.evaluation import Evaluation
from hauberk.evaluation.gradient_masking import Check, run_checks
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.report import Report, Row, provenance
from hauberk.evaluation.seeds import spread
from hauberk.evaluation.subject import Subject, clean

__all__ = [
    "Check",
    "Classifier",
    "Evaluation",
    "Macs",
    "Mask",
    "Progress",
    "Proportion",
    "Report",
    "Row",
    "Subject",
    "Timing",
    "Verdict",
    "autoattack",
    "clean",
    "latency",
    "macs",
    "provenance",
    "run_checks",
    "silent",
    "spread",
    "square",
    "transferred",
    "under_attack",
]
