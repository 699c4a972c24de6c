"""How nets of the galleries are judged: small budgets, one threat, few digits."""

from __future__ import annotations

import importlib
import io
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hauberk as hb
from hauberk.evaluation import Effort, Row

N, THREAT = 24, hb.Linf(0.1)
SLACK = 0.05
EFFORT = Effort(
    steps=20, probe=8, small=50, queries=100, rounds=2, learning=100, walk=3, flips=127
)  # fmt: skip
ASK: dict[str, Any] = {"threat": THREAT, "attack": "pgd:10", "limit": N}


def only(report: hb.Report) -> Row:
    (row,) = report.rows
    return row


def exported(net: nn.Module, path: Path) -> Path:
    into, axes = io.BytesIO(), {"x": {0: "N"}, "z": {0: "N"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.zeros(2, 1, 8, 8),), into, input_names=["x"], output_names=["z"],
            dynamic_axes=axes, dynamo=False, opset_version=17,
        )  # fmt: skip
    path.write_bytes(into.getvalue())
    return path


def short_suite(patch: pytest.MonkeyPatch) -> None:
    """AutoAttack of the same attacks with fewer steps and queries."""
    official = importlib.import_module("hauberk.evaluation.autoattack")  # its function has its name
    made = official._official

    def short(*given: Any) -> Any:
        found = made(*given)
        for attack in (found.apgd, found.apgd_targeted, found.fab):
            attack.n_iter = 25
        found.square.n_queries = 200
        return found

    patch.setattr(official, "_official", short)
