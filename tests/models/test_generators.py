from __future__ import annotations

import pytest
import torch

from hauberk.models import build


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [("cyclegan-resnet9", 11_388_675), ("cyclegan-resnet9:8", 181_731), ("pix2pix-unet", 395_523)],
)
def test_sizes(spec: str, parameters: int) -> None:
    assert sum(p.numel() for p in build(spec).parameters()) == parameters


@pytest.mark.parametrize("spec", ["cyclegan-resnet9:4,blocks=2", "pix2pix-unet:4,levels=3"])
@pytest.mark.parametrize("size", [(32, 32), (40, 64)])
def test_images_in_images_out(spec: str, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    out = build(spec)(x).detach()
    assert out.shape == x.shape
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1


def test_the_layers_have_the_names_of_the_published_code() -> None:
    names = list(build("cyclegan-resnet9:2").state_dict())
    assert names[:4] == ["model.1.weight", "model.1.bias", "model.2.weight", "model.2.bias"]
    assert "model.10.block.1.weight" in names
    assert names[-1] == "model.26.bias"
