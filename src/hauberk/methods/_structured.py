"""What a pruning pattern speaks of in a network: which parameters, in which groups, which tied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from hauberk.constraints import Filter, Grouping, PerTensor, Sparsity, Tied
from hauberk.constraints.patterns import pattern
from hauberk.ops.ties import Families, join
from hauberk.parametrize import Selection, layers
from hauberk.problem import Constraint
from hauberk.slimming.filter_families import families
from hauberk.types import Images, Weights

_BY_FILTER = ("filter", "bn-filter")


@dataclass(frozen=True)
class Prunable:
    """A pattern, and the layers it leaves alone.

    Attributes:
        pattern: as `hauberk.constraints.patterns` reads it, or bn-filter for batch-norm scales.
        select: which parameters it speaks of.

    Raises:
        ValueError: for a pattern that is none.
    """

    pattern: str
    select: Selection = field(default_factory=Selection)

    @property
    def by_filter(self) -> bool:
        """Whole filters go, and with them the width of the network."""
        return self.pattern in _BY_FILTER

    @property
    def groups(self) -> Grouping:
        """What lives or dies together inside of one parameter."""
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
        """How many groups there are in all layers together."""
        parameters = dict(model.named_parameters())
        w = {name: parameters[name] for tie in ties for name in tie}
        tree = join(w, ties) if self.by_filter else w
        return sum(self.groups.split(t.shape).groups for t in tree.values())

    def at_most(self, keep: float, ties: Families, w: Weights, across: bool) -> Constraint:
        """The set of trees that keep this share of the groups of each layer, or across them all.

        Args:
            keep: the share, in (0, 1].
            ties: what `tied` found.
            w: the dense tree, with which LAMP weighs the layers for a budget across them.
            across: one budget in place of one for each layer.

        Raises:
            ValueError: a layer would be left empty.
        """
        each = Sparsity(keep, self.groups)
        tree = join(w, ties) if self.by_filter else w
        for name, t in {} if across else tree.items():
            count = self.groups.split(t.shape).groups
            if keep * count < 1 - 1e-9:
                raise ValueError(
                    f"keep was given as {keep:.3g}, which leaves none of the {count} groups of "
                    f"{name}; give at least {1 / count:.3g}, or exclude the layer."
                )
        whole = each.balanced(tree) if across else PerTensor(each)
        return Tied(whole, ties) if self.by_filter else whole

    def scales(self, keep: float, ties: Families, w: Weights, across: bool) -> Mapping[str, float]:
        """Under which 1 is the least that `at_most` would keep of each tensor, tied ones as one."""
        each = Sparsity(keep, self.groups)
        tree = join(w, ties) if self.by_filter else w
        if across:
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
                    f"The pattern {self.pattern} cannot be had of {name}, a grouped convolution, "
                    "whose filters read different channels; exclude it, or give another pattern."
                )


def _weights(layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{layer}.weight" for layer in layers)


def refuse_emptied(w: Weights) -> None:
    """A layer of which nothing is left passes nothing on."""
    for name, t in w.items():
        if not t.any():
            raise ValueError(
                f"Nothing of {name} is left after the cut; give a larger keep, exclude the layer, "
                "or give each layer a budget of its own."
            )


def width_of(model: nn.Module) -> int | None:
    """The width that a network was built with, where its family has one: 8 for ``lenet:8``."""
    named = getattr(model, "architecture", None)
    width = named[1].get("width") if isinstance(named, tuple) else None
    return width if isinstance(width, int) else None
