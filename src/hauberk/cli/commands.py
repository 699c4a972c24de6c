"""Settings of the verbs that train nothing: demo, evaluate, export, inspect, data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hauberk.cli.requirement import Requirement
from hauberk.cli.resolve import Bytes, ImageSize, NamedAttack, NamedDevice, NamedThreat
from hauberk.cli.settings import (
    DataSource,
    EvaluationSettings,
    ImageSettings,
    refuse_moments,
)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train a robust net on digits, compress it five ways, and evaluate each file.

    Attributes:
        out: folder for the files, the report and the picture.
        seed: random seed of every shuffle and random start.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    out: Path = Path("runs/demo")
    seed: int = 0
    json: bool = False


def _strongest() -> EvaluationSettings:
    return EvaluationSettings(attack=NamedAttack("strongest"))


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure anything that classifies: bytes, clean accuracy, accuracy under attack and latency.

    With --task image: an image-to-image network's distances to the images of its dense net, on
    held-out images (MSE, PSNR, SSIM; on --features perceptual and Fréchet distances), bytes,
    multiplications and latency. It needs --dense and takes no threat.

    An example counts as robust only if nothing that was tried fools it: attacks by gradients, also
    with an approximated backward pass, examples transferred from the --dense net and from a student
    of the file's answers, Square, and an attack by answers alone. An .onnx by any exporter is
    queried and timed in ONNX Runtime; if torch cannot replay its graph, attacks have no gradient,
    and the report says so.

    Attributes:
        file: an .hbk file, an .onnx file, a .c file that hauberk export wrote, which is compiled,
            or the plain weights of --model, as .safetensors or as a state_dict in .pt, .pth, .bin,
            .ckpt or .pth.tar.
        task: classes for a classifier, image for an image-to-image network.
        data: images and labels; the test split is attacked. For --task image images alone, in any
            folders; the test split is measured.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, l2:0.5, l1:12; or
            one of several, at its choice: linf:0.2+l2:2+l1:12. --task classes needs it.
        evaluation: how the file is attacked.
        restarts: random starts of PGD; an example counts as robust if it withstands all of them.
        dense: the dense net (an .hbk, or plain weights of --model) from which adversarial examples
            are transferred, as a check; on an .onnx they also count. For --task image, which needs
            it, the net whose images are the targets.
        model: the network that plain weights are of, such as resnet18:8, or your own,
            package.module:function; an .hbk that names its architecture needs none.
        mean: mean of each channel in [0, 1] that plain weights were trained with, as for train; an
            .hbk and an .onnx know their own.
        std: standard deviation of each channel, likewise.
        draws: judge and attack the mean of so many draws of a network that draws at random; by
            default such a network is refused.
        require: end with exit code 3 and one line unless robust>=45%, clean>=90%, bytes<=20kB hold
            and no check fails (checks); for CI. Several are separated by commas or spaces.
        checks: look for gradient masking, on up to 200 examples.
        certify: also count the images that keep their class whatever the threat allows, by sound
            bounds: crown (the default of the flag) or interval. See also train --certified.
        images: what --task image measures besides.
        seed: random seed of every random start and resample.
        device: cpu, cuda or cuda:1; by default CUDA where there is any.
        json: print one JSON object on stdout, and nothing else there.
    """

    file: Path = field(metadata={"positional": True, "example": "model.hbk"})
    task: Literal["classes", "image"] = "classes"
    data: DataSource
    threat: NamedThreat | None = field(default=None, metadata={"example": "linf:8/255"})
    evaluation: EvaluationSettings = field(default_factory=_strongest)
    restarts: int = 1
    draws: int = 0
    require: tuple[Requirement, ...] = field(
        default=(), metadata={"commas": True, "example": "robust>=45%,checks"}
    )
    dense: str = field(default="", metadata={"example": "dense.hbk"})
    model: str = ""
    mean: tuple[float, ...] = field(default=(), metadata={"commas": True})
    std: tuple[float, ...] = field(default=(), metadata={"commas": True})
    checks: bool = True
    certify: str = field(default="", metadata={"alone": "crown"})
    images: ImageSettings = field(default_factory=ImageSettings)
    seed: int = 0
    device: NamedDevice | None = None
    json: bool = False

    def __post_init__(self) -> None:
        """Validate the settings."""
        refuse_moments(self.model, self.mean, self.std)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a file in a format that other runtimes read, and check that it computes the same there.

    The .onnx takes batches of any size, holds its weights and needs standard operators only.
    Codebooks and pruned weights stay small in it and become dense when a runtime loads it.
    A generator takes images of one size there.
    hauberk evaluate attacks it: ONNX Runtime answers, and its graph in torch gives the gradients.
    C is for microcontrollers: integers alone, no library, the weights coded in flash.

    Attributes:
        file: an .hbk file.
        format: onnx (float32), onnx-int8, which computes in eight bits and is faster where the
            processor multiplies them, or c, net.c and net.h in integers for a microcontroller; all
            need pip install 'hauberk[onnx]'.
        data: for onnx-int8 and c: what the network was trained on, as for train; the first 1,000
            training images (of a generator, 100) show what range each activation needs.
        target: for c, the part that the code must fit: m0 (nRF51822), m3 (STM32F103C8), m4
            (STM32F401CC), avr (ATmega328P), or host without a limit.
        model: your own network, package.module:function, if the file names none.
        image_size: for a generator, side of the square in pixels that the graph takes, or height
            and width, 48x64; by default the size of its training.
        out: file to write; by default next to the source: model.onnx, model-int8.onnx or net.c for
            model.hbk.
        json: print one JSON object on stdout, and nothing else there.
    """

    file: Path = field(metadata={"positional": True, "example": "model.hbk"})
    format: str = "onnx"
    data: str = ""
    target: str = "host"
    model: str = ""
    image_size: ImageSize | None = None
    out: str = ""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a file holds, layer by layer.

    Attributes:
        file: an .hbk file.
        json: print one JSON object on stdout, and nothing else there.
        picture: draw a bar for each layer, split into positions, values and codebook, as this PNG.
        target: also say what C code of the file would take of a part: flash, RAM, and with
            qemu-system-arm instructions an image; m0, m3, m4, avr or host, as for export.
        model: your own network, package.module:function, if the file names none; for --target.
    """

    file: Path = field(metadata={"positional": True, "example": "model.hbk"})
    json: bool = False
    picture: Path | None = None
    target: str = ""
    model: str = ""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show what data hold: shapes, classes, and how many images each has in every split.

    Attributes:
        data: as --data of train.
        image_size: size that photographs are brought to, as for train.
        on_error: what to do with a corrupt image: stop or skip.
        memory: memory for the pixels, as for train.
        picture: draw a few images of each class as this PNG.
        each: how many images of each class the picture has.
        json: print one JSON object on stdout, and nothing else there.
    """

    data: str = field(metadata={"positional": True, "example": "digits"})
    image_size: ImageSize | None = None
    on_error: Literal["stop", "skip"] = "stop"
    memory: Bytes | None = None
    picture: Path | None = None
    each: int = 10
    json: bool = False

    @property
    def source(self) -> DataSource:
        """The data, and how they are read."""
        return DataSource(
            source=self.data,
            image_size=self.image_size,
            on_error=self.on_error,
            memory=self.memory,
        )
