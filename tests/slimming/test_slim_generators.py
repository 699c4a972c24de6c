"""A slim generator gives the images of the masked one."""

from __future__ import annotations

import pytest
import torch
from tests.helpers.generators import Own, killed, norms, scrambled
from torch import nn

from hauberk.models.generators import cyclegan_resnet9, pix2pix_unet
from hauberk.slimming.filter_families import families
from hauberk.slimming.resize import resize
from hauberk.slimming.slim import slim

EXAMPLE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def same_images(net: nn.Module) -> nn.Module:
    small = slim(net, EXAMPLE[:1])
    torch.testing.assert_close(small(EXAMPLE), net(EXAMPLE), rtol=0, atol=1e-5)
    return small


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_a_dead_stem_channel_whose_shift_lives_is_carried_over_a_border_of_zeros() -> None:
    net = killed(scrambled(cyclegan_resnet9(8, blocks=1)), {"model.2": [1, 3, 4]})
    assert all(net.get_submodule("model.2").bias[i] != 0 for i in (1, 3, 4))
    small = same_images(net)
    assert small.get_submodule("model.1").out_channels == 6  # one carries what the others gave


def test_a_dead_residual_block_returns_its_input() -> None:
    net = scrambled(cyclegan_resnet9(8, blocks=2))
    killed(net, {"model.10.block.2": None, "model.10.block.6": None})
    block = net.get_submodule("model.10")
    with torch.no_grad():
        block.get_submodule("block.6").bias.zero_()
        x = torch.rand(1, 32, 8, 8)
        assert torch.equal(block(x), x)
    small = same_images(net)
    assert small.get_submodule("model.10.block.1").out_channels == 1


def test_a_dead_last_block_and_dead_channels_of_transposed_layers() -> None:
    net = scrambled(cyclegan_resnet9(8, blocks=2))
    dead = {"model.11.block.2": None, "model.13": [2, 3, 5, 7, 9], "model.16": [1]}
    small = same_images(killed(net, dead))
    assert small.get_submodule("model.11.block.1").out_channels == 1
    assert small.get_submodule("model.12").weight.shape[:2] == (32, 12)  # four of five, one carries
    assert count(small) < count(net)


def test_a_whole_trunk_channel_goes_from_every_block() -> None:
    net = scrambled(cyclegan_resnet9(4, blocks=2))
    trunk = ["model.8", "model.10.block.6", "model.11.block.6"]
    killed(net, {name: [0, 5] for name in trunk})
    small = same_images(net)
    assert small.get_submodule("model.10.block.1").in_channels <= 15


def test_a_u_net_whose_skips_are_concatenated() -> None:
    net = scrambled(pix2pix_unet(4, levels=3))
    dead = {"down.0.1": [0, 2], "down.1.1": [1, 5, 6], "up.0.1": [0, 1, 2, 3], "up.2.1": [3]}
    small = same_images(killed(net, dead))
    assert small.get_submodule("up.0.0").out_channels < net.get_submodule("up.0.0").out_channels
    assert count(small) < 0.9 * count(net)


def test_a_users_generator_and_group_norms() -> None:
    net = scrambled(Own())
    killed(net, {"norm": [0, 1, 2, 4], "inner_norm": [1, 2], "up_norm": [0, 3]})
    small = same_images(net)
    norm = small.get_submodule("norm")
    assert (norm.num_channels, norm.num_groups) == (9, 3)  # channel 4 shares its group with others
    assert small.get_submodule("up").out_channels == 4


@pytest.mark.parametrize("build", [lambda: cyclegan_resnet9(8, 1), lambda: pix2pix_unet(4, 3), Own])
def test_a_slim_state_fits_a_resized_network(build) -> None:
    net = scrambled(build())
    small = slim(killed(net, {name: [0] for name in norms(net)}), EXAMPLE[:1])
    fresh = build().eval()
    resize(fresh, {name: tuple(t.shape) for name, t in small.state_dict().items()})
    fresh.load_state_dict(small.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(EXAMPLE), small(EXAMPLE))


def test_families_name_the_norms_of_a_generator() -> None:
    found = families(cyclegan_resnet9(4, blocks=2), EXAMPLE[:1])
    assert ("model.10.block.2",) in [f.norms for f in found]
    trunk = next(f for f in found if "model.8" in f.norms)
    assert trunk.norms == ("model.8", "model.10.block.6", "model.11.block.6")
