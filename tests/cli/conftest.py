"""A run folder that several modules look into."""

from pathlib import Path

import pytest
from tests.helpers.command import FAST, run


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of ``compress``, made once."""
    out = tmp_path_factory.mktemp("compress")
    run(
            "compress", "--method", "atmc", *FAST, "--model", "digits-cnn", "--keep", "3%",
            "--bits", "3", "--epochs", "2", "--dense-epochs", "3", "--codebook-epochs", "1",
            "--attack-steps", "2", "--attack", "pgd:5", "--limit", "40", "--out", str(out),
        )  # fmt: skip
    return out
