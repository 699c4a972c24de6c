"""Train the MobileNet in plain PyTorch, without an adversary, as somebody else may have done.

    python pretrain.py [--epochs 25]

It knows nothing of hauberk: images are normalised outside of the network, and the checkpoint is
that of DataParallel, whose names begin with ``module.``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from mynets import mobile
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional as F

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images(split: Path, size: int) -> tuple[Tensor, Tensor]:
    """Normalised images and class indices."""
    pixels, labels = [], []
    for index, folder in enumerate(sorted(split.iterdir())):
        for path in sorted(folder.iterdir()):
            image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            fitted = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
            pixels.append(torch.from_numpy(np.float32(fitted) / 255).permute(2, 0, 1))
            labels.append(index)
    x = torch.stack(pixels)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (x - mean) / std, torch.tensor(labels)


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--size", type=int, default=48)
    given = parser.parse_args()
    torch.manual_seed(0)
    x, y = images(Path("photos/Train"), given.size)
    net = nn.DataParallel(mobile())
    best = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for _ in range(given.epochs):
        net.train()
        for rows in torch.randperm(len(x)).split(64):
            loss = F.cross_entropy(net(x[rows]), y[rows])
            best.zero_grad()
            loss.backward()
            best.step()
    net.eval()
    u, v = images(Path("photos/Test"), given.size)
    with torch.no_grad():
        accuracy = float((net(u).argmax(1) == v).float().mean())
    torch.save(
        {"epoch": given.epochs, "state_dict": net.state_dict(), "acc": accuracy}, "mobile.pt"
    )
    print(f"mobile.pt: {accuracy:.1%} of {len(v)} test images")


if __name__ == "__main__":
    main()
