"""A run as a file: what it says, what overrides it, what reproduces it."""

from __future__ import annotations

import tomllib
import warnings
from pathlib import Path

import pytest
from tests.helpers.command import refused, run

from hauberk.cli import run_file
from hauberk.cli.flags import number
from hauberk.cli.run_spec import RunSpec
from hauberk.methods import ATMC, DA

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read(path: Path) -> None:
    text = path.read_text()
    read = RunSpec.parse(["compress", str(path)]).settings()
    for key, value in tomllib.loads(text).items():
        if key == "verb":
            assert value == "compress"
        elif isinstance(value, str) and value.endswith("%"):
            assert read[key] == number(value)
        else:
            assert read[key] == value


def test_there_are_examples_of_both_kinds() -> None:
    assert len(EXAMPLES) == 6


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'data = "digits"\nthreat = "linf:8/255"\nkeep = "1%"\nreuse = true\nhalf = false\n'
        'exclude = ["head", "stem.*"]\nlr = 1e-3\nbatch-size = 7\nmodel = "digits-cnn"\n'
        f'out = "{tmp_path}/ä \\"b\\""\n'
    )
    first = RunSpec.parse(["compress", str(path)])
    assert isinstance(first.method, ATMC)
    found = first.settings()
    assert found["keep"] == 0.01 and found["exclude"] == ["head", "stem.*"]
    assert found["reuse"] is True and found["half"] is False and found["batch_size"] == 7
    first.save()
    left = first.out / run_file.NAME
    assert RunSpec.parse(["compress", str(left)]) == first
    assert RunSpec.from_toml(left.read_text()) == first == RunSpec.from_toml(path.read_text())
    assert tomllib.loads(left.read_text())["verb"] == "compress"


@pytest.mark.slow
def test_flags_override_and_the_resolved_file_reproduces_the_run(
    start: Path, tmp_path: Path
) -> None:
    path, outs = tmp_path / "a.toml", [tmp_path / "one", tmp_path / "two"]
    path.write_text(
        f'data = "{start / "few.npz"}"\nthreat = "linf:0.1"\nmodel = "digits-cnn"\n'
        'method = "ap"\nkeep = "5%"\n'
        'epochs = 9\ndense-epochs = 1\nattack-steps = 1\nattack = "fgsm"\nlimit = 10\n'
    )
    run("compress", str(path), "--epochs", "1", "--out", str(outs[0]))
    resolved = outs[0] / run_file.NAME
    assert tomllib.loads(resolved.read_text())["epochs"] == 1
    run("compress", str(resolved), "--out", str(outs[1]))
    first, second = ((out / "model.hbk").read_bytes() for out in outs)
    assert first == second


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('epoch = 3\ndata = "digits"\nthreat = "linf:0.1"', "no flag; did you mean epochs?"),
        ("zzzzz = 3", "which is no flag; give one of"),
        ("settings = 3", "'settings', which is no flag"),
        ("epochs = ", "is not TOML"),
        ("[method]\nkeep = 1", "give text, a number"),
        ('verb = "train"', "is for hauberk train"),
        ('data = "digits"\nthreat = "linf:0.1"\nmodel = "digits-cnn"\nepochs = "many"', "epochs"),
        ('method = "magic"', "There is no method 'magic'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert sentence in refused(capsys, "compress", str(tmp_path / "a.toml"))


def test_a_missing_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refused(capsys, "train", "nowhere.toml")


def test_training_takes_one_too(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('verb = "train"\nq = 0.2\ndata = "digits"\nmodel = "vgg16"\nthreat = "l2:1"')
    spec = RunSpec.parse(["train", str(path)])
    assert spec == RunSpec.from_toml(path.read_text())
    assert (
        isinstance(spec.method, DA)
        and spec.settings()["q"] == 0.2
        and str(spec.out) == "runs/train"
    )


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('model = "mine.nets:net"', "mine.nets:net"),
        ('threat = "linf:0.1+own:Ball"', "own:Ball"),
        ('methods = ["atmc", "own:Method"]', "own:Method"),
        ('data = "hub:owner/name"', ""),
        ('threat = "linf:8/255"', ""),
    ],
)
def test_code_that_a_file_names_is_said(line: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(line)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_file.read(tmp_path / "run.toml", "train")
    assert [named in str(w.message) and "names code" in str(w.message) for w in caught] == (
        [True] if named else []
    )


@pytest.mark.parametrize(
    "content",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        "a = " + "9" * 5000,
        "a." * 5000 + "b = 1",
        "a = 1\x00",
        "[",
    ],
)
def test_what_is_no_toml_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(content)
    with pytest.raises(ValueError, match="is not TOML") as caught:
        run_file.read(tmp_path / "run.toml", "train")
    assert "\n" not in str(caught.value)
