"""Evaluation: accuracy, robustness, checks for gradient masking, cost, and the report."""

from __future__ import annotations

from hauberk.evaluation.accuracy import Progress, silent, transferred, under_attack
from hauberk.evaluation.autoattack import Verdict, autoattack, square
from hauberk.evaluation.checks import Check, run_checks
from hauberk.evaluation.cost import Macs, Timing, latency, macs
from hauberk.evaluation.estimate import Estimate
from hauberk.evaluation.evaluation import Evaluation
from hauberk.evaluation.features import Features
from hauberk.evaluation.image_report import ImageReport, ImageRow
from hauberk.evaluation.images import ImageEvaluation
from hauberk.evaluation.proportion import Mask, Proportion
from hauberk.evaluation.provenance import provenance
from hauberk.evaluation.report import Report, Row
from hauberk.evaluation.search import Effort, Search
from hauberk.evaluation.seeds import spread
from hauberk.evaluation.shipped import Shipped
from hauberk.evaluation.subject import Subject, clean
from hauberk.evaluation.trials import Taken, Trials

__all__ = [
    "Check",
    "Effort",
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
    "Search",
    "Shipped",
    "Subject",
    "Taken",
    "Timing",
    "Trials",
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
