"""Batch-norm folded into convolutions: the same function, and only where it may be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from hauberk import models
from hauberk.evaluate.folding import fold
from hauberk.evaluate.sealed import seal
from hauberk.parametrize import quantise


def lived(net: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """A network whose norms have seen something, in eval mode."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm in norms(net):
            for name in ("weight", "bias", "running_mean"):
                getattr(norm, name).normal_(generator=rng)
            norm.running_var.uniform_(0.5, 2, generator=rng)
    return net.eval()


def norms(net: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "spec", ["resnet18:width=2", "resnet34:width=2", "vgg16:width=2", "wrn:depth=10,width=1"]
)
def test_the_same_function_and_the_same_gradient(spec: str) -> None:
    shape = models.FAMILIES[spec.partition(":")[0]].input_shape
    net = lived(models.build(spec), shape)
    before, sealed = {k: t.clone() for k, t in net.state_dict().items()}, seal(net)
    assert len(norms(sealed)) < len(norms(net))
    x = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for one, other in ((net(x), sealed(x)),):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4 * float(one.detach().std()))
        grads = [torch.autograd.grad(z.square().sum(), x)[0] for z in (one, other)]
        scale = float(grads[0].abs().max())
        torch.testing.assert_close(grads[1], grads[0], rtol=1e-3, atol=1e-4 * scale)
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())


class Two(nn.Module):
    """A convolution and a norm, used as ``how`` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.conv, self.norm = how, nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)
        if how != "not ours":
            self.architecture = ("two", {})

    def forward(self, x: Tensor) -> Tensor:
        once = self.conv(x)
        if self.how == "read on":
            return self.norm(once) + once
        if self.how == "twice":
            return self.norm(self.conv(self.norm(once)))
        if self.how == "weights read":
            return F.conv2d(self.norm(once), self.conv.weight)
        return self.norm(once)


@pytest.mark.parametrize("how", ["read on", "twice", "weights read", "not ours", "plain"])
def test_what_may_not_be_folded_is_left_alone(how: str) -> None:
    net = lived(Two(how), (2, 4, 4))
    x = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    wanted = net(x).detach()
    assert bool(norms(fold(net))) == (how != "plain")
    torch.testing.assert_close(net(x), wanted)


def test_hooks_parametrisations_and_norms_of_the_batch_at_hand_are_left_alone() -> None:
    rounded = quantise(lived(Two("plain"), (2, 4, 4)), torch.rand(8, 2, 4, 4)).eval()
    tied = lived(Two("plain"), (2, 4, 4))
    parametrizations.weight_norm(tied.conv)
    alive = Two("plain").train()
    for net in (rounded, tied, alive):
        assert len(norms(fold(net))) == 1
