"""One thread a process: the tests' tensors are small, and workers share the cores."""

import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import hauberk as hb
from hauberk.cli import main
from hauberk.data import load
from hauberk.dataset import Examples
from hauberk.verbs import compress
from tests.helpers.command import anchors, few_queries
from tests.helpers.nets import honest_net
from tests.helpers.sweeps import words

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start


WHOLE_RUNS = {"shipped", "slimmed", "swept"}
"""Fixtures that train: a test of theirs is slow."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if WHOLE_RUNS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Annotations are checked in every test but the slow ones, which would take half as long again.

    A slow test repeats for seconds what quick ones call once.
    """
    slow = item.get_closest_marker("slow") is not None
    jaxtyping.config.update("jaxtyping_disable", slow)


@pytest.fixture(autouse=True, scope="session")
def session_budgets() -> Iterator[None]:
    """`few_queries` and few `anchors`: a test whose subject they are says what it needs."""
    with pytest.MonkeyPatch.context() as patch:
        few_queries(patch)
        anchors(patch, 4)
        yield


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No annotation is checked while one test runs: it gives values of other types on purpose."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a net (what it has learned does not matter) and 220 digits."""
    folder = tmp_path_factory.mktemp("start")
    found = load_digits()
    x, y = np.float32(found.images / 16), found.target
    np.savez(
        folder / "few.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:220], y_test=y[200:220]
    )
    net, data = hb.models.build("digits-cnn"), hb.data.load(str(folder / "few.npz"))
    compress.encode(net, data, hb.artifact.Architecture.of(net)).save(folder / "dense.hbk")
    return folder


@pytest.fixture(scope="session")
def swept(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an undisturbed sweep left."""
    out = tmp_path_factory.mktemp("swept")
    with pytest.raises(SystemExit) as stop:
        main.main(words(start, out))
    assert stop.value.code == 0
    return out


@pytest.fixture(scope="session")
def examples() -> Examples:
    """The test split of digits."""
    return load("digits").test


@pytest.fixture(scope="session")
def honest() -> nn.Module:
    """A small network that has learned digits, and masks no gradient."""
    return honest_net()
