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

__all__ = ["Factored", "LowRank", "coded", "collapse", "factorise", "layers", "matrices", "state"]
