"""Every Python snippet of the README and the guides runs; every command in them is understood."""

import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hauberk.cli import main
from hauberk.cli.commands import Evaluate, Export, Inspect, Show
from hauberk.cli.help import example
from hauberk.cli.parsing import parse
from hauberk.cli.run_spec import RunSpec
from hauberk.cli.sweep.sweep_spec import SweepSpec

ROOT = Path(__file__).parents[2]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (
        ROOT / "README.md",
        ROOT / "docs" / "get-started.md",
        *sorted((ROOT / "docs" / "guides").glob("*.md")),
        *sorted((ROOT / "docs" / "concepts").glob("*.md")),
    )
}
COMMANDS = {"evaluate": Evaluate, "inspect": Inspect, "export": Export, "data": Show}

FEW = {'"digits"': '"few.npz"', "--data digits": "--data few.npz"}
"""In place of the embedded digits, 220 of them."""

SHORTER: Mapping[str, Mapping[str, str]] = {
    "README.md": {
        'hb.SizeTarget(size="1%")': 'hb.SizeTarget(size="1%").with_('
        "epochs=1, dense_epochs=1, codebook_epochs=1, most_bits=2)",
        'attack="autoattack"': 'attack="pgd:5"',
        "--size 1%": "--size 1% --epochs 1 --dense-epochs 1 --codebook-epochs 1 --most-bits 2",
        "--attack autoattack": "--attack pgd:5",
    },
    "docs/get-started.md": {
        'threat=threat, out="runs/dense"': 'threat=threat, out="runs/dense", '
        "method=hb.DA().with_(epochs=1)",
        'hb.SizeTarget(size="1%")': 'hb.SizeTarget(size="1%").with_('
        "epochs=1, codebook_epochs=1, most_bits=2)",
        'attack="pgd:40"': 'attack="pgd:5"',
    },
    "docs/guides/boosting.md": {
        "hb.RobustBoosting(members=3)": "hb.RobustBoosting(members=2, judge_steps=2)"
        ".with_(epochs=2, attack_steps=1)",
    },
    "docs/guides/machines.md": {
        "threat=hb.Linf(0.1), run": "threat=hb.Linf(0.1), method=hb.DA().with_(epochs=1), run"
    },
    "docs/guides/report.md": {'attack="pgd:40", limit=100': 'attack="pgd:5"'},
}
"""What stands in place of a page's own settings here: one epoch, short codebooks, a weak attack."""


def blocks(page: str, language: str) -> list[str]:
    """The page's snippets in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.M | re.S)


def short(page: str, code: str) -> str:
    """The snippet with the settings of `SHORTER`."""
    for old, new in {**SHORTER.get(page, {}), **FEW}.items():
        code = code.replace(old, new)
    return code


def commands(page: str) -> Iterator[list[str]]:
    """The words of each ``hauberk`` command of the page."""
    for code in blocks(page, "bash"):
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            assert not words or words[0] == "hauberk", f"{line} is no command of hauberk's"
            if words:
                yield words[1:]


def understood(verb: str, words: list[str]) -> object:
    """The settings of a command."""
    if verb in ("train", "compress"):
        return RunSpec.parse([verb, *words])
    return SweepSpec.parse(words) if verb == "sweep" else parse(COMMANDS[verb], verb, words)


@pytest.fixture
def folder(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the files that the pages name: an untrained network."""
    for name in ("dense.hbk", "model.hbk"):
        shutil.copy(start / "dense.hbk", tmp_path / name)
    shutil.copy(start / "few.npz", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_every_snippet_runs(page: str, folder: Path) -> None:
    names: dict[str, object] = {"__name__": "snippet"}
    for number, code in enumerate(blocks(page, "python"), 1):
        exec(compile(short(page, code), f"{page}, snippet {number}", "exec"), names)
    assert len(names) > 2, f"the snippets of {page} bind no name"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash")])
def test_every_command_is_understood(page: str, folder: Path) -> None:
    for text in blocks(page, "toml"):
        (folder / "run.toml").write_text(text)
    for verb, *words in commands(page):
        assert understood(verb, words), verb


@pytest.mark.parametrize("verb", ["train", "compress", "sweep", *COMMANDS])
def test_the_example_of_each_help_is_understood(verb: str) -> None:
    _, named, *words = shlex.split(example(verb).replace("\\\n", " "))
    assert named == verb and understood(verb, words)


@pytest.mark.slow
def test_the_readmes_three_commands_run(folder: Path) -> None:
    found = [short("README.md", shlex.join(words)) for words in commands("README.md")]
    assert len(found) == 3
    for line in found:
        with pytest.raises(SystemExit) as stop:
            main.main(shlex.split(line))
        assert stop.value.code == 0, line
    assert (folder / "runs" / "small" / "model.onnx").exists()


@pytest.mark.parametrize("page", SHORTER)
def test_what_is_shortened_is_on_its_page(page: str) -> None:
    for old in SHORTER[page]:
        assert old in PAGES[page]
