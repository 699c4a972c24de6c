"""The record of an evaluation: which attack was the first to fool which example.

robust_i = clean_i ∧ ⋀_a [ attack a did not fool example i ]

The headline is this mask: an example is robust only if nothing that was tried fooled it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hauberk.evaluation.proportion import Mask, Proportion

MUCH = 0.2
"""Fraction of what the white-box attacks left that another attack may take of an honest net."""
_LISTED = 100
"""Examples that are listed for each attack."""


@dataclass(frozen=True)
class Taken:
    """The examples that one attack was the first to fool.

    Attributes:
        tried: examples that were still robust when the attack was first tried on them.
        count: those that it fooled.
        images: the first hundred of these, by their index in the split.
    """

    tried: int
    count: int
    images: tuple[int, ...] = ()

    @property
    def much(self) -> bool:
        """Whether it took more than a fifth of what it was tried on, beyond chance."""
        return bool(self.tried) and Proportion(self.count, self.tried).ci95[0] > MUCH

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Taken:
        """What `json` wrote.

        Raises:
            KeyError: it is no such object.
        """
        return Taken(found["tried"], found["count"], tuple(found["images"]))

    def json(self) -> dict[str, Any]:
        """``{"tried", "count", "images"}``."""
        return {"tried": self.tried, "count": self.count, "images": list(self.images)}


class Trials:
    """The examples that withstood everything so far, and who took the others.

    Attributes:
        robust: mask of the examples that nothing has fooled.
        taken: by attack, in the order of the first trial.
    """

    def __init__(self, clean: Mask) -> None:
        """Start with the examples that are correct without an attack.

        Args:
            clean: mask of them.
        """
        self.robust, self.taken = clean.clone(), dict[str, Taken]()
        self._tried: dict[str, Mask] = {}

    def add(self, name: str, survives: Mask, tried: Mask | None = None) -> int:
        """Record an attack on the first examples; how many it took.

        Args:
            name: of the attack.
            survives: for each of the first examples, whether the attack failed on it.
            tried: mask of those that it was tried on; by default all of them.
        """
        n, known = len(survives), self._tried.get(name)
        left = self.robust[:n] if tried is None else self.robust[:n] & tried
        fooled = left & ~survives
        asked = torch.zeros_like(self.robust) if known is None else known
        asked[:n] |= left
        self._tried[name] = asked
        places = (*self._images(name), *fooled.nonzero()[:, 0].tolist())
        count = int(fooled.sum())
        before = self.taken[name].count if name in self.taken else 0
        self.taken[name] = Taken(int(asked.sum()), before + count, places[:_LISTED])
        self.robust[:n] &= ~fooled
        return count

    def _images(self, name: str) -> tuple[int, ...]:
        return self.taken[name].images if name in self.taken else ()
