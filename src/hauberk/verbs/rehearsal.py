"""The rehearsal: what would end a training is found before it, on a copy, within seconds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hauberk.artifact.bit_patterns import place_of
from hauberk.dataset import Data
from hauberk.networks import check_fit
from hauberk.parametrize.plain import copied, made_plain
from hauberk.runtime.notes import note
from hauberk.runtime.packages import gist
from hauberk.types import Images

_CLOSE = 1e-3  # of the largest output: rounding differs between batch sizes
_CLOSE_HALF = 3e-2  # the same in half precision
_FEW = 3  # names that a line lists


def rehearsed(model: nn.Module, data: Data, attacked: bool, rows: int = 2) -> nn.Module:
    """A copy of ``model`` that can be trained and written, after one step of two examples.

    Lazy layers are built, and parametrisations are replaced by the weights that they compute. If
    the model gives several outputs in training mode, the copy gives the first. Notes say so.

    Args:
        model: the network; it is not changed.
        data: what it will be trained on.
        attacked: whether the training needs gradients of the images.
        rows: images in a batch of the training; no more than two are tried.

    Raises:
        ValueError: the model cannot be copied, trained or written, or its outputs are no function
            of each image.
    """
    net = copied(model)
    for change in made_plain(net, data.shape):
        note(f"{change}.")
    for complaint in _complaints(net):
        raise ValueError(complaint)
    check_fit(net, data)
    device = next(net.parameters()).device
    x = torch.rand(2, *data.shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.random.fork_rng(devices=[]):
        _check_function(copied(net).eval(), x)
        several = _check_step(copied(net).train(), x[:rows], attacked)
    if several:
        note(f"The model gives {several} outputs in training mode; the first of them is trained.")
        net.register_forward_hook(_first)
    _note_frozen(net)
    return net


def _complaints(net: nn.Module) -> Iterator[str]:
    """Why a file cannot hold the state of a network, or why nothing of it can be trained."""
    for name, value in net.state_dict().items():
        held = f"The model keeps {name!r}"
        if not isinstance(value, Tensor):
            yield (
                f"{held} as extra state of type {type(value).__name__}, and a file holds tensors "
                "alone; register a buffer, or remove get_extra_state."
            )
        elif value.layout is not torch.strided or value.is_quantized or value.is_meta:
            yield (
                f"{held} in a form that no file can hold ({_form(value)}); give the model with "
                "dense tensors in memory."
            )
        elif place_of(value.dtype) < 0:
            yield (
                f"{held} as {str(value.dtype).removeprefix('torch.')}, which no file can hold; "
                "store real and imaginary parts, or another type, or register it with "
                "persistent=False."
            )
        elif not torch.isfinite(value).all():
            yield (
                f"{held} with NaN or infinite numbers, and a file holds finite ones; for a mask "
                "register the buffer with persistent=False, or use "
                "torch.finfo(torch.float32).min for -inf."
            )
    if not any(p.requires_grad for p in net.parameters()):
        yield (
            "The model has no weights to train, because requires_grad is False for all of them; "
            "set it to True for those that may change."
        )


def _form(value: Tensor) -> str:
    if value.is_meta:
        return "device meta"
    return "quantised" if value.is_quantized else str(value.layout).removeprefix("torch.")


@torch.no_grad()
def _check_function(net: nn.Module, x: Images) -> None:
    """Raise a ValueError unless the logits of an image depend on that image alone."""
    version, before = x._version, x.clone()
    once = net(x)
    if x._version > version:
        raise ValueError(
            "The model writes into its input, which changes the images of later steps; compute "
            "x = x - mean, not x -= mean, and give the first layer inplace=False."
        )
    half = _CLOSE_HALF if once.dtype in (torch.bfloat16, torch.float16) else _CLOSE
    limit = half * max(1.0, float(once.float().abs().max()))
    if not _close(once, net(before), limit):
        raise ValueError(
            "The model gives other outputs for the same images a second time in eval mode; take "
            "out random draws (dropout is on only if self.training) and state kept between calls."
        )
    if not _close(once[:1], net(before[:1]), limit):
        raise ValueError(
            "The model gives an image other outputs alone than in a batch in eval mode; take out "
            "what mixes the images of a batch, such as statistics or attention over its first axis."
        )


def _close(a: Tensor, b: Tensor, limit: float) -> bool:
    return a.shape == b.shape and bool(((a.float() - b.float()).abs() <= limit).all())


def _check_step(net: nn.Module, x: Images, attacked: bool) -> int:
    """Differentiate one step in training mode.

    Returns:
        The number of outputs if there are several, else 0.

    Raises:
        ValueError: the step fails, or gives no gradient.
    """
    x = x.clone().requires_grad_(attacked)
    weights = [p for p in net.parameters() if p.requires_grad]
    try:
        found = net(x * 1)
        several = len(found) if isinstance(found, tuple | list) else 0
        out = found[0] if several else found
        if isinstance(out, Tensor) and out.requires_grad:
            loss = out.float().square().mean()
            wanted = [x, *weights] if attacked else weights
            moved = torch.autograd.grad(loss, wanted, allow_unused=True)
    except Exception as error:  # a user's module may fail in any way
        one = "one image", "give a batch size of 2 or more, as batch norm needs"
        many = "two images", "mend its forward for training mode (model.train())"
        images, advice = one if len(x) == 1 else many
        raise ValueError(
            f"The model fails in a training step of {images} ({type(error).__name__}: "
            f"{gist(error)}); {advice}."
        ) from error
    if not isinstance(out, Tensor):
        raise ValueError(
            f"The model gives an object of type {type(out).__name__} in training mode; return the "
            "logits, or a tuple that begins with them."
        )
    if not out.requires_grad or all(g is None for g in moved[-len(weights) :]):
        raise ValueError(
            "The model gives no gradient to its weights; take torch.no_grad, detach, argmax and "
            "conversions to NumPy out of its forward."
        )
    if attacked and moved[0] is None:
        raise ValueError(
            "The model gives no gradient to its images, which an attack needs; take detach, "
            "rounding and torch.no_grad out of its first layers, or train without a threat."
        )
    return several


def _first(_module: nn.Module, _inputs: object, found: object) -> object:
    """A forward hook: the first of several outputs."""
    return found[0] if isinstance(found, tuple | list) else found


def _note_frozen(net: nn.Module) -> None:
    """Note the matrices that stay as they are, with their fraction of the bytes."""
    frozen = [(n, p) for n, p in net.named_parameters() if p.ndim > 1 and not p.requires_grad]
    if not frozen:
        return
    size = sum(p.numel() for p in net.parameters())
    part = sum(p.numel() for _, p in frozen) / size
    named = ", ".join(n for n, _ in frozen[:_FEW]) + (", …" if len(frozen) > _FEW else "")
    note(f"Frozen weights stay as they are, and dense: {named}, {part:.0%} of the weights.")
