"""The repository's own files: they parse, they agree on version and address, paths are public."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
YAML = [
    ".pre-commit-config.yaml",
    "CITATION.cff",
    *(str(path.relative_to(ROOT)) for path in sorted((ROOT / ".github").rglob("*.yml"))),
]


def tracked() -> list[Path]:
    """The files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("This is no git checkout.")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("name", YAML)
def test_yaml_parses(name: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict)


def test_the_citation_is_of_this_version_and_address() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["version"] and cited["license"] == PROJECT["license"]
    assert cited["repository-code"] == PROJECT["urls"]["Repository"]
    assert [author["name"] for author in cited["authors"]] == [
        author["name"] for author in PROJECT["authors"]
    ]


def test_the_matrix_has_every_python_that_the_package_names() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["matrix"]
    named = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    assert matrix["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_one_address_is_used_everywhere() -> None:
    address = PROJECT["urls"]["Repository"]
    for path in tracked():
        if path.suffix in {".md", ".toml", ".yml", ".cff"}:
            text = path.read_text()
            for found in re.findall(r"https://github\.com/[\w.-]*hauberk[\w.-]*/[\w-]+", text):
                assert found == address, path


def test_no_file_names_a_folder_beside_the_checkout() -> None:
    beside = b"../" + b"shared"
    assert [path for path in tracked() if beside in path.read_bytes()] == []


def test_no_file_holds_the_marks_of_a_merge() -> None:
    marks = re.compile(rb"^(<{7} |>{7} |={7}$)", re.M)
    assert [str(path) for path in tracked() if marks.search(path.read_bytes())] == []
