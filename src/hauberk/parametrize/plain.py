"""Copies of a user's module in plain layers: lazy ones built, parametrisations computed once."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from hauberk.parametrize.factored import is_ours
from hauberk.runtime.packages import gist

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "OptimizedModule")
_CONTENT = ("_parameters", "_buffers", "_modules")


def copied(model: nn.Module, who: str = "model") -> nn.Module:
    """A deep copy of a user's module; tensors that a forward pass left in it are detached.

    Args:
        model: it is not changed.
        who: the name of the model in errors.

    Raises:
        ValueError: it cannot be copied; the message names the attribute.
    """
    memo: dict[int, Tensor] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        for empty in module.buffers(recurse=False):
            if isinstance(empty, UninitializedBuffer):  # it has no copy of its own
                memo[id(empty)] = UninitializedBuffer(  # type: ignore[call-arg]
                    dtype=empty.dtype, device=empty.device
                )
    try:
        twin = copy.deepcopy(model, memo)
    except Exception as error:  # a user's module may hold anything
        place, kind = next(_uncopied(model), ("", type(model).__name__))
        where = f"its attribute {place!r} is of type {kind}" if place else "of its content"
        raise ValueError(
            f"The {who} cannot be copied, because {where} ({gist(error)}); create that when it is "
            "needed, or give the module's class a __deepcopy__."
        ) from error
    if not isinstance(twin, nn.Module):
        raise ValueError(
            f"The {who} cannot be copied, because its __deepcopy__ gives an object of type "
            f"{type(twin).__name__}; take it out, or return another module of the same class."
        )
    return twin


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of ``torch.compile``, DataParallel and DistributedDataParallel.

    Their wrappers prefix the names of the weights, and a network is wrapped anew where it runs.
    """
    while type(model).__name__ in _WRAPPERS:
        inner = model._modules.get("module", model._modules.get("_orig_mod"))
        if inner is None:
            break
        model = inner
    return model


def _uncopied(model: nn.Module) -> Iterator[tuple[str, str]]:
    """The attributes that cannot be copied: name and type."""
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name in _CONTENT or isinstance(value, Tensor):
                continue
            try:
                copy.deepcopy(value)
            except Exception:
                yield f"{prefix}.{name}".removeprefix("."), type(value).__name__


def made_plain(model: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """Replace lazy layers, masks and parametrisations by plain layers, in place.

    Args:
        model: a module of the caller's own; factors of `hauberk.parametrize` stay.
        shape: of one input, with which lazy layers are built.

    Returns:
        One line for each kind of change, for the user.

    Raises:
        ValueError: a lazy layer or a parametrisation fails.
    """
    _build_lazy(model, shape)
    for p in model.parameters():
        if (
            not is_lazy(p) and p.layout is torch.strided and 0 in p.stride()
        ):  # an expanded view cannot be written to
            p.data = p.data.clone(memory_format=torch.contiguous_format)
    changed: dict[str, list[str]] = {}
    for prefix, module in list(model.named_modules()):
        for kind, name in _bake(module, prefix):
            changed.setdefault(kind, []).append(f"{prefix}.{name}".removeprefix("."))
    return [
        f"{kind} is replaced by the weights that it computes, and is not trained any more: "
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for kind, names in changed.items()
    ]


def _build_lazy(model: nn.Module, shape: tuple[int, ...]) -> None:
    if not any(is_lazy(t) for t in (*model.parameters(), *model.buffers())):
        return
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()(torch.zeros(2, *shape))
    except Exception as error:  # a user's module may fail in any way
        raise ValueError(
            f"The lazy layers of the model cannot be built for images of "
            f"{' × '.join(map(str, shape))} ({gist(error)}); give a model for this shape."
        ) from error
    for module in model.modules():
        module.training = modes.get(module, model.training)


def _bake(module: nn.Module, prefix: str) -> Iterator[tuple[str, str]]:
    """Replace what computes weights in one module; the kind and the tensor's name of each."""
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
            yield "torch.nn.utils.prune", hook._tensor_name
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
            yield "weight_norm", hook.name
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
            loading = module._load_state_dict_pre_hooks  # torch leaves its hook there
            for key, found in list(loading.items()):
                if isinstance(getattr(found, "hook", found), SpectralNormLoadStateDictPreHook):
                    del loading[key]
            yield "spectral_norm", hook.name
    chains = _chains(module)
    if chains and not all(map(is_ours, chains.values())):
        _compute(module, chains, prefix)
        for name, chain in chains.items():
            kinds = " and ".join(type(step).__name__.lstrip("_") for step in chain.children())
            yield kinds, name


def _chains(module: nn.Module) -> dict[str, nn.Module]:
    """The parametrisations of a module's tensors, by name."""
    if not parametrize.is_parametrized(module):
        return {}
    return dict(module.get_submodule("parametrizations").named_children())


def _compute(module: nn.Module, chains: Mapping[str, nn.Module], prefix: str) -> None:
    """Replace parametrised tensors by their values in eval mode; they stay trainable.

    Torch removes a parametrisation from the class, which copies share with the user's own module.
    """
    values: dict[str, Tensor] = {}
    for name, chain in chains.items():
        try:
            with torch.no_grad():
                values[name] = chain.eval()().detach().clone()
        except Exception as error:  # a user's parametrisation may fail in any way
            raise ValueError(
                f"The parametrisation of {f'{prefix}.{name}'.removeprefix('.')} does not give its "
                f"weight ({gist(error)}); remove it first: torch.nn.utils.parametrize."
                "remove_parametrizations(layer, name)."
            ) from error
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        trained = [p.requires_grad for p in chains[name].parameters(recurse=False)]
        if trained:  # a recurrent layer notes its weights as they are set
            setattr(module, name, nn.Parameter(value, requires_grad=any(trained)))
        else:
            module.register_buffer(name, value)
