from __future__ import annotations

import pytest
import torch

from hauberk.models import FAMILIES, build, build_named, parse


@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ("digits-cnn", 141_930),
        ("caffe-lenet", 431_080),
        ("lenet:1", 13_514),
        ("lenet:8", 821_706),
        ("vgg16", 14_724_042),
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("wrn", 36_479_194),
        ("wrn:10,1", 77_850),
        ("resnet18:1", 44_622),
    ],
)
def test_sizes(spec: str, parameters: int) -> None:
    net = build(spec)
    assert sum(p.numel() for p in net.parameters()) == parameters
    shape = FAMILIES[parse(spec)[0]].input_shape
    assert net(torch.zeros(2, *shape)).shape == (2, 10)


def test_caffe_lenet_has_the_weights_of_the_paper() -> None:
    net = build("caffe-lenet")
    weights = {n: p.numel() for n, p in net.named_parameters() if n.endswith("weight")}
    assert list(weights) == ["conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"]
    assert sum(weights.values()) == 430_500


def test_specs_name_every_argument() -> None:
    assert parse("lenet:8") == ("lenet", {"width": 8, "classes": 10})
    assert parse("lenet:4,5") == parse("lenet:width=4,classes=5") == parse("lenet:4,classes=5")
    name, arguments = parse("lenet:2,classes=3")
    net = build_named(name, arguments)
    assert net.architecture == (name, arguments)
    assert net(torch.zeros(1, 1, 28, 28)).shape == (1, 3)


def test_seeds_make_the_net_and_leave_the_world() -> None:
    before = torch.get_rng_state()
    a, b, c = build("digits-cnn", seed=1), build("digits-cnn", seed=1), build("digits-cnn", seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a.conv1.weight, b.conv1.weight)
    assert not torch.equal(a.conv1.weight, c.conv1.weight)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lenett:8", "did you mean 'lenet'"),
        ("resnet", "did you mean 'resnet"),
        ("dense/model.hbk", "with compress --from or hauberk.load"),
        ("wrn:12,2", "depth 12"),
        ("wrn:65530,1", "up to 1000"),
        ("", "known ones"),
        ("lenet", "width"),
        ("lenet:", "width"),
        ("lenet:8,9,10", "takes"),
        ("lenet:depth=3", "it takes width, classes"),
        ("lenet:8,width=9", "takes"),
        ("lenet:x", "whole number"),
        ("lenet:1.5", "whole number"),
        ("lenet:0", "whole number"),
        ("lenet:-1", "whole number"),
        ("lenet:8,", "whole number"),
        ("lenet:60000", "parameters"),
        ("lenet:" + "9" * 5000, "whole number"),
    ],
)
def test_bad_specs_are_one_sentence(spec: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        build(spec)
    assert "\n" not in str(caught.value)


def test_a_file_cannot_ask_for_what_is_no_number() -> None:
    for value in (True, 2.0, "8", None, 10**30):
        with pytest.raises(ValueError, match="whole number"):
            build_named("lenet", {"width": value})  # type: ignore[dict-item]
