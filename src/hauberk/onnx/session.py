"""A torch module that executes an ONNX graph in ONNX Runtime on the CPU: ``x ↦ f(x)``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hauberk.runtime.packages import gist, need
from hauberk.types import Images

if TYPE_CHECKING:
    from onnx import ModelProto

_FATAL = 4
"""ONNX Runtime's log level for fatal errors; lower levels stay silent."""


class Session(nn.Module):
    """Logits, or the images of a generator, from ONNX Runtime, without gradients.

    A deep copy is the same object, because the runtime's session is immutable.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str = "The ONNX file",
        threads: int | None = None,
        single: bool = False,
        images: bool = False,
    ) -> None:
        """Load a graph with one input and one output.

        Args:
            content: a serialised ONNX model that contains its weights.
            name: subject of errors, such as the file's path.
            threads: number of CPU threads; None means torch's number.
            single: whether the graph has a fixed batch size of 1.
            images: whether the graph gives images instead of logits.

        Raises:
            ValueError: ONNX Runtime is not installed, or refuses the graph.
        """
        super().__init__()
        self.name, self.single, self.images = name, single, images
        try:
            self._session = _opened(content, threads)
            (self._input,) = (tensor.name for tensor in self._session.get_inputs())
        except Exception as error:  # the runtime's errors have no common class
            raise ValueError(
                f"{name} is refused by ONNX Runtime ({gist(error)}); export it again, or update "
                "onnxruntime."
            ) from error

    def forward(self, x: Images) -> Tensor:
        """Logits (batch, class) or images, on the device of ``x``.

        Raises:
            ValueError: the runtime fails, or does not give one row of logits, or one image, for
                each input.
        """
        if self.single and len(x) != 1:
            return torch.cat([self(image) for image in torch.split(x, 1)])
        given = x.detach().to("cpu", torch.float32).contiguous().numpy()
        try:
            (out,) = self._session.run(None, {self._input: given})
        except Exception as error:  # the runtime's errors have no common class
            raise ValueError(
                f"{self.name} does not run in ONNX Runtime on inputs of shape "
                f"{tuple(x.shape)} ({gist(error)}); export it again."
            ) from error
        if out.ndim != (4 if self.images else 2) or len(out) != len(x):
            raise ValueError(
                f"{self.name} gives an output of shape {out.shape} for {len(x)} inputs instead "
                f"of one {'image' if self.images else 'row of logits'} for each; export it again."
            )
        return torch.from_numpy(out).to(x.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return self


def _opened(content: bytes, threads: int | None) -> Any:
    need("onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads or torch.get_num_threads()
    # spinning threads would take cores from torch and from other sessions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def constants(model: ModelProto, names: Sequence[str]) -> Mapping[str, Tensor]:
    """Compute values of a graph that do not depend on its input, in ONNX Runtime.

    Args:
        model: the graph.
        names: names of initializers, and of values that nodes compute from them.

    Raises:
        ValueError: the runtime refuses the nodes that compute the values.
    """
    from onnx import ModelProto, ValueInfoProto, numpy_helper

    stored = {t.name: t for t in model.graph.initializer if t.name in set(names)}
    made = [name for name in names if name not in stored]
    part = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "constants"
    part.graph.node.extend(_ancestors(model, made))
    needed = {name for node in part.graph.node for name in node.input}
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in needed)
    part.graph.output.extend(ValueInfoProto(name=name) for name in made)
    try:
        found = {name: numpy_helper.to_array(t) for name, t in stored.items()}
        if made:
            arrays = _opened(part.SerializeToString(), None).run(made, {})
            found |= dict(zip(made, arrays, strict=True))
        return {name: torch.from_numpy(array.copy()) for name, array in found.items()}
    except Exception as error:  # the errors of the runtime and of onnx have no common class
        raise ValueError(
            f"ONNX Runtime cannot compute the weights ({gist(error)}); export the file again, or "
            "update onnxruntime."
        ) from error


def _ancestors(model: ModelProto, names: Sequence[str]) -> list[Any]:
    """The nodes that some values depend on, in the graph's order."""
    wanted, kept = set(names), []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
