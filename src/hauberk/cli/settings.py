"""Settings common to several verbs: data, networks, evaluation, training, machines.

Each is a frozen dataclass whose fields are flags. Torch is imported when one is used, so that
``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hauberk.cli.resolve import Bytes, ImageSize, NamedAttack, NamedDevice, NamedThreat

if TYPE_CHECKING:
    from torch import nn

    from hauberk.dataset import Data
    from hauberk.evaluation import Evaluation, ImageEvaluation


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Images and labels, and how they are read.

    Attributes:
        source: digits, an .npz file with x and y, a parquet file (or the common prefix of
            X-train.parquet and X-test.parquet), a folder of images (train/<class>/*.png with val
            and test next to it, or <class>/*.png; for --task image in any subfolders),
            hub:owner/name of the Hugging Face Hub, or package.module:function, which returns
            torch Datasets.
        image_size: side of a square in pixels, such as 48, or height and width, 48x64: each
            photograph is turned upright, enlarged or reduced until it just covers that size, and
            cropped at its centre. The file records it, and evaluation repeats it. By default images
            are taken as they are, all of one size.
        on_error: what to do with a corrupt image: stop names it and ends, skip leaves it out and
            reports how many there were.
        memory: memory of a process for the pixels, such as 4GB or 25% of what is free; by default
            half of it, divided among the processes of this machine. Data that do not fit are
            decoded once into an unnamed file in TMPDIR (else /var/tmp) and streamed from there,
            with the same results.
    """

    source: str = field(metadata={"flag": "data", "example": "digits"})
    image_size: ImageSize | None = None
    on_error: Literal["stop", "skip"] = "stop"
    memory: Bytes | None = None

    def read(self, labelled: bool = True, recorded: tuple[int, ...] | None = None) -> Data:
        """The data; what was unusual about them is printed.

        Args:
            labelled: whether the images have labels.
            recorded: input shape of a file whose images were resized to it.

        Raises:
            ValueError: data that cannot be used.
            OSError: a file that cannot be read.
        """
        from hauberk.cli.console import say
        from hauberk.data import load
        from hauberk.runtime.memory import free

        memory = self.memory.of(free()) if self.memory else None
        data = load(
            self.source,
            on_error=self.on_error,
            memory=memory,
            image_size=self.image_size.size if self.image_size else None,
            recorded=recorded,
            labelled=labelled,
        )
        for note in data.notes:
            say(note)
        return data


@dataclass(frozen=True, kw_only=True)
class Start:
    """The network that a run starts from.

    Attributes:
        model: digits-cnn, caffe-lenet, lenet:8, vgg16, resnet18:8, resnet34 (width after the
            colon; 16 is the full one) or wrn:28,10 (depth, width); ensemble:4xlenet:2 (the sum of
            four networks, trained jointly); cyclegan-resnet9:64 or pix2pix-unet:16 (filters of the
            first layer) from images to images; or your own, package.module:function, from the
            current directory or installed: the function takes no argument and returns a torch
            module for images in [0, 1].
        checkpoint: the trained net to start from: an .hbk file, or plain weights of --model, as
            .safetensors or as a state_dict in .pt, .pth, .bin, .ckpt or .pth.tar; without it a
            dense net is trained first.
        mean: mean of each channel in [0, 1] that --model was trained with, such as
            0.485,0.456,0.406, or one number for all: the network that ships subtracts it from
            images in [0, 1], and the file records it.
        std: standard deviation of each channel, likewise.
    """

    model: str = ""
    checkpoint: str = field(default="", metadata={"flag": "from"})
    mean: tuple[float, ...] = field(default=(), metadata={"commas": True})
    std: tuple[float, ...] = field(default=(), metadata={"commas": True})

    def __post_init__(self) -> None:
        """Validate the settings."""
        refuse_moments(self.model, self.mean, self.std)

    def network(self, seed: int = 0) -> nn.Module | None:
        """The network of ``model``, untrained; ``None`` if none is named.

        Raises:
            ValueError: no network has this name.
        """
        return network(self.model, seed, self.mean, self.std)


def network(
    model: str, seed: int = 0, mean: Sequence[float] = (), std: Sequence[float] = ()
) -> nn.Module | None:
    """The network that ``--model`` names, untrained; ``None`` for an empty name.

    Args:
        model: the name.
        seed: of the initial weights.
        mean: mean of each channel that the network subtracts; empty if it subtracts none.
        std: standard deviation of each channel that it then divides by.

    Raises:
        ValueError: no network has this name, or it normalises its images already.
    """
    from hauberk import models

    net = models.network(model, seed=seed) if model else None
    if net is None or not mean:
        return net
    if isinstance(net, models.Normalized):
        raise ValueError(f"--mean was given, and {model} is hb.Normalized already; leave it out.")
    return models.Normalized(net, mean, std)


def refuse_moments(model: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Check that ``--mean`` and ``--std`` fit each other and a ``--model``.

    Args:
        model: the name.
        mean: of each channel.
        std: of each channel.

    Raises:
        ValueError: one without the other, or without a model.
    """
    if bool(mean) != bool(std) or (mean and not model):
        raise ValueError(
            "--mean and --std belong together and to --model; give one number for each channel for "
            "both, such as --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 (an .hbk and an .onnx "
            "know their own)."
        )


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Settings of an evaluation.

    Attributes:
        attack: strongest (an image is robust only if nothing fools it: PGD, the standard
            AutoAttack, approximated gradients, images of eight bits, transfer, a student, Square,
            answers alone), autoattack (the authors' suite), or, for progress while you tune,
            pgd:STEPS (pgd:40) or fgsm alone; or your own, package.module:Name. What a check fools
            counts as lost with each of them.
        limit: attack or measure the first N test examples only; 0 takes all.
    """

    attack: NamedAttack = field(default_factory=lambda: NamedAttack("pgd:40"))
    limit: int = 0

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.limit < 0:
            raise ValueError(f"--limit was given as {self.limit}; give a count of 1 or more.")

    def evaluation(
        self,
        threat: NamedThreat,
        seed: int,
        *,
        restarts: int = 1,
        checks: bool = True,
        draws: int = 0,
        certify: str = "",
    ) -> Evaluation:
        """The evaluation.

        Args:
            threat: what the adversary may do.
            seed: random seed of every random start.
            restarts: random starts of each attack.
            checks: whether to look for gradient masking.
            draws: of a network that draws at random; 0 refuses one.
            certify: name of the bounds that certify images; empty for none.

        Raises:
            ValueError: there is no such attack.
        """
        return replace(
            self.attack.attacks.evaluation(threat.threat, str(threat)),
            limit=self.limit or None,
            check_limit=200 if checks else 0,
            restarts=restarts,
            draws=draws,
            seed=seed,
            certify=certify,
        )


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """What is measured of an image-to-image network besides its distances.

    Attributes:
        features: the .hbk of a classifier, on whose last hidden layer the perceptual and the
            Fréchet distance are measured; FILE.hbk:LAYER takes the output of another layer.
        cost_size: side in pixels of the square image that multiplications and latency are for; by
            default the size of the images.
        picture: draw input, dense net, small net and their difference for six images as this PNG.
    """

    features: str = ""
    cost_size: int = 0
    picture: Path | None = None

    def evaluation(self, seed: int, limit: int = 0) -> ImageEvaluation:
        """The evaluation.

        Args:
            seed: of the bootstrap.
            limit: measure the first so many images; 0 measures all.

        Raises:
            ValueError: features that cannot be used.
            OSError: a file that cannot be read.
        """
        from hauberk.evaluation import ImageEvaluation
        from hauberk.evaluation.image_file import read_features

        return ImageEvaluation(
            read_features(self.features) if self.features else None,
            limit=limit or None,
            seed=seed,
            cost_size=self.cost_size or None,
        )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Precision and compilation of a training.

    Attributes:
        precision: bf16-mixed trains in bfloat16 where that is safe (autocast); faster on GPUs, and
            on processors with AVX-512 BF16 or AMX.
        compiled: compile the network's kernels with torch.compile, which takes some minutes; for
            long runs on a GPU.
        tensorboard: also write TensorBoard events to the folder.
    """

    precision: Literal["32", "bf16-mixed"] = "32"
    compiled: bool = False
    tensorboard: bool = False


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Devices and machines of a training.

    Attributes:
        device: cpu, cuda or cuda:1; by default CUDA where there is any.
        devices: processes of this machine that split each batch, one for each GPU; their number
            does not change the result. torchrun -m hauberk train … does the same.
        nodes: machines that split each batch; give the same command on each.
        head: HOST:PORT of one of these machines, where they meet.
    """

    device: NamedDevice | None = None
    devices: int = 1
    nodes: int = 1
    head: str = ""
