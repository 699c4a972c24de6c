"""Peak of the memory that activations take, for one image, as torch runs the network.

    peak = max_t Σ_{tensors alive at step t} bytes

The input counts, weights do not. A tensor lives from the operation that makes it until nothing
refers to it; views share their memory. A runtime that fuses layers or reuses buffers needs less.
"""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the floating-point memory that operations made and that is alive."""

    def __init__(self, held: set[int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held, self.views = held, Counter[int]()
        self.bytes, self.peak = 0, 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                self.see(leaf)
        return found

    def see(self, x: Tensor) -> None:
        """Count a tensor until it is gone."""
        storage = x.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not place or place in self.held:
            return
        if not self.views[place]:
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
        self.views[place] += 1
        weakref.finalize(x, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self.views[place] -= 1
        if not self.views[place]:
            self.bytes -= size


@torch.no_grad()
def peak_bytes(model: nn.Module, shape: tuple[int, ...]) -> int:
    """The peak for one image.

    Args:
        model: from images to outputs; it is left as it was.
        shape: of one image, (channel, height, width).
    """
    net = copy.deepcopy(model).eval().cpu()
    held = {t.untyped_storage().data_ptr() for t in (*net.parameters(), *net.buffers())}
    alive = _Alive(held)
    image = torch.zeros(1, *shape)
    alive.see(image)
    with alive:
        net(image)
    return alive.peak
