"""What a convolution passes back to an image, against autograd's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from hauberk.attack import frozen, input_gradient
from hauberk.evaluation.frozen_copy import seal
from hauberk.runtime import conv_backward
from hauberk.runtime.conv_backward import image_gradients, to_image


@settings(deadline=None)
@given(
    channels=st.integers(1, 4),
    filters=st.integers(1, 5),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(5, 13), st.integers(5, 13)),
    data=st.data(),
)
def test_it_is_the_gradient(
    channels: int, filters: int, kernel: tuple[int, int], size: tuple[int, int], data: st.DataObject
) -> None:
    padding = tuple(data.draw(st.integers(0, k - 1)) for k in kernel)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, *size, generator=rng, dtype=torch.float64, requires_grad=True)
    w = torch.randn(filters, channels, *kernel, generator=rng, dtype=torch.float64)
    out = F.conv2d(x, w, padding=padding)
    g = torch.randn(out.shape, generator=rng, dtype=torch.float64)
    (true,) = torch.autograd.grad(out, x, g)
    torch.testing.assert_close(to_image(g, w, padding, size), true)


@pytest.fixture(autouse=True)
def _small_ones_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_backward, "_LEAST", 0)


def net(channels: int = 1, **how: object) -> nn.Module:
    torch.manual_seed(0)
    first = nn.Conv2d(channels, 6, 3, **how)  # type: ignore[arg-type]
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten(), nn.LazyLinear(3))


@pytest.mark.parametrize(
    ("channels", "how"),
    [
        (1, {}),
        (3, {"padding": 1, "bias": False}),
        (3, {"padding": "same"}),
        (3, {"stride": 2}),
        (3, {"dilation": 2}),
        (2, {"groups": 2}),
        (1, {"padding": 4}),
        (1, {"padding": 1, "padding_mode": "reflect"}),
        (5, {}),
    ],
)
def test_the_attack_sees_the_same_gradient(channels: int, how: dict[str, object]) -> None:
    model, x = net(channels, **how), torch.rand(7, channels, 10, 9)
    model(x)

    def loss(v: Tensor) -> Tensor:
        return model(v).logsumexp(1)

    with frozen(model):
        values, grad = input_gradient(loss, x)
        v = x.clone().requires_grad_()
        torch.testing.assert_close(values, loss(x))
    model.eval()
    (true,) = torch.autograd.grad(loss(v).sum(), v)
    sealed = seal(model)
    _, again = input_gradient(lambda v: sealed(v).logsumexp(1), x)
    torch.testing.assert_close(grad, true)
    torch.testing.assert_close(again, true)


def test_filters_that_learn_have_their_gradients() -> None:
    model, x = net(), torch.rand(7, 1, 10, 9, requires_grad=True)
    model(x)
    with image_gradients(model):
        model(x).sum().backward()
    found = [p.grad for p in model.parameters()]
    model.zero_grad()
    model(x).sum().backward()
    for got, p in zip(found, model.parameters(), strict=True):
        assert got is not None
        torch.testing.assert_close(got, p.grad)


def test_it_is_taken_for_grey_images() -> None:
    """The test above it would pass, too, if nothing were ever taken."""
    first, x = nn.Conv2d(1, 6, 3).requires_grad_(False), torch.rand(2, 1, 9, 9, requires_grad=True)
    with image_gradients(first):
        out = first(x)
    assert type(out.grad_fn).__name__ == "_ConvBackward"


@pytest.mark.parametrize("one", [1, (1,), [1, 1]])
def test_a_plain_call_may_give_one_number_for_both_sides(one: object) -> None:
    w, x = torch.randn(6, 1, 3, 3), torch.rand(2, 1, 10, 9, requires_grad=True)
    first = nn.Conv2d(1, 6, 3)
    with image_gradients(first):
        out = torch.conv2d(x, w, None, one, one, one, 1)  # type: ignore[call-overload]
    assert type(out.grad_fn).__name__ == "_ConvBackward"
    (grad,) = torch.autograd.grad(out.sum(), x)
    (true,) = torch.autograd.grad(F.conv2d(x, w, padding=1).sum(), x)
    torch.testing.assert_close(grad, true)


def test_small_ones_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """54 filter weights on 90 pixels of 2 images are 9,720 products."""
    first, x = nn.Conv2d(1, 6, 3).requires_grad_(False), torch.rand(2, 1, 10, 9, requires_grad=True)
    taken = []
    for least in (9_720, 9_721):
        monkeypatch.setattr(conv_backward, "_LEAST", least)
        with image_gradients(first):
            taken.append(type(first(x).grad_fn).__name__)
    assert taken == ["_ConvBackward", "ConvolutionBackward0"]


def test_under_autocast_it_stays_out_of_the_way() -> None:
    model, x = net(), torch.rand(7, 1, 10, 9)
    model(x)
    with frozen(model), torch.autocast("cpu", torch.bfloat16):
        values, grad = input_gradient(lambda v: model(v).float().logsumexp(1), x)
    assert values.isfinite().all()
    assert grad.dtype == torch.float32
    assert grad.abs().sum() > 0
