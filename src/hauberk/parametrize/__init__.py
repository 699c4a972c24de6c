"""Reparametrisation of a module's weights, through ``torch.nn.utils.parametrize``."""

from hauberk.parametrize.factored import Factored, LowRank, collapse, factorise, state
from hauberk.parametrize.quantized import Rounded, quantise, unquantise
from hauberk.parametrize.selection import (
    Selection,
    coded,
    dense_line,
    dense_parts,
    layers,
    matrices,
)

__all__ = [
    "Factored",
    "LowRank",
    "Rounded",
    "Selection",
    "coded",
    "collapse",
    "dense_line",
    "dense_parts",
    "factorise",
    "layers",
    "matrices",
    "quantise",
    "state",
    "unquantise",
]
