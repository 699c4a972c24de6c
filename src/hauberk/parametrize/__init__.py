"""Other coordinates for a module's weights, through ``torch.nn.utils.parametrize``."""

from hauberk.parametrize.factored import (
    Factored,
    LowRank,
    coded,
    collapse,
    factorise,
    layers,
    matrices,
    state,
)
from hauberk.parametrize.quantized import Rounded, quantise, unquantise

__all__ = [
    "Factored",
    "LowRank",
    "Rounded",
    "coded",
    "collapse",
    "factorise",
    "layers",
    "matrices",
    "quantise",
    "state",
    "unquantise",
]
