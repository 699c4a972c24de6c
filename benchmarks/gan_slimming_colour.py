"""Aim: a generator that colours grey images of 32² pixels, slimmed to a tenth and a twentieth of
its bytes, compared with a narrow generator of the bytes of the larger file. No record is committed.

    python -m benchmarks.gan_slimming_colour --data path/to/cifar10

Setting: CIFAR-10 (JPEG); the network sees the luminance of an image and adds colour to it, so the
image itself is the ground truth. A U-Net of 32 filters (`pix2pix-unet`, three levels) is trained
end to end on 12,000 images against a discriminator, 10 epochs; then GAN Slimming, with a
discriminator, to 8 bits: 2 epochs of slimming, 4 of tuning. The narrow row is a U-Net of 10 filters
that is trained as the dense one and kept in float32. Strengths were chosen by the bytes that they
leave. PSNR to the truth and to the dense net over the first 2,000 test images with 95% bootstrap
intervals; "grey" is the luminance itself. One seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import hauberk as hb
from benchmarks.arguments import DATA, parser
from benchmarks.record import RESULTS, Header, record
from hauberk.cli.console import bars
from hauberk.dataset import Data, Examples
from hauberk.evaluation.image_file import evaluate_image_file
from hauberk.evaluation.images import ImageEvaluation
from hauberk.evaluation.shipped_file import read
from hauberk.method import Method
from hauberk.methods import GANSlimming
from hauberk.models.generators import pix2pix_unet
from hauberk.objectives import Teacher
from hauberk.objectives.discriminator import patch_discriminator
from hauberk.objectives.gan import Adversary, Imitation
from hauberk.plots.image_sheet import draw
from hauberk.problem import Problem
from hauberk.recipe import Packaging
from hauberk.solvers import ProjectedGradient
from hauberk.threat import Threat
from hauberk.training.stage import Stage
from hauberk.types import Images
from hauberk.verbs import compress

WORK = Path("runs/gan_slimming_colour")
LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""
WIDTH, NARROW = 32, 10
TRAIN, TEST, DISCRIMINATOR = 12_000, 2_000, 16


class Colouriser(nn.Module):
    """A network that sees the luminance of an image and adds colour to it.

    Args:
        width: filters of the first layer of its U-Net; 0 leaves the image grey.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        grey = torch.tensor(LUMINANCE).expand(3, 3)
        self.grey, self.chroma = _mixing(grey), _mixing(torch.eye(3) - grey)
        self.net = pix2pix_unet(width, levels=3) if width else nn.Identity()

    def forward(self, x: Images) -> Tensor:
        """Images (batch, 3, height, width) in [0, 1] to the same, of equal luminance."""
        y: Tensor = self.grey(x)
        coloured: Tensor = y + self.chroma(self.net(y))
        return coloured


def _mixing(weights: Tensor) -> nn.Conv2d:
    """A fixed linear map of each pixel's three channels."""
    layer = nn.Conv2d(3, 3, 1, bias=False).requires_grad_(False)
    layer.weight.data.copy_(weights.reshape(3, 3, 1, 1))
    return layer


@dataclass(frozen=True, kw_only=True)
class EndToEnd(Method):
    """Train a network to give back the image whose luminance it sees, against a discriminator."""

    needs_labels: ClassVar[bool] = False
    packaging: Packaging = Packaging(half=False)

    def stages(self, model: nn.Module, threat: Threat, sample: Examples) -> Iterator[Stage]:
        """One stage."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            adversary = Adversary(patch_discriminator(DISCRIMINATOR, 2), sample.shape)
        objective = Imitation(Teacher(nn.Identity()), adversary=adversary, beta=40.0)
        solver = ProjectedGradient(self.optimisation.descent())
        yield self.stage("dense", Problem(objective), solver, self.optimisation.epochs)


TRAINED = EndToEnd().with_(epochs=10, batch_size=32, lr=1e-3, average=0.99)
"""How dense networks are trained."""


def slimmed(strength: float) -> Method:
    """The method of a small file."""
    return GANSlimming(
        bits=8, strength=strength, slim_epochs=2, discriminator=DISCRIMINATOR, levels=2, beta=40.0
    ).with_(epochs=4, batch_size=32, lr=1e-3)


@dataclass(frozen=True)
class Row:
    """How a row is made.

    Attributes:
        method: trains it; the grey image needs none.
        width: of the network.
        start: the row whose file it starts from; none starts from random weights.
    """

    method: Method | None
    width: int
    start: str | None = None


ROWS: Mapping[str, Row] = {
    "grey": Row(None, 0),
    "dense": Row(TRAINED, WIDTH),
    "slimmed to a tenth": Row(slimmed(0.3), WIDTH, "dense"),
    "slimmed to a twentieth": Row(slimmed(0.6), WIDTH, "dense"),
    "narrow, float32": Row(TRAINED, NARROW),
}


def folder(name: str) -> Path:
    """The folder of a row."""
    return WORK / name.replace(" ", "-").replace(",", "")


def file(name: str) -> Path:
    """The file of a row."""
    return folder(name) / compress.FILE


def loaded(name: str) -> nn.Module:
    """The network of a row."""
    return hb.load(file(name), Colouriser(ROWS[name].width))


def make(name: str, data: Data) -> None:
    """Write the file of a row, unless there is one."""
    row = ROWS[name]
    if file(name).exists():
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Colouriser(row.width)
    if row.method is None:
        compress.encode(net, data, None).save(file(name))
        return
    with bars(name) as bar:
        hb.compress(
            loaded(row.start) if row.start else net,
            data,
            threat=None,
            method=row.method,
            out=folder(name),
            pretrained=True,
            run=hb.Run(resume=True, identity=name, watcher=bar),
        )


def measure(name: str, data: Data) -> dict[str, Any]:
    """A row of the record; one that was measured is read."""
    kept = folder(name) / "row.json"
    if not kept.exists():
        opened = read(file(name), Colouriser(ROWS[name].width))
        row = evaluate_image_file(
            opened, data, ImageEvaluation(), dense=loaded("dense"), truth=lambda x: x, name=name
        )
        kept.write_text(json.dumps(row.json()))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def publish(rows: Sequence[Mapping[str, Any]]) -> None:
    """The record."""
    header = Header.of(__doc__)
    path = RESULTS / "gan_slimming_colour.json"
    record(path, header.claim, {"rows": list(rows)}, command=header.command, seed=0)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, slim, measure, record."""
    options = parser(__doc__)
    options.add_argument("--data", required=True, help=DATA)
    options.add_argument("--threads", type=int, default=2, help="of torch")
    given = options.parse_args(argv)
    torch.set_num_threads(given.threads)
    whole = hb.data.load(given.data, labelled=False)
    seen, watched = whole.train.first(TRAIN), whole.validation.first(500)
    data = Data("CIFAR-10", seen, watched, whole.test.first(TEST), 0)
    for name in ROWS:
        make(name, data)
    publish([measure(name, data) for name in ROWS])
    small = "slimmed to a tenth"
    draw(read(file(small), Colouriser(WIDTH)).shipped, loaded("dense"), data.test, WORK / "a.png")


if __name__ == "__main__":
    main()
