"""Moves of images, and their undoing."""

import torch

from hauberk.ops.augment import Shift
from hauberk.ops.random import generator


def test_every_image_moves_by_its_own_rows_and_columns() -> None:
    x = torch.zeros(500, 2, 9, 9)
    x[:, :, 4, 4] = 1
    shift = Shift.draw(x, 2, generator(0))
    moved = shift(x)
    assert moved.shape == x.shape and (moved.sum((2, 3)) == 1).all()
    where = moved[:, 0].nonzero()[:, 1:] - 4
    assert sorted(map(tuple, where.unique(dim=0).tolist())) == [
        (a, b) for a in range(-2, 3) for b in range(-2, 3)
    ]


def test_back_undoes_it_but_for_what_left_the_image() -> None:
    x = torch.rand(50, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    shift = Shift.draw(x, 2, generator(1))
    there_and_back = shift.back()(shift(x))
    assert torch.equal(there_and_back[:, :, 2:7, 2:7], x[:, :, 2:7, 2:7])
    assert ((there_and_back == x) | (there_and_back == 0)).all()
