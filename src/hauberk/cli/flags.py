"""The flags of each verb, and how words become them.

A method's frozen dataclass is its flags: `with_method` joins it to the verb's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Train a robust net on digits, compress it with ATMC, ship a file and prove it.

    Attributes:
        out: folder for the files, the report and the picture.
        seed: of every shuffle and random start.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    out: Path = Path("runs/demo")
    seed: int = 0
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every training verb takes.

    Attributes:
        data: digits, an .npz file with x and y, a parquet file (or the common prefix of
            X-train.parquet and X-test.parquet), a folder of images: train/<class>/*.png beside
            val and test, or <class>/*.png, hub:owner/name of the Hugging Face Hub, or
            package.module:function, which gives torch Datasets.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, l2:0.5, l1:12; or
            one of several, at its choice: linf:0.2+l2:2+l1:12.
        model: digits-cnn, caffe-lenet, lenet:8, vgg16, resnet18:8, resnet34 (width after the
            colon, 16 is the full one) or wrn:28,10 (depth, width); or your own,
            package.module:function, from the current directory or installed: the function takes
            nothing and returns a torch module for images in [0, 1].
        out: folder for the file, checkpoints, logs, report and picture.
        attack: the attack that the report shows: pgd:40, fgsm or autoattack.
        limit: attack only the first so many test examples.
        on_error: what a corrupt image does: stop names it and ends, skip leaves it out and says
            how many there were.
        memory: what the data's pixels may take in the memory of a process, such as 4GB or 25% of
            what is free; by default half of it, shared by the processes of this machine. What does
            not fit is decoded once into a nameless file in TMPDIR (else /var/tmp) and streamed from
            there, to the same results.
        seed: of every shuffle and random start.
        resume: go on from the folder's checkpoint where there is one.
        device: cpu, cuda or cuda:1; by default CUDA where there is any.
        devices: processes of this machine that share each batch, one for each GPU; their number
            does not change the run. torchrun -m hauberk train … does the same.
        nodes: machines that share each batch; give the same command on each.
        head: HOST:PORT of one of these machines, where they meet.
        precision: bf16-mixed trains in bfloat16 where that is safe (autocast); faster on GPUs, and
            on processors that have AVX-512 BF16 or AMX.
        compiled: let torch.compile make kernels of the network, after some minutes; for long runs
            on a GPU.
        tensorboard: also write TensorBoard events to the folder.
        json: print the report as one JSON object on stdout, and nothing else there.
    """

    data: str
    threat: str
    model: str = ""
    out: Path = Path()
    attack: str = "pgd:40"
    limit: int = 0
    on_error: Literal["stop", "skip"] = "stop"
    memory: str = ""
    seed: int = 0
    resume: bool = False
    device: str = ""
    devices: int = 1
    nodes: int = 1
    head: str = ""
    precision: Literal["32", "bf16-mixed"] = "32"
    compiled: bool = False
    tensorboard: bool = False
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Train a dense, adversarially robust network and write it as a file.

    hauberk train run.toml takes these flags from a file, and those that follow it; every run leaves
    such a run.toml beside its results, which reproduces it.

    Attributes:
        out: folder for the file, checkpoints, logs, report and picture.
    """

    out: Path = Path("runs/train")


@dataclass(frozen=True, kw_only=True)
class Compress(Common):
    """Make a network small while it stays robust, and prove it on the file that ships.

    hauberk compress run.toml takes these flags from a file, and those that follow it; every run
    leaves such a run.toml beside its results, which reproduces it.

    Attributes:
        method: atmc, sized (the one for --size), constrained (the one for --robust-at-least), admm,
            reweighted, al0, alr, ap, nap, int8, min-max or da; its own flags are listed below.
        from_: the trained net to start from: an .hbk file, or plain weights of --model, as
            .safetensors or as a state_dict in .pt; without it a dense net is trained first.
        out: folder for the file, checkpoints, logs, report and picture.
    """

    method: str = "atmc"
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    out: Path = Path("runs/compress")


@dataclass(frozen=True, kw_only=True)
class Sweep(Common):
    """Compress in many ways, methods × sizes × seeds, and put every run into one table.

    Every flag of the methods may be given, too (hauberk compress --method NAME --help shows them):
    it reaches those that have it. --atmc.keep 8% is for atmc alone. Several values, separated by
    commas, make a run for each combination: --bits 3,4. So does a file, hauberk sweep run.toml,
    where [atmc] begins the settings of atmc.

    Each run is a folder in --out, as compress leaves it. A run that fails stays in the table, with
    its sentence, and the others go on; the command ends with 0 if any run succeeded, else with 2.
    With --resume, runs whose row is in the table are not done again (delete a run's folder to have
    it done again), and the one that was under way goes on from its checkpoint.

    Attributes:
        methods: atmc, sized, constrained, admm, al0, alr, ap, nap, int8, min-max or da, separated
            by commas.
        sizes: --size for sized; for methods that have --keep, the share of the weights that is
            kept, which is not yet a size: the table shows the bytes of each file. Methods with
            neither (alr, int8, da) make one run whatever the sizes.
        seeds: of every shuffle and random start, a run for each.
        from_: the trained net that all start from: an .hbk file, or plain weights of --model, as
            .safetensors or as a state_dict in .pt; without it every run trains its own first.
        out: folder for sweep.csv, sweep.json, tradeoff.png, and a folder for each run.
        resume: go on where the sweep in the folder stopped; without it, all runs start anew.
        ray: run on Ray, as many at a time as it has room for: --ray alone starts a cluster on this
            machine, --ray auto or --ray HOST:PORT joins one, whose machines share these folders.
        threads: torch threads of a run, and processors that it takes on Ray; by default torch's own
            choice here, 1 on Ray.
        json: print the table as one JSON object on stdout, and nothing else there.
    """

    methods: tuple[str, ...]
    sizes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    out: Path = Path("runs/sweep")
    ray: str = ""
    threads: int = 0
    seed: tyro.conf.Suppress[int] = 0  # there are seeds


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Prove a file: what it weighs, what it knows, what it withstands, how fast it is.

    An .onnx that hauberk exported is asked and timed in ONNX Runtime; it is robust where it
    withstands the attack, what is transferred from the --dense net, and Square, with 1,000 queries.

    Attributes:
        file: an .hbk file, or an .onnx file that hauberk exported.
        data: as for train; the test split is attacked.
        threat: what the adversary may do, in pixel units of [0, 1]: linf:8/255, l2:0.5, l1:12; or
            one of several, at its choice: linf:0.2+l2:2+l1:12.
        attack: pgd:STEPS, fgsm or autoattack.
        limit: attack only the first so many test examples.
        restarts: random starts of PGD; an example counts as robust if it withstands all.
        dense: the dense net (an .hbk, or plain weights of --model), from which attacks are
            transferred, as a check; on an .onnx they also count.
        model: your own network, package.module:function, where the file names none.
        checks: look for gradient masking, on up to 200 examples.
        on_error: what a corrupt image does: stop or skip.
        memory: what the data's pixels may take in memory, as for train.
        seed: of every random start.
        device: cpu, cuda or cuda:1; by default CUDA where there is any.
        json: print one JSON object on stdout, and nothing else there.
    """

    file: tyro.conf.Positional[Path]
    data: str
    threat: str
    attack: str = "pgd:40"
    limit: int = 0
    restarts: int = 1
    dense: str = ""
    model: str = ""
    checks: bool = True
    on_error: Literal["stop", "skip"] = "stop"
    memory: str = ""
    seed: int = 0
    device: str = ""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a shipped file in a format that other runtimes read, once it computes the same there.

    The .onnx takes batches of any size, holds its weights and needs only standard operators.
    Codebooks and pruned weights stay small in it, and become dense when a runtime loads it.
    hauberk evaluate attacks it: the answers come from ONNX Runtime, the gradients from its graph
    in torch.

    Attributes:
        file: an .hbk file.
        format: onnx (float32), or onnx-int8, which computes in eight bits and is faster where the
            processor multiplies them; pip install 'hauberk[onnx]' is needed for both.
        data: for onnx-int8: what the network was trained on, as for train; the first 1,000 training
            images show what range each activation needs.
        model: your own network, package.module:function, where the file names none.
        out: where to write; by default beside the file, model.hbk as model.onnx or as
            model-int8.onnx.
        json: print one JSON object on stdout, and nothing else there.
    """

    file: tyro.conf.Positional[Path]
    format: str = "onnx"
    data: str = ""
    model: str = ""
    out: str = ""
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class Inspect:
    """Show what a file holds, layer by layer.

    Attributes:
        file: an .hbk file.
        json: print one JSON object on stdout, and nothing else there.
        picture: draw a bar for each layer, split into positions, values and codebook, as this PNG.
    """

    file: tyro.conf.Positional[Path]
    json: bool = False
    picture: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show what data hold: shapes, classes, how many images each has in every split.

    Attributes:
        data: as --data of train.
        on_error: what a corrupt image does: stop or skip.
        memory: what the data's pixels may take in memory, as for train.
        picture: draw a few images of each class as this PNG.
        each: how many images of each class the picture has.
        json: print one JSON object on stdout, and nothing else there.
    """

    data: tyro.conf.Positional[str]
    on_error: Literal["stop", "skip"] = "stop"
    memory: str = ""
    picture: Path | None = None
    each: int = 10
    json: bool = False
