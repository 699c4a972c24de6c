"""Names of the Hub, through a package ``datasets`` that the test puts in the place of the real."""

from __future__ import annotations

import io
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hauberk.data import load


class Split:
    """What the tests need of ``datasets.Dataset``: no torch Dataset, rows as mappings."""

    def __init__(self, count: int, names: tuple[str, ...], bad: int = -1) -> None:
        self.count, self.bad = count, bad
        self.features = {"image": object(), "label": SimpleNamespace(names=list(names))}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> dict[str, Any]:
        if i == self.bad:
            raise OSError("image file is truncated")
        return {"image": Image.fromarray(np.full((5, 4), i, np.uint8)), "label": i % 3}


class Encoded:
    """The image feature of the package: encoded, once it is asked for."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class Files(Split):
    """A split of encoded images; the package itself must not decode them."""

    def __init__(self, contents: list[dict[str, Any]]) -> None:
        super().__init__(len(contents), ("a", "b", "c"))
        self.contents, self.features["image"] = contents, Encoded()

    def cast_column(self, name: str, feature: Encoded) -> Files:
        cast = Files(self.contents)
        cast.features[name] = feature
        return cast

    def __getitem__(self, i: int) -> dict[str, Any]:
        image = self.features["image"]
        assert isinstance(image, Encoded) and not image.decode
        return {"image": self.contents[i], "label": i % 3}


def encoded(form: str) -> bytes:
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, form)
    return content.getvalue()


PNGS = [{"bytes": encoded("PNG"), "path": None}] * 30
HUB = {
    ("some/zoo", None): {"train": Split(60, ("a", "b", "c")), "test": Split(9, ("a", "b", "c"))},
    ("some/zoo", "small"): {"train": Split(30, ("0", "1", "2"), bad=4)},
    ("some/files", None): {"train": Files(PNGS)},
    ("some/eps", None): {"train": Files([{"bytes": encoded("EPS"), "path": "0.png"}, *PNGS])},
    ("some/odd", None): {"train": Split(30, ()), "unsupervised": Split(3, ())},
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, configuration: str | None) -> dict[str, Split]:
        if (name, configuration) not in HUB:
            raise FileNotFoundError(f"Dataset '{name}' doesn't exist\non the Hub")
        return HUB[name, configuration]

    fake = ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    fake.Image = Encoded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)


@pytest.mark.usefixtures("hub")
def test_a_name_gives_its_splits() -> None:
    data = load("hub:some/zoo")
    assert [len(data.train), len(data.validation), len(data.test)] == [54, 6, 9]
    assert data.shape == (1, 5, 4) and data.labels == ("a", "b", "c")
    assert data.test.x[:, 0, 0, 0].tolist() == list(range(9)) and data.name == "hub:some/zoo"


@pytest.mark.usefixtures("hub")
def test_a_configuration_and_a_corrupt_row() -> None:
    with pytest.raises(ValueError, match=r"example 4 .*truncated"):
        load("hub:some/zoo:small")
    data = load("hub:some/zoo:small", on_error="skip")
    assert len(data.train) + len(data.validation) + len(data.test) == 29 and data.labels == ()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("name", "says"),
    [("hub:", "name no data set"), ("hub:no/thing", "doesn't exist on the Hub"),
     ("hub:some/odd", "train, unsupervised")],
)  # fmt: skip
def test_what_the_hub_does_not_have_is_one_sentence(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("hub")
def test_only_our_decoder_opens_images() -> None:
    assert load("hub:some/files").shape == (1, 8, 8)
    with pytest.raises(ValueError, match=r"example 0 .*cannot identify image"):
        load("hub:some/eps")
    assert len(load("hub:some/eps", on_error="skip").train) == 24
