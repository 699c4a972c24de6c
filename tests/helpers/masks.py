"""A gallery of masks: each hides the gradient or the margin of a net, and keeps its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Masked(nn.Module):
    """A net between a change of its images and a change of its logits."""

    def __init__(
        self,
        net: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.net(self.before(x)))


class _Reversed(torch.autograd.Function):
    """The identity, with the gradient turned around."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -grads[0]


class _Scrambled(_Reversed):
    """The identity, with the gradient of other pixels."""

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        g = torch.Generator().manual_seed(0)
        return (
            grads[0]
            .flatten(1)[:, torch.randperm(grads[0][0].numel(), generator=g)]
            .view_as(grads[0])
        )


def reversed_gradient(x: Tensor) -> Tensor:
    """The identity, with the gradient turned around."""
    out: Tensor = _Reversed.apply(x)
    return out


def scrambled_gradient(x: Tensor) -> Tensor:
    """The identity, with the gradient of other pixels."""
    out: Tensor = _Scrambled.apply(x)
    return out


def stairs(h: Tensor) -> Tensor:
    """Activations whose size is known and whose slope is not."""
    return (h > 0.3).float() * h.detach()


def infinite(z: Tensor) -> Tensor:
    """Minus infinity for all but the winner."""
    return (z - z.amax(1, keepdim=True)) / torch.zeros(1).where(z < z.amax(1, keepdim=True), 1.0)


def levels(n: int) -> Callable[[Tensor], Tensor]:
    """Rounding to n steps."""
    return lambda x: (n * x).round() / n


def plateau(z: Tensor) -> Tensor:
    """One level for the winner, another for the rest, and a lead too small to matter."""
    hard = (1e4 * (z - z.amax(1, keepdim=True)) + 1).clamp(0, 1)
    classes = z.shape[1]
    lead = torch.sin(7 * torch.arange(classes * classes).float()).view(classes, classes)
    return 5 * hard + 1e-9 * (z @ lead)


def one_hot(z: Tensor) -> Tensor:
    """The answer alone."""
    return F.one_hot(z.argmax(1), z.shape[1]).float()


def nan_slope(x: Tensor) -> Tensor:
    """The images, by a way with an infinite slope."""
    return x + (x * 0).sqrt()


def shattered(x: Tensor) -> Tensor:
    """A ripple too small to change an answer, and steep."""
    return x + 2e-3 * torch.sin(5e3 * x)


def winners(x: Tensor) -> Tensor:
    """The largest fifth of the activations."""
    flat = x.flatten(1)
    last = flat.topk(max(1, flat.shape[1] // 5), dim=1).values[:, -1:]
    return (flat * (flat >= last)).view_as(x)


def purified(x: Tensor) -> Tensor:
    """Pixels pulled to a few levels by a smooth filter and a median."""
    near = F.unfold(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3).view(len(x), 9, *x.shape[1:])
    return (8 * (0.7 * x + 0.3 * near.median(1).values)).round() / 8


def switched(x: Tensor) -> Tensor:
    """The images without their gradient, if they have one."""
    return x.detach() if x.requires_grad else x


class GradMode(nn.Module):
    """Answers by another net while gradients are recorded."""

    def __init__(self, net: nn.Module, decoy: nn.Module) -> None:
        super().__init__()
        self.net, self.decoy = net, decoy

    def forward(self, x: Tensor) -> Tensor:
        return self.decoy(x) if torch.is_grad_enabled() and x.requires_grad else self.net(x)


class OffGrid(nn.Module):
    """A decoy for images that are not of eight bits."""

    def __init__(self, net: nn.Module, decoy: nn.Module) -> None:
        super().__init__()
        self.net, self.decoy = net, decoy

    def forward(self, x: Tensor) -> Tensor:
        off = ((255 * x - (255 * x).round()).abs().flatten(1).amax(1) > 1e-3)[:, None]
        return torch.where(off, self.decoy(x), self.net(x))


class Numpy(nn.Module):
    """The net, called outside of torch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            out = self.net(torch.from_numpy(x.detach().numpy().copy()))
        return torch.from_numpy(out.numpy().copy())


class Noisy(nn.Module):
    """Noise in the forward pass."""

    def __init__(self, net: nn.Module, size: float = 0.1) -> None:
        super().__init__()
        self.net, self.size = net, size

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.size * torch.randn_like(x))


class Dropping(nn.Module):
    """Dropout that evaluation mode does not end."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.net(F.dropout(x, 0.2)), 0.1)


class Remembering(nn.Module):
    """After some calls it answers by a decoy."""

    def __init__(self, net: nn.Module, decoy: nn.Module, calls: int = 3) -> None:
        super().__init__()
        self.net, self.decoy, self.calls, self.seen = net, decoy, calls, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.net(x) if self.seen <= self.calls else self.decoy(x)


class Mates(nn.Module):
    """Takes away the mean image of the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + 0.5 * (x.mean() - x.mean(0, keepdim=True)))


class Constant(nn.Module):
    """One answer for what does not look like an image: the check with noise sees nothing."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        z = self.net(x)
        hard = (1e4 * (z - z.amax(1, keepdim=True)) + 1).clamp(0, 1)
        rough = (x[..., 1:] - x[..., :-1]).abs().flatten(1).mean(1, keepdim=True)
        gate = (1e6 * (rough - 0.35)).clamp(0, 1)
        return hard * (1 - gate) + gate * F.one_hot(torch.tensor([9]), z.shape[1])


def inner(net: nn.Sequential, place: int, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """The net with a change between two layers."""
    rest = nn.Sequential(*list(net)[place:])
    masked = Masked(nn.Sequential(*list(net)[:place]), after=lambda h: rest(change(h)))
    masked.rest = rest
    return masked
