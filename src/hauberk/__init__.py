"""Hauberk: small neural networks that keep their accuracy and their adversarial robustness.

    min_w  E max_{x' ∈ Δ(x)} loss(f_w, x', y)   s.t.  w ∈ C_1 ∩ C_2 ∩ …

>>> import hauberk as hb
>>> net = hb.models.build("digits-cnn")
>>> small = hb.compress(net, "digits", method=hb.ATMC(keep=0.02, bits=4), threat=hb.Linf(0.1))

The names below are imported when they are first used, so that ``hauberk --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hauberk import data, models
    from hauberk.artifact import Architecture, Artifact
    from hauberk.attack import Attack
    from hauberk.attacks import FGSM, PGD, MinMaxPGD
    from hauberk.batch import Batch
    from hauberk.constraints import (
        Annealed,
        Codebook,
        FixedGrid,
        Float16,
        PerTensor,
        Rank,
        Sparsity,
        Support,
        UniformGrid,
    )
    from hauberk.dataset import Data, Examples
    from hauberk.method import Method
    from hauberk.methods import (
        AL0,
        ALR,
        AP,
        ATMC,
        DA,
        NAP,
        ADMMPruning,
        Int8,
        MinMax,
        Reweighted,
        RobustnessTarget,
        SizeTarget,
    )
    from hauberk.models import Normalized
    from hauberk.networks import load
    from hauberk.objectives import (
        Adversarial,
        Distilled,
        Natural,
        PerSample,
        Rate,
        Shared,
        Tariff,
        Teacher,
        Trades,
        WorstDomain,
    )
    from hauberk.onnx.file import OnnxFile
    from hauberk.parametrize import factorise
    from hauberk.penalties import GroupLasso, Lasso
    from hauberk.problem import Bound, Constraint, Objective, Penalty, Problem, Structure
    from hauberk.runtime.processes import Group, joined
    from hauberk.slimming.slim import slim
    from hauberk.solver import Solver
    from hauberk.solvers import ADMM, Descent, DualAscent, ProjectedGradient
    from hauberk.threat import Threat
    from hauberk.threats import L1, L2, Linf, Union
    from hauberk.training.run import Run, TrainingFailed
    from hauberk.training.stage import Stage
    from hauberk.verbs.compress import Compressed, compress
    from hauberk.verbs.export import export_onnx, export_onnx_int8

__version__ = "0.1.0"

__all__ = [
    "ADMM",
    "AL0",
    "ALR",
    "AP",
    "ATMC",
    "DA",
    "FGSM",
    "L1",
    "L2",
    "NAP",
    "PGD",
    "ADMMPruning",
    "Adversarial",
    "Annealed",
    "Architecture",
    "Artifact",
    "Attack",
    "Batch",
    "Bound",
    "Codebook",
    "Compressed",
    "Constraint",
    "Data",
    "Descent",
    "Distilled",
    "DualAscent",
    "Examples",
    "FixedGrid",
    "Float16",
    "Group",
    "GroupLasso",
    "Int8",
    "Lasso",
    "Linf",
    "Method",
    "MinMax",
    "MinMaxPGD",
    "Natural",
    "Normalized",
    "Objective",
    "OnnxFile",
    "Penalty",
    "PerSample",
    "PerTensor",
    "Problem",
    "ProjectedGradient",
    "Rank",
    "Rate",
    "Reweighted",
    "RobustnessTarget",
    "Run",
    "Shared",
    "SizeTarget",
    "Solver",
    "Sparsity",
    "Stage",
    "Structure",
    "Support",
    "Tariff",
    "Teacher",
    "Threat",
    "Trades",
    "TrainingFailed",
    "UniformGrid",
    "Union",
    "WorstDomain",
    "compress",
    "data",
    "export_onnx",
    "export_onnx_int8",
    "factorise",
    "joined",
    "load",
    "models",
    "slim",
]

_HOMES = {
    "artifact": ["Architecture", "Artifact"],
    "attack": ["Attack"],
    "attacks": ["FGSM", "PGD", "MinMaxPGD"],
    "batch": ["Batch"],
    "constraints": [
        "Annealed", "Codebook", "UniformGrid", "Float16", "FixedGrid", "PerTensor", "Rank",
        "Sparsity", "Support",
    ],
    "dataset": ["Data", "Examples"],
    "method": ["Method"],
    "methods": [
        "AL0", "ALR", "AP", "ATMC", "DA", "NAP", "ADMMPruning", "RobustnessTarget", "Int8",
        "MinMax", "Reweighted", "SizeTarget",
    ],
    "models": ["Normalized"],
    "networks": ["load"],
    "objectives": [
        "Adversarial", "Distilled", "Natural", "PerSample", "Rate", "Shared", "Tariff", "Teacher",
        "Trades", "WorstDomain",
    ],
    "onnx.file": ["OnnxFile"],
    "parametrize": ["factorise"],
    "penalties": ["GroupLasso", "Lasso"],
    "problem": ["Bound", "Constraint", "Objective", "Penalty", "Problem", "Structure"],
    "runtime.processes": ["Group", "joined"],
    "slimming.slim": ["slim"],
    "solver": ["Solver"],
    "solvers": ["ADMM", "Descent", "DualAscent", "ProjectedGradient"],
    "threat": ["Threat"],
    "threats": ["L1", "L2", "Linf", "Union"],
    "training.run": ["Run", "TrainingFailed"],
    "training.stage": ["Stage"],
    "verbs.compress": ["Compressed", "compress"],
    "verbs.export": ["export_onnx", "export_onnx_int8"],
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("data", "models"):
        return import_module(f"hauberk.{name}")
    if name in _HOME:
        return getattr(import_module(f"hauberk.{_HOME[name]}"), name)
    raise AttributeError(f"module 'hauberk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
