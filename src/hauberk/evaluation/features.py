"""Features of images: the activations of a layer of a classifier, with a name for reports.

    φ(x) = input of the last linear layer, or output of a named layer

Distances on features are figures of these features: a report names them, and figures on other
features, or of other classifiers, are not comparable.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hauberk.class_names import few
from hauberk.objectives.distill import Teacher
from hauberk.runtime.packages import gist
from hauberk.types import Images


@dataclass(frozen=True, eq=False)
class Features:
    """The activations of one layer; `Features.of` makes them.

    Attributes:
        teacher: the frozen classifier.
        layer: name of the layer; empty for the input of the last linear layer.
        name: of the features in a report: the file, the layer and a digest of the weights.
    """

    teacher: Teacher
    layer: str
    name: str

    @classmethod
    def of(cls, net: nn.Module, layer: str = "", *, source: str = "") -> Features:
        """The features of a classifier, which is copied.

        Args:
            net: a classifier for images in [0, 1].
            layer: name of the layer whose output is used; by default the input of the last linear
                layer.
            source: the file for ``name``; by default the type of the network.

        Raises:
            ValueError: there is no such layer, or no linear layer.
        """
        teacher = Teacher(net)
        _layer_of(teacher.net, layer, source or type(net).__name__)
        shown = layer or f"input of {_last_linear(teacher.net)}"
        name = f"{source or type(net).__name__}, {shown}, {teacher.digest()}"
        return cls(teacher, layer, name)

    @torch.no_grad()
    def __call__(self, x: Images) -> Tensor:
        """The activations of images, (batch, …).

        Raises:
            ValueError: the classifier does not take such images.
        """
        layer = _layer_of(self.teacher.net, self.layer, self.name)
        found: list[Any] = []

        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any = None) -> None:
            found.append(output if self.layer else inputs[0])

        hook = (
            layer.register_forward_hook(keep)
            if self.layer
            else layer.register_forward_pre_hook(keep)
        )
        try:
            self.teacher(x)
        except RuntimeError as error:
            shape = " × ".join(map(str, x.shape[1:]))
            raise ValueError(
                f"The features {self.name} cannot be computed for images of {shape} "
                f"({gist(error)}); give a classifier that takes them."
            ) from error
        finally:
            hook.remove()
        if not found or not isinstance(found[-1], Tensor) or found[-1].ndim < 2:
            raise ValueError(
                f"The layer {self.layer!r} of the features {self.name} gives no row of numbers for "
                "each image; give another layer."
            )
        return found[-1].float()


def pooled(activations: Tensor) -> Float[Tensor, "batch feature"]:
    """The mean of each channel over its places; a row of features stays as it is."""
    return activations if activations.ndim == 2 else activations.flatten(2).mean(2)


def _layer_of(net: nn.Module, layer: str, name: str) -> nn.Module:
    known: dict[str, nn.Module] = dict(net.named_modules())
    if not layer:
        return known[_last_linear(net)]
    if layer in known:
        return known[layer]
    names = [other for other in known if other]
    near = [other for other in names if other.startswith(layer)]
    near = (near or difflib.get_close_matches(layer, names, n=1, cutoff=0.3))[:1]
    hint = f"did you mean {near[0]}?" if near else f"give one of {few(names)}."
    raise ValueError(f"The features {name} have no layer {layer!r}; {hint}")


def _last_linear(net: nn.Module) -> str:
    """The name of the last linear layer in the order of definition."""
    found: list[str] = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    if not found:
        raise ValueError(
            f"The features {type(net).__name__} have no linear layer; name a layer (FILE:layer)."
        )
    return found[-1]
