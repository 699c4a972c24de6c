"""ONNX's recurrent layers as torch modules, with the exact gradient.

GRU: ONNX orders the gates z, r, h and torch r, z, n; the reset comes after the product, as in torch
(``linear_before_reset``). LSTM: ONNX orders i, o, f, c and torch i, f, g, o.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from hauberk.onnx.call import Call, Unknown

_GATES = {"GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
"""Places in ONNX of torch's gates, in torch's order."""
_SEQUENCE, _FIRST_STATE, _PEEPHOLES = 4, 5, 7
"""Places of inputs."""


class Recurrent(nn.Module):
    """A GRU or an LSTM over (time, batch, input); the results are those of the ONNX operator."""

    def __init__(
        self, layer: nn.GRU | nn.LSTM, states: Sequence[Tensor | None], back: bool
    ) -> None:
        super().__init__()
        self.layer, self.back = layer, back
        self.given = tuple(state is None for state in states)
        for place, state in enumerate(states):
            self.register_buffer(f"state{place}", state, persistent=False)

    def forward(self, x: Tensor, *varying: Tensor) -> tuple[Tensor, ...]:
        """(time, direction, batch, hidden); the last states, (direction, batch, hidden) each."""
        rest = iter(varying)
        held = [getattr(self, f"state{place}") for place in range(len(self.given))]
        wide = (-1, x.shape[1], -1)
        states = tuple(
            next(rest) if varies else held[place].expand(wide)
            for place, varies in enumerate(self.given)
        )
        first = (states if len(states) > 1 else states[0]) if states else None
        with torch.backends.cudnn.flags(enabled=False):  # its gradient needs training mode
            out, last = self.layer(x.flip(0) if self.back else x, first)
        out = (out.flip(0) if self.back else out).unflatten(2, (-1, self.layer.hidden_size))
        return out.transpose(1, 2), *(last if isinstance(last, tuple) else (last,))


def _made(call: Call) -> nn.Module:
    direction = call.settings.get("direction", "forward")
    known = {"hidden_size", "direction", "linear_before_reset", "layout", "input_forget"}
    if not set(call.settings) <= known or direction not in ("forward", "reverse", "bidirectional"):
        raise Unknown(f"{call.kind} with unusual settings")
    call.only(layout=0, input_forget=0)
    if call.kind == "GRU" and call.settings.get("linear_before_reset") != 1:
        raise Unknown("GRU whose reset comes before the product")
    if any(place < len(call.present) and call.present[place] for place in (_SEQUENCE, _PEEPHOLES)):
        raise Unknown(f"{call.kind} with sequences of several lengths or peepholes")
    weight, recurrent, bias = call.constant(1), call.constant(2), call.optional(3)
    kind = nn.GRU if call.kind == "GRU" else nn.LSTM
    both = direction == "bidirectional"
    layer = kind(weight.shape[2], recurrent.shape[2], bidirectional=both, device="meta")
    if bias is None:
        bias = weight.new_zeros(len(weight), 2 * weight.shape[1])
    parts = {"weight_ih": weight, "weight_hh": recurrent}
    parts |= dict(zip(("bias_ih", "bias_hh"), bias.chunk(2, 1), strict=True))
    for name, every in parts.items():
        for place, own in enumerate(every):
            gates = torch.stack(own.chunk(len(_GATES[call.kind])))[list(_GATES[call.kind])]
            key = f"{name}_l0{'_reverse' if place else ''}"
            layer.register_parameter(key, nn.Parameter(gates.flatten(0, 1), requires_grad=False))
    count = 1 if call.kind == "GRU" else 2
    places = [p for p in range(_FIRST_STATE, _FIRST_STATE + count) if _is_there(call, p)]
    if places and len(places) != count:
        raise Unknown(f"{call.kind} with one state of two")
    return Recurrent(layer, [call.constants[p] for p in places], direction == "reverse")


def _is_there(call: Call, place: int) -> bool:
    return place < len(call.present) and call.present[place]


RECURRENT: Mapping[str, Callable[[Call], nn.Module]] = MappingProxyType(
    {"GRU": _made, "LSTM": _made}
)
