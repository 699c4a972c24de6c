"""Write signals.npz: noisy sine, square, triangle and chirp waves of 128 samples in [0, 1].

    python make_signals.py [--count 1200]

A signal is an image of one channel and one row: (count, 1, 1, 128).
"""

from __future__ import annotations

import argparse

import numpy as np

LENGTH = 128
NAMES = ("sine", "square", "triangle", "chirp")


def wave(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One signal with random frequency, phase, height and noise."""
    t = np.linspace(0, 1, LENGTH)
    turns = rng.uniform(3, 7) * (t * t if kind == "chirp" else t) + rng.random()
    angle = 2 * np.pi * turns
    shapes = {
        "sine": np.sin(angle),
        "chirp": np.sin(2 * angle),
        "square": np.sign(np.sin(angle)),
        "triangle": 2 / np.pi * np.arcsin(np.sin(angle)),
    }
    signal = rng.uniform(0.6, 1) * shapes[kind] + rng.normal(0, 0.08, LENGTH)
    return (0.5 + 0.4 * signal).clip(0, 1)


def main() -> None:
    """Write both splits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1200, help="training signals")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", given.count), ("test", max(40, given.count // 4))):
        names = [NAMES[k % len(NAMES)] for k in range(count)]
        signals = np.stack([wave(name, rng) for name in names]).astype(np.float32)
        arrays |= {f"x_{split}": signals[:, None, None], f"y_{split}": np.array(names)}
    np.savez("signals.npz", **arrays)


if __name__ == "__main__":
    main()
