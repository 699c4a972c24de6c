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
    from hauberk.api import Compressed, compress, export_onnx, export_onnx_int8, load
    from hauberk.artifact import Architecture, Artifact, OnnxFile, slim
    from hauberk.attack import Attack
    from hauberk.attacks import FGSM, PGD, MinMaxPGD
    from hauberk.constraints import (
        Annealed,
        Codebook,
        Grid,
        HalfPrecision,
        Lattice,
        PerTensor,
        Rank,
        Sparsity,
        Support,
    )
    from hauberk.group import Group, joined
    from hauberk.methods import (
        AL0,
        ALR,
        AP,
        ATMC,
        DA,
        NAP,
        AdmmPrune,
        DistortionConstrained,
        Int8,
        Method,
        MinMax,
        Reweighted,
        Sized,
    )
    from hauberk.models import Normalized
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
    from hauberk.parametrize import factorise
    from hauberk.penalties import GroupLasso, Lasso
    from hauberk.problem import Bound, Constraint, Objective, Penalty, Problem, Structure
    from hauberk.solve import Run, Solver, Stage, TrainingFailed
    from hauberk.solvers import ADMM, Descent, DualAscent, ProjectedGradient
    from hauberk.threat import Threat
    from hauberk.threats import L1, L2, Linf, Union
    from hauberk.types import Batch, Data, Examples

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
    "AdmmPrune",
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
    "DistortionConstrained",
    "DualAscent",
    "Examples",
    "Grid",
    "Group",
    "GroupLasso",
    "HalfPrecision",
    "Int8",
    "Lasso",
    "Lattice",
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
    "Run",
    "Shared",
    "Sized",
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
    "api": ["Compressed", "compress", "export_onnx", "export_onnx_int8", "load"],
    "artifact": ["Architecture", "Artifact", "OnnxFile", "slim"],
    "attack": ["Attack"],
    "attacks": ["FGSM", "PGD", "MinMaxPGD"],
    "constraints": [
        "Annealed", "Codebook", "Grid", "HalfPrecision", "Lattice", "PerTensor", "Rank",
        "Sparsity", "Support",
    ],
    "group": ["Group", "joined"],
    "models": ["Normalized"],
    "methods": [
        "AL0", "ALR", "AP", "ATMC", "DA", "NAP", "AdmmPrune", "DistortionConstrained", "Int8",
        "Method", "MinMax", "Reweighted", "Sized",
    ],
    "objectives": [
        "Adversarial", "Distilled", "Natural", "PerSample", "Rate", "Shared", "Tariff", "Teacher",
        "Trades", "WorstDomain",
    ],
    "parametrize": ["factorise"],
    "penalties": ["GroupLasso", "Lasso"],
    "problem": ["Bound", "Constraint", "Objective", "Penalty", "Problem", "Structure"],
    "solve": ["Run", "Solver", "Stage", "TrainingFailed"],
    "solvers": ["ADMM", "Descent", "DualAscent", "ProjectedGradient"],
    "threat": ["Threat"],
    "threats": ["L1", "L2", "Linf", "Union"],
    "types": ["Batch", "Data", "Examples"],
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
