"""A run as a file: what it says, what overrides it, what reproduces it."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.helpers.command import refused, run

from hauberk.cli import resolve, run_file
from hauberk.cli.flags import Compress
from hauberk.cli.parsing import parse, with_method
from hauberk.methods import ATMC, DA

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "configs").glob("*.toml"))


def settings(path: Path, verb: str = "compress", method: type = ATMC) -> object:
    both = with_method(Compress, method)
    return parse(both, verb, run_file.words(run_file.read(path, verb), both, path))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read(path: Path) -> None:
    found = run_file.read(path, "compress")
    flags = settings(path, method=resolve.method(str(found["method"])))
    for key, value in found.items():
        owner = flags if hasattr(flags, key) else flags.settings
        given = str(value).rstrip("%")
        read = getattr(owner, key)
        assert str(read).startswith(given) or read == float(given) / 100


def test_there_are_examples_of_both_kinds() -> None:
    assert len(EXAMPLES) == 6


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        'data = "digits"\nthreat = "linf:8/255"\nkeep = "1%"\nreuse = true\nhalf = false\n'
        'exclude = ["head", "stem.*"]\nlr = 1e-3\nout = "runs/ä \\"b\\""\nbatch-size = 7\n'
    )
    first = settings(path)
    assert first.settings.keep == 0.01 and first.settings.exclude == ("head", "stem.*")
    assert first.settings.reuse and not first.settings.half and first.settings.batch_size == 7
    run_file.save(tmp_path, "compress", first)
    assert asdict(settings(tmp_path / run_file.NAME)) == asdict(first)
    assert tomllib.loads((tmp_path / run_file.NAME).read_text())["verb"] == "compress"


@pytest.mark.usefixtures("quick_checks")
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
        ("epochs = ", "is no TOML"),
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
    (tmp_path / "a.toml").write_text('verb = "train"\nq = 0.2\ndata = "digits"\nthreat = "l2:1"')
    assert settings(tmp_path / "a.toml", "train", DA).settings.q == 0.2
