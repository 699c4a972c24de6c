"""The example's programs on emulated boards give the integers of the reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.emulators import BOARDS, Board
from tests.helpers.integer_nets import Builder, file_of

from hauberk.microcontroller.emulator import instructions
from hauberk.microcontroller.graph import IntegerGraph, Pool
from hauberk.microcontroller.reference import Reference

pytestmark = pytest.mark.slow

IMAGES = 200


def net() -> IntegerGraph:
    built = Builder((1, 8, 8), seed=1)
    built.conv(4, (3, 3), pad=(1, 1), relu=True, pool=Pool("max", 2, 2, 2), density=0.2)
    built.conv(4, (3, 3), pad=(1, 1), zero=90, density=0.2)
    built.total(1, 2, relu=True, pool=Pool("mean", 2, 2, 2))
    return built.linear(10, 0.2, zero=128).graph()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.program)
def test_a_board_gives_the_integers_of_the_reference(board: Board, tmp_path: Path) -> None:
    graph = net()
    file_of(graph, board.target).save(tmp_path / "net.c")
    x = torch.randint(0, 256, (IMAGES, 1, 8, 8), generator=torch.manual_seed(2))
    lines = board.run(tmp_path, bytes(x.flatten().tolist()), IMAGES)
    want = Reference(graph)(x / 255.0)
    assert torch.equal(torch.tensor([line[0] for line in lines]), want.argmax(1))
    assert torch.equal(torch.tensor([line[1:-1] for line in lines]), want.floor().long())
    counted = instructions(file_of(graph, board.target))
    assert (counted is None) == (board.target == "avr")
    if counted:  # the tick of the micro:bit's timer is longer
        assert all(abs(line[-1] - counted) <= 0.05 * counted for line in lines)
