"""Pruning patterns in a network: which parameters, in which groups, which of them tied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from hauberk.constraints import Filter, Grouping, PerTensor, Sparsity, Support, Tied
from hauberk.constraints.patterns import pattern
from hauberk.ops.ties import Families, join
from hauberk.parametrize import Selection, layers
from hauberk.problem import Constraint
from hauberk.slimming.filter_families import families
from hauberk.slimming.slim import shrink
from hauberk.types import Images, Weights

_BY_FILTER = ("filter", "bn-filter")


@dataclass(frozen=True)
class Pruning:
    """What is pruned: the pattern, the fraction that is kept, and the layers.

    Attributes:
        pattern: as `hauberk.constraints.patterns` reads it, or bn-filter for batch-norm scales.
        keep: fraction of the groups that is kept, in (0, 1].
        across: one budget over all layers, balanced by LAMP, in place of one for each.
        select: which parameters may be pruned.

    Raises:
        ValueError: an unknown pattern, or a keep outside (0, 1].
    """

    pattern: str
    keep: float = 1.0
    across: bool = False
    select: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        Sparsity(self.keep, self.groups)

    @property
    def by_filter(self) -> bool:
        """Whether whole filters are pruned, which makes the network narrower."""
        return self.pattern in _BY_FILTER

    @property
    def groups(self) -> Grouping:
        """The weights of one parameter that are kept or pruned together."""
        return Filter() if self.by_filter else pattern(self.pattern)

    def tied(self, model: nn.Module, example: Images) -> Families:
        """The parameters that are pruned; those of one tuple row by row together.

        Filters whose outputs are added are tied; those of the network's output are not pruned.

        Raises:
            ValueError: nothing is left to prune, or a layer cannot take the pattern.
        """
        found = self._every(model, example)
        if not found:
            raise ValueError(
                f"The pattern {self.pattern} finds nothing to prune in this network; "
                "give another pattern, or exclude fewer layers."
            )
        if self.pattern in ("column", "channel"):
            self._refuse_grouped(model, {name for ties in found for name in ties})
        return found

    def count(self, model: nn.Module, ties: Families) -> int:
        """The number of groups in all layers together."""
        parameters = dict(model.named_parameters())
        w = {name: parameters[name] for tie in ties for name in tie}
        tree = join(w, ties) if self.by_filter else w
        return sum(self.groups.split(t.shape).groups for t in tree.values())

    def budget(self, ties: Families, w: Weights) -> Constraint:
        """The set of trees that keep ``keep`` of the groups, of each layer or across them all.

        Args:
            ties: what `tied` found.
            w: the dense tree, from which LAMP balances the layers for a budget across them.

        Raises:
            ValueError: a layer would be left empty.
        """
        each = Sparsity(self.keep, self.groups)
        tree = join(w, ties) if self.by_filter else w
        for name, t in {} if self.across else tree.items():
            count = self.groups.split(t.shape).groups
            if self.keep * count < 1 - 1e-9:
                raise ValueError(
                    f"keep was given as {self.keep:.3g}, which leaves none of the {count} groups "
                    f"of {name}; give at least {1 / count:.3g}, or exclude the layer."
                )
        whole = each.balanced(tree) if self.across else PerTensor(each)
        return Tied(whole, ties) if self.by_filter else whole

    def scales(self, ties: Families, w: Weights) -> Mapping[str, float]:
        """Factors under which `budget` keeps magnitudes of at least 1, tied tensors as one."""
        each = Sparsity(self.keep, self.groups)
        tree = join(w, ties) if self.by_filter else w
        if self.across:
            cut = each.balanced(tree)
        else:
            cut = each.weighed(tree, {name: each.count({name: t}) for name, t in tree.items()})
        return cut.scales or {}

    def _every(self, model: nn.Module, example: Images) -> Families:
        chosen = self.select(model)
        if not self.by_filter:
            return tuple((name,) for name in chosen)
        every = [
            (_weights(f.writers), _weights(f.norms))
            for f in families(model, example)
            if set(chosen).issuperset(_weights(f.writers))
        ]
        sides = [writers if self.pattern == "filter" else norms for writers, norms in every]
        return tuple(side for side in sides if side)

    def _refuse_grouped(self, model: nn.Module, names: set[str]) -> None:
        """The input channels of a grouped convolution are not the columns of its weight."""
        for name, layer in layers(model).items():
            if f"{name}.weight" in names and getattr(layer, "groups", 1) > 1:
                raise ValueError(
                    f"The pattern {self.pattern} does not support {name}, a grouped convolution, "
                    "whose filters read different channels; exclude it, or give another pattern."
                )


def _weights(layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{layer}.weight" for layer in layers)


def remaining(model: nn.Module, names: Iterable[str], example: Images | None) -> Support:
    """The support to retrain after pruning; dead filters are removed from the network first.

    Args:
        model: whose parameters were pruned; changed in place.
        names: of these parameters.
        example: one input with which the network is traced; None leaves dead filters in it.

    Raises:
        ValueError: a layer is empty, so that nothing passes through it.
    """
    refuse_emptied(_parameters(model, names))
    if example is not None:
        shrink(model, example)
    return Support.of(_parameters(model, names))


def _parameters(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    every = dict(model.named_parameters())
    return {name: every[name] for name in names}


def refuse_emptied(w: Weights) -> None:
    """Raise where a layer is empty, so that nothing passes through it.

    Raises:
        ValueError: naming the layer.
    """
    for name, t in w.items():
        if not t.any():
            raise ValueError(
                f"Nothing of {name} is left after the cut; give a larger keep, exclude the layer, "
                "or give each layer a budget of its own."
            )


def width_of(model: nn.Module) -> int | None:
    """The width that a network was built with, if its family has one: 8 for ``lenet:8``."""
    named = getattr(model, "architecture", None)
    width = named[1].get("width") if isinstance(named, tuple) else None
    return width if isinstance(width, int) else None
