"""The tables of speed, memory and file size, each from one record in ``benchmarks``."""

from __future__ import annotations

from table_text import Table, number, percent, results, table

_LAYOUT = {"caffe-lenet": "`caffe-lenet`, MNIST", "resnet18": "ResNet-18, CIFAR-10"}
_PEERS = ("foolbox", "torchattacks", "adversarial-robustness-toolbox")
_STEP = {
    "DA": "dense",
    "AL0": "AL0",
    "ATMC": "ATMC, falling budget",
    "ATMC codebook": "ATMC, codebook",
    "ATMC UVC": "ATMC, U V + C",
    "ADMM": "ADMM, filters",
}


def attack() -> str:
    """PGD-40 against other libraries."""
    found = results("speed/attack")
    versions = found["peers"]
    rows = []
    for net, name in _LAYOUT.items():
        ends, verdict = found[net]["to the end"], found[net]["verdict"]
        limit = number(ends["hauberk_over_limit"])
        rows.append([name, "hauberk over K input gradients", limit, "–"])
        for peer in _PEERS:
            ratios = (part["peer_over_hauberk"][peer] for part in (ends, verdict))
            rows.append([name, f"{peer} {versions[peer]} over hauberk", *map(number, ratios)])
    return table(["network", "ratio", "every step", "verdict only"], rows, words=2)


def step() -> str:
    """A training step over a bare PGD-10 loop."""
    found = results("speed/step")
    sizes = ("430 K", "11 M", "21 M")
    return table(
        ["method", *(f"{size} weights" for size in sizes), "target"],
        (
            [
                name,
                *(number(found[size]["over_bare"][key]) for size in sizes),
                number(found[sizes[0]]["target"][key]),
            ]
            for key, name in _STEP.items()
        ),
    )


def memory() -> str:
    """Peak memory of a training above the bare loop's."""
    found = results("speed/memory")
    sizes = ("11 M", "21 M")
    return table(
        ["method", *(f"{size} weights" for size in sizes)],
        (
            [name, *(number(found[size]["over_trained"][key]) for size in sizes)]
            for key, name in _STEP.items()
        ),
    )


def growth() -> str:
    """Nanoseconds a weight of each projection, and how they grow."""
    found = results("speed/growth")
    names = {
        "copy": "copy",
        "l0": "global ℓ0, 2% kept",
        "torch.topk": "`torch.topk` and a mask",
        "filter": "filters",
        "column": "columns, by layer",
        "codebook": "codebook, 16 values",
        "N × K Lloyd": "Lloyd on N × 16, 20 rounds",
        "byte budget": "byte budget",
    }
    sizes = list(found["sizes"])
    return table(
        ["projection, ns a weight", *sizes, "growth exponent"],
        (
            [
                name,
                *(number(found["sizes"][size]["nanoseconds_a_weight"][key]) for size in sizes),
                number(found["growth_exponent"][key]),
            ]
            for key, name in names.items()
        ),
    )


def evaluation() -> str:
    """AutoAttack here and in the authors' code."""
    found = results("speed/evaluation")
    speed, robust = found["images_per_s"], found["robust_accuracy"]
    return table(
        ["code", "images a second", "robust %"],
        (
            [name, number(speed[key]), percent(robust[key])]
            for key, name in {"hauberk": "hauberk", "official": "the authors' code"}.items()
        ),
    )


def time_to_robust() -> str:
    """Training time against AutoAttack."""
    names = {
        "PGD-7": "PGD-7, signed steps, random start",
        "N-FGSM": "N-FGSM",
        "one soft step, going on": "`--attack-steps 1 --reuse`",
        "two soft steps, going on": "`--attack-steps 2 --reuse`",
    }
    found = results("speed/robustness")["rows"]
    return table(
        ["training attack", "8 epochs: s", "AutoAttack %", "16 epochs: s", "AutoAttack %"],
        (
            [
                name,
                *(
                    cell
                    for run in found[key]
                    for cell in (f"{run['seconds']:.0f}", f"{run['autoattack']:.1f}")
                ),
            ]
            for key, name in names.items()
        ),
    )


def onnx_latency() -> str:
    """ResNet-18 in ONNX Runtime."""
    found = results("onnx_latency")
    batches = [found["latency"][f"batch{size}"] for size in (1, 64)]
    names = {"float32": "float32", "compact": "`--format onnx`", "int8": "`--format onnx-int8`"}
    return table(
        ["file", "bytes", "batch 1, ms", "ratio", "batch 64, ms", "ratio"],
        (
            [
                name,
                f"{found['bytes'][key]:,}",
                *(
                    number(batch[part][key])
                    for batch in batches
                    for part in ("median_ms", "ratio_to_float32")
                ),
            ]
            for key, name in names.items()
        ),
    )


def shrink_latency() -> str:
    """What a thinner ResNet-18 gains."""
    keys = [f"{where} batch{size}" for where in ("torch", "onnxruntime") for size in (1, 64)]
    heads = [key.replace("batch", "batch ") for key in keys]
    return table(
        ["ResNet-18", "MACs left %", *(f"speed-up, {head}" for head in heads)],
        (
            [row["net"], percent(row["share_of_macs"]), *(number(row["speedup"][k]) for k in keys)]
            for row in results("shrink_latency")["rows"]
        ),
    )


def int8_agreement() -> str:
    """What eight bits change."""
    return table(
        ["data", "images", "largest difference, in int8 steps", "same answer %", "clean float32 %",
         "clean int8 %"],
        (
            [
                name,
                f"{row['test_images']:,}",
                number(row["in_steps_of_eight_bits"]),
                percent(row["same_answer"], 2),
                percent(row["clean_accuracy"]["float32"], 2),
                percent(row["clean_accuracy"]["int8"], 2),
            ]
            for name, row in results("int8_agreement").items()
        ),
    )  # fmt: skip


def file_size() -> str:
    """The file against its entropy and against general-purpose compressors."""
    heads = ["network", "kept %", "bytes", "positions over entropy %", "codes over entropy %"]
    return table(
        [*heads, "zip", "xz"],
        (
            [
                row["net"].replace("runs/atmc_mnist/ATMC-4bit/model.hbk", "ATMC, 4 bits"),
                percent(row["kept"] / row["weights"]),
                f"{row['bytes']:,}",
                *(percent(row[f"{part}_over_entropy"], 2) for part in ("position", "code")),
                f"{row['zip']:,}",
                f"{row['xz']:,}",
            ]
            for row in results("file_size")["rows"]
            if row["kept"] < row["weights"]
        ),
    )


TABLES: dict[str, Table] = {
    "attack": attack,
    "step": step,
    "memory": memory,
    "growth": growth,
    "evaluation": evaluation,
    "time-to-robust": time_to_robust,
    "onnx-latency": onnx_latency,
    "shrink-latency": shrink_latency,
    "int8-agreement": int8_agreement,
    "file-size": file_size,
}
