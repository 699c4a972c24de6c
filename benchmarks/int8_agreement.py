"""Claim: the int8 export of a trained ResNet-18 gives the same answers in ONNX Runtime and in its
replay in torch on all of 2,000 MNIST test images and on 99.75% of 2,000 of CIFAR-10; no logit
differs by more than 0.41 of one step of eight bits. One seed.

    python -m benchmarks.int8_agreement --data path/to/mnist
    python -m benchmarks.int8_agreement --data path/to/cifar10-jpeg

Setting: 120 steps of plain training (batch 64, AdamW), after which float32 and int8 have 96.65
and 96.55% clean accuracy on MNIST, 46.15 and 46.05% on CIFAR-10, where many answers are near ties.
The export itself refuses a file whose session and replay differ by a step; the images asked here
calibrated nothing. An untrained net of this depth is refused: it amplifies one level of rounding
until two ways to sum in torch differ by three steps. Each data set keeps its last figures.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import hauberk as hb
from benchmarks.arguments import DATA, parser
from benchmarks.record import RESULTS, Header, record
from hauberk.onnx.agreement import Agreement
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session
from hauberk.verbs import compress

SEED, STEPS, BATCH, LR, IMAGES = 0, 120, 64, 2e-3, 2000


def coloured(data: hb.Data) -> hb.Data:
    """Gray images as three equal channels, which ResNet-18 takes."""

    def split(examples: hb.dataset.Examples) -> hb.dataset.Examples:
        return hb.dataset.Examples(examples.x.expand(-1, 3, -1, -1).contiguous(), examples.y)

    parts = {name: split(getattr(data, name)) for name in ("train", "validation", "test")}
    return replace(data, **parts)


def trained(data: hb.Data) -> nn.Module:
    """A short one-cycle of cross-entropy."""
    net = hb.models.build("resnet18", seed=SEED).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=STEPS)
    for x, y in data.train.first(STEPS * BATCH).batches(BATCH):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def main(argv: Sequence[str] | None = None) -> None:
    """Train, export, compare."""
    options = parser(__doc__)
    options.add_argument("--data", required=True, help=DATA)
    data = coloured(hb.data.load(options.parse_args(argv).data))
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    net, test = trained(data), data.test.first(IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.hbk"
        compress.encode(net, data, hb.artifact.Architecture.of(net)).save(source)
        path = Path(folder) / "model-int8.onnx"
        hb.export(source, "onnx-int8", out=path, data=data)
        opened = OnnxFile.load(path)
        twin, session = opened.twin(), Session(opened.content, threads=1)
        seen = Agreement.of(session, twin, (x for x, _ in test.batches(100)))
        with torch.no_grad():
            pairs = [(session(x).argmax(1), net(x).argmax(1), y) for x, y in test.batches(100)]
    eight, floats, y = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    found = {
        "test_images": seen.count,
        "largest_logit": seen.largest,
        "largest_difference": seen.apart,
        "in_steps_of_eight_bits": seen.apart / (seen.largest / 127),
        "same_answer": seen.same / seen.count,
        "clean_accuracy": {
            "float32": float((floats == y).double().mean()),
            "int8": float((eight == y).double().mean()),
        },
    }
    header, path = Header.of(__doc__), RESULTS / "int8_agreement.json"
    before = json.loads(path.read_text())["results"] if path.exists() else {}
    record(path, header.claim, before | {data.name: found}, SEED, header.command)


if __name__ == "__main__":
    main()
