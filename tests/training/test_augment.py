"""Changes of images, and their undoing."""

import pytest
import torch

from hauberk.ops.random import generator
from hauberk.training.augment import Augmentation, Cutout, Flip, Shift


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


def rows(count: int) -> torch.Tensor:
    """No two pixels of an image alike, none of them zero."""
    return torch.arange(1.0, 1 + 2 * 7 * 9).view(1, 2, 7, 9).repeat(count, 1, 1, 1)


def test_half_of_the_images_are_mirrored() -> None:
    x = rows(400)
    flip = Flip.draw(x, generator(0))
    seen = flip(x)
    mirrored = (seen == x.flip(3)).flatten(1).all(1)
    assert 160 < int(mirrored.sum()) < 240
    assert torch.equal(seen[~mirrored], x[~mirrored]) and torch.equal(flip.back()(seen), x)


@pytest.mark.parametrize("pixels", [1, 2, 3, 7])
def test_a_square_is_cut_out_with_its_middle_anywhere(pixels: int) -> None:
    x = rows(2000)
    cut = Cutout.draw(x, pixels, generator(0))
    seen = cut(x)
    gone = (seen == 0).all(1)
    assert torch.equal(gone, (seen == 0).any(1)), "all channels are cut alike"
    assert torch.equal(torch.where(gone[:, None], x, seen), x), "the rest is as it was"
    high, wide = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.flatten(1).sum(1), high * wide), "a rectangle"
    assert int(high.max()) == int(wide.max()) == pixels
    assert (high >= (pixels + 1) // 2).all() and (wide >= (pixels + 1) // 2).all()
    whole = (high == pixels) & (wide == pixels)
    assert whole.any() and gone.any(0).all(), "every pixel is cut some time"
    assert torch.equal(cut.back()(seen), seen)


def test_a_square_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="7 × 9 pixels; give a square"):
        Cutout.draw(rows(1), 8, generator(0))


def test_a_chain_goes_there_and_back() -> None:
    x = rows(300)
    chain = Augmentation(shift=2, flip=True, cutout=3).draw(x, generator(3))
    there = chain(x)
    back = chain.back()(there)
    assert ((back == x) | (back == 0)).all() and (back != 0).any(0).all()
    assert not torch.equal(there, x) and [type(k) for k in chain.links] == [Shift, Flip, Cutout]
    lone = Shift.draw(x, 2, generator(3))
    assert torch.equal(Augmentation(shift=2).draw(x, generator(3))(x), lone(x)), (
        "as without a chain"
    )
    assert Augmentation().draw(x, generator(3))(x) is x
