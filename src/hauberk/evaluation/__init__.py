"""Evaluation: accuracy, robustness, checks for gradient masking, cost, and the report."""

from __future__ import annotations

from hauberk.evaluation.accuracy import Progress, silent, transferred, under_attack
from hauberk.evaluation.autoattack import Verdict, autoattack, square
from hauberk.evaluation.cost import Macs, Timing, latency, macs
from hauberk.evaluation.estimate import Estimate
from hauberk.evaluation.evaluation import Evaluation
from hauberk.evaluation.features import Features
from hauberk.evaluation.gradient_masking import Check, run_checks
from hauberk.evaluation.image_report import ImageReport, ImageRow
from hauberk.evaluation.images import ImageEvaluation
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.provenance import provenance
from hauberk.evaluation.report import Report, Row
from hauberk.evaluation.seeds import spread
from hauberk.evaluation.shipped import Shipped
from hauberk.evaluation.subject import Subject, clean

__all__ = [
    "Check",
    "Estimate",
    "Evaluation",
    "Features",
    "ImageEvaluation",
    "ImageReport",
    "ImageRow",
    "Macs",
    "Mask",
    "Progress",
    "Proportion",
    "Report",
    "Row",
    "Shipped",
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
