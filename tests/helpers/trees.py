"""Trees of weights to project."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from hauberk.types import Weights

DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
DTYPES = [torch.float32, torch.float64, torch.bfloat16]

_ordinary = st.floats(-8, 8, width=32)
_awkward = st.sampled_from([0.0, -0.0, 0.5, -0.5, 0.5, 1.0, -1.0, 1e-30, -1e30, 70000.0])


@st.composite
def trees(draw: st.DrawFn) -> Weights:
    """Two kernels, out × in × 2 × 1, with ties, zeros, tiny and huge values among ordinary ones."""
    tree = {}
    for name in ("conv.weight", "b"):
        shape = (2 * draw(st.integers(1, 2)), 2 * draw(st.integers(1, 2)), 2, 1)
        n = torch.Size(shape).numel()
        values = draw(st.lists(_ordinary | _awkward, min_size=n, max_size=n))
        tree[name] = torch.tensor(values).view(shape)
    return tree


def random_tree(seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Weights:
    rng = torch.Generator().manual_seed(seed)
    shapes = {"conv.weight": (4, 4, 2, 1), "b": (2, 2, 2, 1)}
    return {n: torch.randn(s, generator=rng).to(device, dtype) for n, s in shapes.items()}


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)
