"""A union: what a point of it is, how an attack searches it, how it is said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hauberk.attack import Attack
from hauberk.attacks import PGD
from hauberk.cli import resolve
from hauberk.ops.random import generator
from hauberk.threats import L1, L2, Linf, Union

THREE = Union((Linf(0.2), L2(0.6), L1(1.2)))


@given(st.integers(0, 1000), st.floats(1e-3, 3))
@settings(max_examples=40, deadline=None)
def test_the_projection_is_the_nearest_of_the_members(seed: int, spread: float) -> None:
    rng = generator(seed)
    x = torch.rand(5, 1, 3, 4, generator=rng, dtype=torch.float64)
    v = x + spread * torch.randn(x.shape, generator=rng, dtype=torch.float64)
    near = THREE.project(v, x)
    assert THREE.contains(near, x)
    gaps = torch.stack([(m.project(v, x) - v).flatten(1).norm(dim=1) for m in THREE.members])
    torch.testing.assert_close((near - v).flatten(1).norm(dim=1), gaps.amin(0))
    inside = torch.stack([m.inside(near, x) for m in THREE.members])
    assert inside.gather(0, gaps.argmin(0)[None]).all()


def test_a_point_of_any_member_is_inside_example_by_example() -> None:
    x = torch.full((4, 1, 3, 3), 0.5)
    x_adv = x.clone()
    x_adv[0] += 0.19  # ℓ∞ alone: its ℓ2 norm is 0.57, but 0.19 · 9 > 1.2
    x_adv[1, 0, 0, 0] += 0.49  # not in ℓ∞
    x_adv[2] += 0.21  # in none
    expected = torch.tensor([True, True, False, True])
    assert torch.equal(THREE.inside(x_adv, x), expected)
    assert torch.equal(Union((L1(1.2), Linf(0.1))).inside(x_adv, x)[:1], torch.tensor([False]))
    assert not THREE.contains(x_adv, x) and THREE.contains(x_adv[[0, 1, 3]], x[[0, 1, 3]])


def test_random_points_come_from_every_member() -> None:
    x = torch.full((300, 1, 4, 4), 0.5)
    points = Union((Linf(0.2), L2(0.6), L1(1.2))).sample(x, generator(0))
    delta = (points - x).flatten(1)
    in_each = torch.stack([delta.abs().amax(1) > 0.25, delta.abs().sum(1) > 1.3]).float().mean(1)
    assert (in_each > 0.1).all(), "neither ℓ∞ nor ℓ1 alone holds them all"


def test_an_attack_searches_each_member_and_keeps_the_worst_end() -> None:
    searched = []

    class Far(Attack):
        """Goes along one gradient as far as its threat lets it."""

        def search(self, task):
            searched.append(task.threat)
            return task.threat.project(task.x + 100 * weight, task.x)

    weight = torch.zeros(2, 1, 3, 3)
    weight[0] = 1.0  # all pixels alike: ℓ∞ reaches farthest
    weight[1, 0, 1, 1] = 1.0  # one pixel: ℓ1 does

    def loss(z: torch.Tensor) -> torch.Tensor:
        return (z * weight).flatten(1).sum(1)

    x = torch.zeros(2, 1, 3, 3)
    end = Far()(loss, x, Union((Linf(0.2), L1(0.9))), torch.Generator())
    assert searched == [Linf(0.2), L1(0.9)]
    torch.testing.assert_close(loss(end), torch.tensor([1.8, 0.9]))
    assert Linf(0.2).contains(end[:1], x[:1]) and L1(0.9).contains(end[1:], x[1:])


def test_the_worst_of_a_union_is_no_weaker_than_its_members() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 16), torch.nn.ReLU())
    x = torch.rand(20, 1, 3, 3, generator=generator(1))

    def loss(z: torch.Tensor) -> torch.Tensor:
        return net(z).sum(1)

    attack, three = PGD(8, random_start=False, track=True), Union((Linf(0.2), L2(0.5), L1(1.0)))
    union = loss(attack(loss, x, three, generator(2)))
    each = torch.stack([loss(attack(loss, x, m, generator(2))) for m in three.members])
    torch.testing.assert_close(union, each.amax(0))
    assert len(set(each.argmax(0).tolist())) > 1, "one member alone was always the worst"


def test_it_is_said_with_a_plus() -> None:
    found = resolve.threat("linf:8/255+l2:0.5 + L1:12")
    assert found == Union((Linf(8 / 255), L2(0.5), L1(12.0)))
    assert str(THREE) == "linf:0.2+l2:0.6+l1:1.2" and resolve.threat(str(THREE)) == THREE
    assert resolve.threat("l1:3") == L1(3.0)
    assert Union((THREE,)).parts() == THREE.members


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "could not be read"),
        ("+", "could not be read"),
        ("linf:0.1+", "could not be read"),
        ("linf:0.1+l3:2", "could not be read"),
        ("linf:0.1,l2:2", "could not be read"),
        ("linf:0.1+linf:0.1", "has linf 2 times"),
        ("l2:1+linf:0.1+l2:3", "has l2 2 times, and the largest of them holds the others"),
        ("linf:0.1+l2:0", "has l2:0, which allows nothing"),
        ("linf:8+l2:1", "The ℓ∞ radius eps was given as 8.0"),
    ],
)
def test_what_is_no_list_of_threats_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        resolve.threat(text)
    assert "\n" not in str(caught.value)


def test_a_union_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no threat; give at least one"):
        Union(())
