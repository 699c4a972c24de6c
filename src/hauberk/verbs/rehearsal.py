"""The rehearsal: what would end a training is found before it, on a copy, within seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hauberk.artifact.bit_patterns import place_of
from hauberk.batch import Batch
from hauberk.dataset import Data
from hauberk.method import Method
from hauberk.networks import fitting
from hauberk.parametrize.plain import copied, made_plain, unwrapped
from hauberk.runtime.notes import note
from hauberk.runtime.packages import gist
from hauberk.threats import NoThreat
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
    _refuse_kind(model)
    inner = unwrapped(model)
    net = copied(inner)
    if net is inner:
        raise ValueError(
            "The model cannot be copied, because its __deepcopy__ gives the module itself; take it "
            "out, or return another module of the same class."
        )
    for change in made_plain(net, data.shape):
        note(f"{change}.")
    for complaint in _complaints(net):
        raise ValueError(complaint)
    device = next(net.parameters()).device
    x = torch.rand(2, *data.shape, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.random.fork_rng(devices=[]):
        twin = copied(net)
        for mode in (twin.train, twin.eval):
            if mode() is not twin:
                raise ValueError(
                    f"The model's own {mode.__name__}() gives another object; end it with "
                    "return self, as torch's does."
                )
        shape = _check_function(twin.eval(), x, data)
        several = _check_step(twin.train(), x[:rows], shape, attacked)
    if several:
        count = "1 output in a tuple" if several == 1 else f"{several} outputs"
        note(f"The model gives {count} in training mode; the first of them is trained.")
        net.register_forward_hook(_first)
    _note_frozen(net)
    return net


def _refuse_kind(model: object) -> None:
    """Raise a ValueError for what cannot be trained at all."""
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError(
            "The model is TorchScript, which runs but cannot be trained here; give the Python "
            "module that it was made of, with its weights (--from, in Python load_state_dict)."
        )
    if not isinstance(model, nn.Module):
        kind = model.__name__ if isinstance(model, type) else f"of type {type(model).__name__}"
        raise ValueError(
            f"The model is {'the class' if isinstance(model, type) else 'an object'} {kind}; give "
            "a torch module, such as MyNet()."
        )


def _complaints(net: nn.Module) -> Iterator[str]:
    """Why a file cannot hold the state of a network, or why nothing of it can be trained."""
    for name, kind in _unregistered(net):
        yield (
            f"The model keeps weights in {name!r}, {kind}, where torch does not see them: they "
            "would be neither trained nor written; use nn.ModuleList, nn.ModuleDict, "
            "nn.ParameterList or nn.Parameter."
        )
    for name, value in (*net.named_parameters(), *net.named_buffers()):
        if is_lazy(value):
            yield (
                f"The model keeps {name!r} without a shape after a forward pass; give it one, or "
                "leave it out."
            )
    try:
        net.load_state_dict(net.state_dict())
    except Exception as error:  # a user's hooks may fail in any way
        yield (
            f"The model does not load its own state_dict ({gist(error)}); mend its hooks for "
            "state_dict and load_state_dict."
        )
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
        elif not _finite(value):
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


def _finite(value: Tensor) -> bool:
    """Whether all entries are finite; found without a second tensor of this size."""
    return value.numel() == 0 or bool(torch.isfinite(torch.stack(torch.aminmax(value))).all())


def _unregistered(net: nn.Module) -> Iterator[tuple[str, str]]:
    """Attributes with layers or trainable tensors that are no part of the network."""
    known = {id(part) for part in (*net.modules(), *net.parameters())}
    for prefix, module in net.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") or isinstance(module, nn.RNNBase):
                continue
            many = value.values() if isinstance(value, dict) else value
            for part in many if isinstance(value, list | tuple | dict) else [value]:
                if id(part) not in known and _trains(part):
                    yield f"{prefix}.{name}".removeprefix("."), f"a {type(value).__name__}"


def _trains(part: object) -> bool:
    if isinstance(part, nn.Module):
        return any(p.requires_grad for p in part.parameters())
    return isinstance(part, Tensor) and part.requires_grad and part.is_leaf


def _form(value: Tensor) -> str:
    if value.is_meta:
        return "device meta"
    return "quantised" if value.is_quantized else str(value.layout).removeprefix("torch.")


@torch.no_grad()
def _check_function(net: nn.Module, x: Images, data: Data) -> tuple[int, ...]:
    """The shape of one output; a ValueError unless it depends on its own image alone."""
    version, before = x._version, x.clone()
    once = fitting(net, data, x)
    _refuse_written(x, version)
    if not torch.isfinite(once.float()).all():
        raise ValueError(
            "The model gives NaN or infinite outputs for images of random pixels in [0, 1] in eval "
            "mode; look for a division by 0, a logarithm of 0, or statistics that are not set."
        )
    half = _CLOSE_HALF if once.dtype in (torch.bfloat16, torch.float16) else _CLOSE
    limit = half * max(1.0, float(once.float().abs().max()))
    try:
        alone = net(before[:1])
    except Exception as error:  # a user's module may fail in any way
        raise ValueError(
            f"The model takes two images and fails on one alone ({gist(error)}); let it take "
            "batches of any size, len(x)."
        ) from error
    if _close(once[:1], alone, limit):
        return tuple(once.shape[1:])
    if not _close(once, net(before), limit):
        raise ValueError(
            "The model gives other outputs for the same images a second time in eval mode; take "
            "out random draws (dropout is on only if self.training) and state kept between calls."
        )
    raise ValueError(
        "The model gives an image other outputs alone than in a batch in eval mode; take out "
        "what mixes the images of a batch, such as statistics or attention over its first axis."
    )


def _refuse_written(x: Images, version: int) -> None:
    """Raise a ValueError if a model wrote into its input."""
    if x._version > version:
        raise ValueError(
            "The model writes into its input, which changes the images of later steps; compute "
            "x = x - mean, not x -= mean, and give the first layer inplace=False."
        )


def _close(a: Tensor, b: Tensor, limit: float) -> bool:
    return a.shape == b.shape and bool(((a.float() - b.float()).abs() <= limit).all())


def _check_step(net: nn.Module, x: Images, shape: tuple[int, ...], attacked: bool) -> int:
    """Differentiate one step in training mode.

    Args:
        net: a copy.
        x: one or two images.
        shape: of one output in eval mode.
        attacked: whether the training needs gradients of the images.

    Returns:
        The number of outputs if there are several, else 0.

    Raises:
        ValueError: the step fails, or gives no gradient.
    """
    x = x.clone().requires_grad_(attacked)
    weights = [p for p in net.parameters() if p.requires_grad]
    given = x * 1
    version = given._version
    try:
        found = net(given)
        several = len(found) if isinstance(found, tuple | list) else 0
        out = found[0] if several else found
        if isinstance(out, Tensor) and out.requires_grad:
            moved = _moved(out.float().square().mean(), [x] if attacked else [], weights)
    except (Exception, SystemExit) as error:  # a user's module may fail in any way
        one = "one image", "give a batch size of 2 or more, as batch norm needs"
        many = "two images", "mend its forward for training mode (model.train())"
        images, advice = one if len(x) == 1 else many
        raise ValueError(
            f"The model fails in a training step of {images} ({type(error).__name__}: "
            f"{gist(error)}); {advice}."
        ) from error
    _refuse_written(given, version)
    _refuse_output(out, (len(x), *shape))
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
    if attacked and moved[0] is not None and not moved[0].any():
        note(
            "The gradient of the images is 0 in a training step of two random images, so an attack "
            "finds nothing; look for rounding, sign or saturated outputs in the model."
        )
    return several


def _moved(loss: Tensor, images: list[Tensor], weights: list[nn.Parameter]) -> list[Tensor | None]:
    """The gradients of images and weights, as the training takes them: attacks by `grad`."""
    if images:
        return list(torch.autograd.grad(loss, [*images, *weights], allow_unused=True))
    torch.autograd.backward(loss)
    return [p.grad for p in weights]


def _refuse_output(out: object, shape: tuple[int, ...]) -> None:
    """Raise a ValueError if outputs in training mode are not those of eval mode in kind."""
    if not isinstance(out, Tensor):
        raise ValueError(
            f"The model gives an object of type {type(out).__name__} in training mode; return the "
            "logits, or a tuple that begins with them."
        )
    if tuple(out.shape) != shape:
        raise ValueError(
            f"The model gives outputs of shape {tuple(out.shape)} for {shape[0]} images in "
            f"training mode, and {shape} in eval mode; return the same logits, not a loss, in both."
        )
    if not torch.isfinite(out.float()).all():
        raise ValueError(
            "The model gives NaN or infinite outputs in training mode; look for a division by 0 or "
            "a logarithm of 0."
        )


def rehearse_imitation(method: Method, net: nn.Module, data: Data) -> None:
    """Differentiate the method's own objective once, on a copy and two images without labels.

    Args:
        method: of a network from images to images.
        net: from `rehearsed`.
        data: the training data.

    Raises:
        ValueError: the objective or its preparation fails.
    """
    twin, few = copied(net), data.train.first(2)
    sample = replace(few, classes=data.classes)
    rng = torch.Generator().manual_seed(0)
    try:
        with torch.random.fork_rng(devices=[]):
            objective = next(iter(method.stages(twin, NoThreat(), sample))).problem.objective
            x = few.images().to(next(twin.parameters()).device)
            batch = Batch(x, few.y.to(x.device), rng, memory=objective.memory(), step=0)
            torch.autograd.backward(objective(twin.train(), batch).value)
    except Exception as error:  # a user's module may fail in any way
        raise ValueError(
            f"{type(method).__name__} fails in a training step of two images of {data.name} "
            f"({type(error).__name__}: {gist(error)}); give a network from images to images that "
            "takes these, or another discriminator (--discriminator, --levels)."
        ) from error


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
