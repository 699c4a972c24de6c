"""Aim: on one GPU, in nine minutes, ResNet-18 on CIFAR-10 (JPEG) at eps 8/255 keeps 48% under
AutoAttack in 500 kB and 45% in 100 kB, and PGD-10 training reaches 40% of the bfloat16 rate of a
matrix product. No record is committed: no GPU was at hand.

    python -m benchmarks.gpu_claims --data path/to/cifar10

Setting: parts in order of worth, each written as it ends, so that a run that is cut off still
counts; a part whose expected seconds are not left is skipped by name. The dense net is trained by
two warm-started attack steps with flips and shifts in bfloat16, compiled; the files go on from it.
AutoAttack (the authors' code, standard) on the first 1,000 test images of each decoded file. Tests:
those that take no seconds each, on the GPU, under a time limit. --small: the same parts on digits
and a small network, on any device.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # so that it runs as a file, too

import torch  # noqa: E402

import hauberk as hb  # noqa: E402
from benchmarks.arguments import DATA, parser  # noqa: E402
from benchmarks.gpu_training import SEED, THREAT, now, product_rate, training  # noqa: E402
from benchmarks.record import Header, record  # noqa: E402
from benchmarks.speed.contest import digits  # noqa: E402
from hauberk.cli.console import bars  # noqa: E402
from hauberk.dataset import Data  # noqa: E402
from hauberk.evaluation import Proportion, Subject, autoattack, clean  # noqa: E402
from hauberk.method import Method  # noqa: E402
from hauberk.recipe import Packaging  # noqa: E402
from hauberk.training.run import Watcher  # noqa: E402
from hauberk.verbs.compress import FILE  # noqa: E402


@dataclass(frozen=True)
class Scale:
    """How much is computed.

    Attributes:
        model: the network.
        sizes: of the files.
        epochs: of the dense net, and of each file before and after its codebooks.
        batch: examples a step.
        images: test images under AutoAttack.
        steps: timed training steps.
        product: side of the timed matrices.
        tests: what pytest collects.
    """

    model: str
    sizes: tuple[str, ...]
    epochs: tuple[int, int, int]
    batch: int
    images: int
    steps: int
    product: int
    tests: tuple[str, ...]


FULL = Scale(
    "resnet18",
    ("500kB", "100kB"),
    (20, 8, 2),
    512,
    1000,
    60,
    8192,
    ("tests/contracts", "tests/ops", "tests/solvers", "tests/training", "tests/artifact"),
)
SMALL = Scale("digits-cnn", ("20%", "5%"), (2, 1, 1), 128, 20, 4, 256, ("tests/ops",))


class Claims:
    """The parts, the clock, and the folder that the record goes to."""

    def __init__(self, data: Data, scale: Scale, out: Path, seconds: float) -> None:
        self.data, self.scale, self.out = data, scale, out
        self.full, self.ends = scale is FULL, time.monotonic() + seconds
        self.found: dict[str, Any] = {"device": _device(), "skipped": []}

    def all(self) -> None:
        """Every part, the one that is worth most first."""
        self._part("dense", 200, self._dense)
        for size in self.scale.sizes:
            self._part(size, 120, partial(self._file, size))
            self._part(f"autoattack of {size}", 90, partial(self._robust, self.out / size))
        self._part("autoattack of dense", 90, partial(self._robust, self.out / "dense"))
        self._part("speed", 60, self._speed)
        self._part("tests", 60, self._tests)

    def _part(self, name: str, needs: float, work: Callable[[], dict[str, Any]]) -> None:
        """Do a part if its seconds are left, and write what is known by then."""
        left = self.ends - time.monotonic()
        if self.full and left < needs:
            self.found["skipped"].append(name)
        else:
            start = now()
            try:
                self.found[name] = work()
            except Exception as error:  # new hardware: the other parts still count
                self.found[name] = {"error": " ".join(str(error).split())[:500]}
            self.found[name]["seconds"] = digits(now() - start)
            print(name, self.found[name], flush=True)
        header = Header.of(__doc__)
        record(self.out / "gpu_claims.json", header.claim, self.found, SEED, header.command)

    def _dense(self) -> dict[str, Any]:
        """Adversarial training."""
        net = hb.models.build(self.scale.model, seed=SEED)
        method = hb.DA(packaging=Packaging(half=False))
        with bars("dense") as bar:
            made = hb.train(
                net,
                self.data,
                threat=THREAT,
                method=self._recipe(method, self.scale.epochs[0]),
                out=self.out / "dense",
                run=self._run(bar),
            )
        return {"bytes": _bytes(made.path)}

    def _file(self, size: str) -> dict[str, Any]:
        """The dense net in so many bytes."""
        dense, (_, epochs, codebook) = hb.load(self.out / "dense" / FILE), self.scale.epochs
        method = hb.SizeTarget(size=size, codebook_epochs=codebook)
        with bars(size) as bar:
            made = hb.compress(
                dense,
                self.data,
                threat=THREAT,
                method=self._recipe(method, epochs),
                out=self.out / size,
                pretrained=True,
                run=self._run(bar),
            )
        return {"bytes": _bytes(made.path)}

    def _robust(self, folder: Path) -> dict[str, Any]:
        """Clean accuracy and AutoAttack of a file, as it is decoded."""
        place = hb.Run().place()
        net = hb.load(folder / FILE).to(place)
        test = self.data.test.first(self.scale.images).to(place)
        survived = autoattack(Subject.of(net, test, THREAT, seed=SEED)).robust
        found = {"clean": clean(net, test), "autoattack": survived}
        return {name: Proportion.of(mask).json() for name, mask in found.items()}

    def _speed(self) -> dict[str, Any]:
        """PGD-10 training, eager and compiled, against a matrix product."""
        rate = product_rate(hb.Run().place(), self.scale.product)
        ways = (False, True) if self.full else (False,)
        steps, batch = self.scale.steps, self.scale.batch
        return {
            "product_operations_per_s": digits(rate),
            **{
                "compiled" if compiled else "eager": training(
                    self.data, self.scale.model, batch, steps, compiled, rate
                )
                for compiled in ways
            },
        }

    def _tests(self) -> dict[str, Any]:
        """The quick tests of some folders, as long as seconds are left."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        seconds = max(30.0, self.ends - time.monotonic() - 15)
        done = subprocess.run(
            [*command, "-m", "not slow", *self.scale.tests],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        (self.out / "tests.log").write_text(done.stdout[-100_000:])
        return {"exit_code": done.returncode, "last": done.stdout.strip().splitlines()[-1:]}

    def _recipe(self, method: Method, epochs: int) -> Method:
        return method.with_(
            epochs=epochs, batch_size=self.scale.batch, attack_steps=2, reuse=True, flip=True,
            shift=2, lr=4e-3,
        )  # fmt: skip

    def _run(self, watcher: Watcher) -> hb.Run:
        return hb.Run(seed=SEED, bf16=self.full, compiled=self.full, watcher=watcher)


def _bytes(path: Path | None) -> int:
    assert path is not None
    return path.stat().st_size


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def main(argv: Sequence[str] | None = None) -> None:
    """Train, compress, attack, time, test."""
    options = parser(__doc__)
    options.add_argument("--data", help=f"{DATA}; without --small it is needed")
    options.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "runs/gpu_claims")))
    options.add_argument("--seconds", type=float, default=530.0, help="in all")
    options.add_argument("--small", action="store_true")
    given = options.parse_args(argv)
    if not given.small and not given.data:
        options.error("--data is needed; give path/to/cifar10")
    torch.set_float32_matmul_precision("high")
    data = hb.data.load(given.data or "digits")
    Claims(data, SMALL if given.small else FULL, given.out, given.seconds).all()


if __name__ == "__main__":
    main()
