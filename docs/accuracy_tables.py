"""The tables of accuracy and robustness, each from one record in ``benchmarks/results``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from table_text import (
    Table,
    finished,
    interval,
    percent,
    results,
    span,
    spread,
    table,
    title,
)

README_ROWS = {
    "dense": "dense",
    "AP, seed 0": "one-shot pruning",
    "AL0, seed 0": "AL0",
    "ATMC, seed 0": "ATMC",
    "sized, seed 0": "size target",
}
"""Of `methods_mnist.json`: the rows of the README, all of seed 0."""

_PGD100 = "pgd:100 (2 starts)"
_NORMS = ("linf:0.2", "l2:2.0", "l1:12.0")


def readme() -> str:
    """Five rows of the comparison at equal bytes: one seed, one protocol for each column."""
    rows = finished("methods_mnist")
    head = ["MNIST, ℓ∞ 0.2", "bytes", "of float32", "clean %", "AutoAttack % (95% interval)"]
    return table(
        head,
        (
            [
                name,
                f"{rows[key]['bytes']:,}",
                _ratio(rows[key]["ratio"]),
                percent(rows[key]["clean_split"]["accuracy"]),
                interval(rows[key]["attacks"]["autoattack"]),
            ]
            for key, name in README_ROWS.items()
        ),
    )


def _ratio(value: float) -> str:
    return f"{100 * value:.{0 if value > 0.1 else 2}f}%"


def methods() -> str:
    """Every method at half a percent of the bytes."""
    found = results("methods_mnist")["over_seeds"]
    dense = finished("methods_mnist")
    head = ["row", "seeds", "bytes", "clean %", "PGD-40 %", "AutoAttack %", "training s"]
    return table(head, [*_dense(dense), *(_method(name, row) for name, row in found.items())])


def _dense(rows: dict[str, Any]) -> Iterator[list[str]]:
    for name in ("dense", "dense, second sitting"):
        row = rows[name]
        attacks = (row["attacks"][attack]["accuracy"] for attack in ("pgd:40", "autoattack"))
        accuracies = map(percent, (row["clean_split"]["accuracy"], *attacks))
        yield [title(name), "1", f"{row['bytes']:,}", *accuracies, f"{row['train_seconds']:,}"]


def _method(name: str, row: dict[str, Any]) -> list[str]:
    accuracies = (row["clean"], row["attacks"]["pgd:40"], row["attacks"]["autoattack"])
    count, sizes = str(len(row["bytes"])), span(row["bytes"])
    return [title(name), count, sizes, *map(spread, accuracies), span(row["train_seconds"])]


def cuts() -> str:
    """PGD-40 after pruning and after retraining, by the way to the cut."""
    found = results("reweighted_mnist")["over_seeds"]
    moments = [f"{cut}, {when}" for cut in ("90%", "97%") for when in ("cut", "retrained")]
    ways = {
        "one-shot": "one-shot magnitude",
        "static": "static penalty",
        "reweighted": "reweighted penalty",
        "admm": "ADMM",
    }
    heads = [moment.replace("cut", "pruned") for moment in moments]
    return table(
        ["way to the mask", *heads],
        (
            [name, *(spread(found[f"{way} {moment}"]) for moment in moments)]
            for way, name in ways.items()
        ),
    )


def cut_dense() -> str:
    """The dense nets that the pruned ones start from."""
    found = results("reweighted_mnist")["over_seeds"]["DA"]
    return table(["", "PGD-40 %"], [["dense, three seeds", spread(found)]])


def widths() -> str:
    """Narrow networks pruned out of wide ones, and trained from scratch."""
    head = ["row", "bytes", "epochs", "training s", "clean %", "PGD-40 %", "AutoAttack %"]
    rows = finished("admm_mnist").values()
    return table([*head, "black-box check"], (_width(row) for row in rows))


def _width(row: dict[str, Any]) -> list[str]:
    return [
        title(row["name"]),
        f"{row['bytes']:,}",
        str(row["epochs"]),
        f"{row['train_seconds']:,}",
        percent(row["clean_split"]["accuracy"]),
        percent(row["attacks"]["pgd:40"]["accuracy"]),
        interval(row["attacks"]["autoattack"]),
        _black_box(row),
    ]


def _black_box(row: dict[str, Any]) -> str:
    check = row["checks"]["black_box"]
    return f"{'passed' if check['passed'] else 'failed'}, {percent(check['values']['broken'])}"


_LADDER = ("DA, first leg", "DA", "ATMC-4bit", "ATMC-8bit", "AL0", "AP", "ALR", "NAP")
_SIZES = ("ATMC-4bit-0.5%", "ATMC-4bit", "ATMC-4bit-2%")


def ladder() -> str:
    """The ATMC paper's comparison at a hundredth of the bytes."""
    return _ladder(_LADDER)


def ladder_sizes() -> str:
    """ATMC at half, one and two percent of the bytes."""
    return _ladder(_SIZES)


def _ladder(names: tuple[str, ...]) -> str:
    rows = finished("atmc_mnist")
    head = ["row", "bytes", "clean %", "PGD-100 %", "AutoAttack %", "black-box check"]
    return table(
        [*head, "training s"],
        (
            [
                title(name),
                f"{rows[name]['bytes']:,}",
                percent(rows[name]["clean_split"]["accuracy"]),
                percent(rows[name]["attacks"][_PGD100]["accuracy"]),
                interval(rows[name]["attacks"]["autoattack"]),
                _black_box(rows[name]),
                _seconds(rows[name]["train_seconds"]),
            ]
            for name in names
        ),
    )


def _seconds(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def byte_budget() -> str:
    """A byte budget against one setting for all layers."""
    return _caffe("byte_budget_mnist")


def teacher() -> str:
    """A teacher where the labels have a saturating loss."""
    return _caffe("teacher_mnist")


def _caffe(record: str) -> str:
    head = ["row", "seeds", "bytes", "clean %", "PGD-100 %", "AutoAttack %"]
    found = results(record)["over_seeds"]
    return table(
        head,
        (
            [
                title(name),
                str(len(row["bytes"])),
                span(row["bytes"]),
                spread(row["clean"]),
                *(spread(row["attacks"][attack]) for attack in (_PGD100, "autoattack")),
            ]
            for name, row in found.items()
        ),
    )


def teacher_small() -> str:
    """A teacher on a network that loses robustness at this size."""
    found = results("teacher_small_mnist")["over_seeds"]
    head = ["row", "seeds", "bytes", "clean %", "PGD-40 %", "AutoAttack %"]
    return table(head, (_method(name, row)[:-1] for name, row in found.items()))


def robustness_targets_digits() -> str:
    """Files for a required robustness, and for required sizes, on digits."""
    return _targets("required_robustness_digits")


def robustness_targets_mnist() -> str:
    """The same on MNIST."""
    return _targets("required_robustness_mnist")


def _targets(record: str) -> str:
    head = ["asked for", "bytes", "clean %", "PGD-40 %", "epochs", "training s"]
    return table(
        head,
        (
            [
                _asked(name),
                f"{row['bytes']:,}",
                percent(row["clean"]["accuracy"]),
                interval(row["robust"]),
                str(row["epochs"]),
                _seconds(row["train_seconds"]),
            ]
            for name, row in finished(record).items()
        ),
    )


def _asked(name: str) -> str:
    kind, _, amount = name.rpartition(" ")
    if kind == "size":
        return f"`--size {amount}`"
    return f"`--robust-at-least {amount}`" if kind == "at least" else title(name)


def threats() -> str:
    """One network against three threats at once."""
    found = results("min_max_mnist")["over_seeds"]
    head = ["trained on", "clean %", "ℓ∞ %", "ℓ2 %", "ℓ1 %", "all %", "all, AutoAttack %"]
    norms = [*_NORMS, "union"]
    return table(
        head,
        (
            [
                name.replace("linf", "ℓ∞").replace("l2", "ℓ2").replace("l1", "ℓ1"),
                spread(row["clean"]),
                *(spread(row["pgd:40"][norm]) for norm in norms),
                spread(row["autoattack"]["union"]),
            ]
            for name, row in found.items()
        ),
    )


def ensembles() -> str:
    """One perturbed image against five networks."""
    found = results("min_max_mnist")
    rows = [
        [kind, loss, weights, *(percent(each[f"{norm}, {loss}"][weights]) for norm in _NORMS)]
        for kind in ("robust", "natural")
        for each in [found[f"{kind} ensemble"]]
        for loss in ("cross-entropy", "margin")
        for weights in each[f"{_NORMS[0]}, {loss}"]
        if weights != "ahead"
    ]
    return table(["nets", "loss", "weights", "ℓ∞ %", "ℓ2 %", "ℓ1 %"], rows, words=3)


def random_start() -> str:
    """Where the training attack starts."""
    names = {"from random": "a random point of the threat", "from clean": "the clean image"}
    found = results("random_start_mnist")["over_seeds"]
    rows = finished("random_start_mnist")
    return table(
        ["the training attack starts at", "clean %", "PGD-40 %", "by seed"],
        (
            [
                title,
                spread(found[name]["clean"]),
                spread(found[name]["attacks"]["pgd:40"]),
                ", ".join(
                    percent(rows[f"{name}, seed {seed}"]["robust"]["accuracy"])
                    for seed in (0, 1, 2)
                ),
            ]
            for name, title in names.items()
        ),
    )


TABLES: dict[str, Table] = {
    "readme": readme,
    "methods": methods,
    "cuts": cuts,
    "cut-dense": cut_dense,
    "widths": widths,
    "ladder": ladder,
    "ladder-sizes": ladder_sizes,
    "byte-budget": byte_budget,
    "teacher": teacher,
    "teacher-small": teacher_small,
    "robustness-targets-digits": robustness_targets_digits,
    "robustness-targets-mnist": robustness_targets_mnist,
    "threats": threats,
    "ensembles": ensembles,
    "random-start": random_start,
}
