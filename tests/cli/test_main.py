"""The command as a person meets it: what it prints, what it writes, how it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tests.helpers.command import FAST, refused, run

import hauberk as hb
from hauberk.cli.flags import number
from hauberk.cli.help import example
from hauberk.cli.run_spec import RunSpec


def test_help_is_quick_and_teaches() -> None:
    code = (
        "import sys; from hauberk.cli import main as cli; "
        "cli.main(['--help']); print('torch' in sys.modules)"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert text.stdout.endswith("False\n")
    for verb in ("demo", "train", "compress", "sweep", "evaluate", "inspect", "export", "data"):
        assert f"hauberk {verb}" in text.stdout


@pytest.mark.parametrize(
    "verb", ["demo", "train", "compress", "sweep", "evaluate", "inspect", "export", "data"]
)
def test_each_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(verb, "--help")
    text = capsys.readouterr().out
    assert f"hauberk {verb}" in text and "--json" in text
    assert example(verb) in text


@pytest.mark.parametrize("width", [70, 100])
def test_help_names_what_is_needed_first_at_the_terminals_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    run("compress", "--help")
    text = capsys.readouterr().out
    places = [text.index(f"\n  --{name} ") for name in ("data", "model", "from", "threat", "size")]
    assert places == sorted(places) and places[-1] < text.index("\nmethod atmc:")
    assert "It chooses --method size-target" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width


def test_the_method_s_fields_are_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    run("compress", "--method", "alr", "--help")
    assert "--rank" in capsys.readouterr().out
    run("compress", "--help")
    assert "--bits" in capsys.readouterr().out


def test_compress_leaves_a_whole_run_folder(shipped: Path) -> None:
    for name in ("model.hbk", "rows/dense.hbk", "report.json", "report.md", "tradeoff.png",
                 "metrics.csv"):  # fmt: skip
        assert (shipped / name).stat().st_size > 0, name
    assert not list(shipped.glob(".*"))
    report = json.loads((shipped / "report.json").read_text())
    assert [row["name"] for row in report["rows"]] == ["dense", "ATMC"]
    ours = report["rows"][1]
    assert ours["bytes"] == (shipped / "model.hbk").stat().st_size
    assert ours["ratio"] == ours["bytes"] / ours["dense_bytes"] < 0.05
    assert report["provenance"]["seed"] == 1


def test_evaluate_prints_one_json_object(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", str(shipped / "model.hbk"), *FAST, "--attack", "pgd:3", "--limit", "30",
        "--json")  # fmt: skip
    out, _ = capsys.readouterr()
    row = json.loads(out)
    wanted = {"file", "bytes", "dense_bytes", "ratio", "threat", "attack", "n", "clean", "robust",
              "latency_ms", "checks"}  # fmt: skip
    assert wanted <= set(row)
    assert row["n"] == 30 and row["threat"] == "linf:0.1" and row["attack"] == "pgd:3 + checks"
    low, high = row["robust"]["ci95"]
    assert 0 <= low <= row["robust"]["accuracy"] <= high <= 1
    assert row["robust"]["accuracy"] <= row["clean"]["accuracy"]


def test_inspect_counts_every_byte(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("inspect", str(shipped / "model.hbk"), "--json")
    view = json.loads(capsys.readouterr().out)
    assert view["bytes"] == (shipped / "model.hbk").stat().st_size
    assert sum(x["nbytes"] for x in view["layers"]) + view["overhead_bytes"] == view["bytes"]
    assert sum(x["kept"] for x in view["layers"] if x["name"].endswith("weight")) <= 0.03 * 141_930
    for x in view["layers"]:
        parts = x["position_bytes"] + x["code_bytes"] + x["codebook_bytes"]
        assert abs(parts - x["nbytes"]) <= 0.5
        least = x["position_entropy"] + x["code_entropy"] + x["codebook_bytes"]
        assert x["over_entropy"] == pytest.approx(parts / least - 1)
    conv = next(x for x in view["layers"] if x["name"] == "conv2.weight")
    assert 0 < conv["over_entropy"] < 0.2
    run("inspect", str(shipped / "model.hbk"))
    shown = capsys.readouterr().out
    assert "conv1.weight" in shown and "over entropy" in shown


def test_inspect_draws_what_it_shows(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("inspect", str(shipped / "model.hbk"), "--picture", str(tmp_path / "new" / "net.png"))
    assert "conv1.weight" in capsys.readouterr().out
    with Image.open(tmp_path / "new" / "net.png") as picture:
        assert picture.format == "PNG" and picture.width > 1000
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24) or ()}
    assert {(0, 114, 178), (230, 159, 0), (0, 158, 115)} <= colors  # positions, values, codebooks
    copy = tmp_path / "model.hbk"
    copy.write_bytes((shipped / "model.hbk").read_bytes())
    assert ".png" in refused(capsys, "inspect", str(copy), "--picture", str(copy))
    assert copy.read_bytes() == (shipped / "model.hbk").read_bytes()


def test_the_file_loads_as_a_plain_module(shipped: Path) -> None:
    net = hb.load(shipped / "model.hbk")
    assert not net.training
    assert not any("parametriz" in name for name, _ in net.named_modules())
    again = hb.load(shipped / "model.hbk", model=hb.models.build("digits-cnn", seed=9))
    assert all(
        (a == b).all()
        for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_percent_and_fraction_are_the_same_number() -> None:
    assert number("1%") == number("0.01") == 0.01 and number("2.5%") == 0.025
    base = ["compress", *FAST, "--model", "digits-cnn"]
    spec = RunSpec.parse([*base, "--keep=2.5%", "--out", "runs/1%", "--teacher", "5%"])
    found = spec.settings()
    assert (found["keep"], found["out"], found["teacher"]) == (0.025, "runs/1%", "5%")


BAD = {
    "verb": (["fly"], "no verb"),
    "data": (["train", "--data", "imagenet", "--model", "digits-cnn", "--threat", "linf:0.1"],
             "imagenet"),
    "model": (["train", "--data", "digits", "--model", "vgg-900", "--threat", "linf:0.1"],
              "vgg-900"),
    "no model": (["train", *FAST], "--model"),
    "method": (["compress", *FAST, "--model", "digits-cnn", "--method", "magic"], "magic"),
    "threat": (["train", "--data", "digits", "--model", "digits-cnn", "--threat", "linf"],
               "linf:8/255"),
    "threat zero": (["train", "--data", "digits", "--model", "digits-cnn", "--threat",
                     "linf:1/0"], "linf:8/255"),
    "eps above one": (["train", "--data", "digits", "--model", "digits-cnn", "--threat",
                       "linf:8"], "8"),
    "threat twice": (["train", "--data", "digits", "--model", "digits-cnn", "--threat",
                      "l2:1+l2:2"], "l2 2 times"),
    "threat nothing": (["train", "--data", "digits", "--model", "digits-cnn", "--threat",
                        "linf:0"], "give a positive radius"),
    "threat missing": (["train", "--data", "digits", "--model", "digits-cnn", "--threat",
                        "l2:1+"], "could not be read"),
    "threat of another norm": (["train", "--data", "digits", "--model", "digits-cnn", "--threat",
                                "linf:0.1+l7:2"], "could not be read"),
    "gamma": (["train", *FAST, "--model", "digits-cnn", "--gamma", "-1"], "gamma was given as -1"),
    "threats": (["train", *FAST, "--model", "digits-cnn", "--threat-weights", "x"],
                "min-max, average"),
    "keep": (["compress", *FAST, "--model", "digits-cnn", "--keep", "150%"], "1.5"),
    "keep zero": (["compress", *FAST, "--model", "digits-cnn", "--keep", "0"], "keep"),
    "bits": (["compress", *FAST, "--model", "digits-cnn", "--bits", "17"], "17"),
    "epochs": (["train", *FAST, "--model", "digits-cnn", "--epochs", "-3"], "-3"),
    "attack": (["train", *FAST, "--model", "digits-cnn", "--attack", "pgd:x"], "pgd:x"),
    "flag": (["train", *FAST, "--model", "digits-cnn", "--eppochs", "3"], "--eppochs"),
    "device": (["train", *FAST, "--model", "digits-cnn", "--device", "tpu"], "tpu"),
    "shape": (["train", *FAST, "--model", "caffe-lenet"], "1 × 8 × 8"),
    "missing file": (["inspect", "nowhere.hbk"], "nowhere.hbk"),
    "limit": (["train", *FAST, "--model", "digits-cnn", "--limit", "-1"], "-1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_gets_one_sentence(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, mention = BAD[case]
    assert mention in refused(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_files_are_refused(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (shipped / "model.hbk").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for name, content in {
        "empty": b"", "cut": whole[:-7], "bit": bytes(damaged), "foreign": b"PK\x03\x04" * 50,
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.hbk"
        path.write_bytes(content)
        assert name in refused(capsys, "evaluate", str(path), *FAST)
        refused(capsys, "inspect", str(path))


def test_bad_arrays_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = np.random.default_rng(0).random((40, 8, 8), np.float32), np.arange(40) % 10
    nan = x.copy()
    nan[3, 2, 2] = np.nan
    for name, arrays in {
        "nan": {"x": nan, "y": y}, "label": {"x": x, "y": y - 5}, "long": {"x": x, "y": y[:-1]},
    }.items():  # fmt: skip
        path = tmp_path / f"{name}.npz"
        np.savez(path, **arrays)
        words = ["train", "--data", str(path), "--model", "digits-cnn", "--threat", "linf:0.1"]
        refused(capsys, *words, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    words = ["train", *FAST, "--model", "digits-cnn", "--epochs", "1"]
    assert "file" in refused(capsys, *words, "--out", str(tmp_path / "file" / "out"))


@pytest.mark.slow
def test_a_network_of_one_s_own_from_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command alone: compress, evaluate, export; and what is said where it does not fit."""
    monkeypatch.chdir(tmp_path)
    Path("own_nets_here.py").write_text(
        "from torch import nn\n\n"
        "def build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), "
        "nn.Linear(32, 10))\n\n"
        "def other():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    net = hb.models.network("own_nets_here:build", seed=3)
    save_file(net.state_dict(), "weights.safetensors")
    start = ("--from", "weights.safetensors", *FAST, "--out", "run")
    build = ("--model", "own_nets_here:build")
    quick = ("--epochs", "1", "--codebook-epochs", "1", "--attack", "fgsm", "--limit", "20")
    run("compress", *build, *start, *quick, "--exclude", "3")
    rows = json.loads(Path("run/report.json").read_text())["rows"]
    assert rows[0]["bytes"] == Path("run/rows/dense.hbk").stat().st_size
    dense = hb.load("run/rows/dense.hbk", model=hb.models.network("own_nets_here:build"))
    assert torch.allclose(dense[1].weight, net[1].weight, rtol=1e-3, atol=1e-4)
    capsys.readouterr()
    evaluate = ("evaluate", "run/model.hbk", *FAST, "--attack", "fgsm", "--limit", "20", "--json")
    run(*evaluate, *build, "--dense", "weights.safetensors")
    assert json.loads(capsys.readouterr().out)["bytes"] == rows[1]["bytes"]
    assert "names no architecture" in refused(capsys, *evaluate)
    assert "does not fit the model" in refused(capsys, *evaluate, "--model", "own_nets_here:other")
    run("export", "run/model.hbk", *build)
    assert Path("run/model.onnx").stat().st_size > 0
    capsys.readouterr()
    assert "name the network" in refused(capsys, "compress", *start)
    sentence = refused(capsys, "compress", "--model", "own_nets_here:other", *start)
    assert "weights.safetensors does not fit the model" in sentence


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--eppochs", "3"], "compress has no flag --eppochs; did you mean --epochs? See hauberk"),
        (["--rank", "3"], "--rank is no flag of the method atmc; methods with it are alr."),
        (["--method", "sized"], "no method 'sized'; did you mean size-target? The methods are"),
        (["--method", "admm"], "no method 'admm'; did you mean admm-pruning?"),
        (["--method", "constrained"], "robustness-target"),
        (["--epochs"], "--epochs was given no value; give a whole number; see hauberk compress"),
        (["--reuse=yes"], "--reuse takes no value; give --reuse or --no-reuse; see hauberk"),
        (["--on-error", "stay"], "--on-error was given as stay; give one of stop, skip; see"),
        (["--size", "1%", "--robust-at-least", "90%"], "were both given"),
        (["loose"], "compress was given 'loose', which follows no flag"),
    ],
)
def test_what_does_not_fit_is_said_of_its_flag(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert sentence in refused(capsys, "compress", *words, *FAST, "--model", "digits-cnn")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["compress"],
            "compress was given no --data and no --threat; give --data digits --threat "
            "linf:8/255, for example; see hauberk compress --help.",
        ),
        (["inspect"], "inspect was given no file; give model.hbk, for example; see"),
        (["evaluate", "a.hbk", "--data", "digits"], "evaluate was given no --threat; give --thr"),
        (["data"], "data was given no data; give digits, for example; see hauberk data --help"),
        (
            ["sweep", "--data", "digits", "--threat", "linf:0.1"],
            "give --methods size-target,ap, for",
        ),
    ],
)
def test_what_is_missing_is_named_alone(
    capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert sentence in refused(capsys, *words)


@pytest.mark.parametrize(
    ("flag", "word", "wanted"),
    [
        ("--robust-at-least", "ninety", "a number, such as 0.9, or 90% of a whole"),
        ("--epochs", "2.5", "a whole number"),
        ("--seed", "''", "a whole number"),
    ],
)
def test_what_is_no_number_is_asked_for_as_one(
    capsys: pytest.CaptureFixture[str], flag: str, word: str, wanted: str
) -> None:
    words = ["--data", "digits", "--threat", "linf:0.1", "--model", "digits-cnn"]
    sentence = refused(capsys, "compress", *words, flag, word)
    assert f"{flag} was given as {word}; give {wanted}; see hauberk compress --help." in sentence
