"""The rehearsal before a training: what is repaired, and what is refused in one line."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.nets import conv, mlp, noise, toy
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

import hauberk as hb
from hauberk.networks import check_fit, module
from hauberk.parametrize.plain import copied, made_plain
from hauberk.runtime.notes import Note
from hauberk.verbs.rehearsal import rehearse_imitation, rehearsed


class Scaled(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return w * 0.5


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


def used(layer: nn.Module) -> nn.Module:
    """The layer after a forward pass, which leaves a computed weight in some layers."""
    layer(torch.rand(2, 36))
    return layer


BAKED: dict[str, Callable[[nn.Module], object]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": lambda layer: parametrize.register_parametrization(layer, "weight", Scaled()),
    "own, bias": lambda layer: parametrize.register_parametrization(layer, "bias", Scaled()),
    "old weight_norm": lambda layer: used(old_weight_norm(layer)),
    "old spectral_norm": lambda layer: used(spectral_norm(layer)),
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "prune twice": lambda layer: prune.random_unstructured(
        prune.l1_unstructured(layer, "weight", 0.3), "weight", 0.2
    ),
}


@pytest.mark.parametrize("name", BAKED)
def test_weights_are_written_as_the_layer_computes_them(name: str) -> None:
    net, x = mlp(), toy().test.images()
    BAKED[name](net[1])
    keys = set(net.state_dict())
    with pytest.warns(
        Note, match=r"replaced by the weights that it computes.*: 1\.(weight|bias)\."
    ):
        made = hb.compress(
            net, toy(), method=hb.DA().with_(epochs=1, attack_steps=1), threat=hb.Linf(0.1)
        )
    assert set(net.state_dict()) == keys
    plain = copied(net)
    made_plain(plain, (1, 6, 6))
    net.eval()
    torch.testing.assert_close(plain.eval()(x), net(x))
    own = module(made.artifact, "f.hbk", copied(net))
    torch.testing.assert_close(own(x), made.model(x))


def test_lazy_layers_are_built() -> None:
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Linear(8, 3))
    assert rehearsed(net, toy(), True)[1].weight.shape == (8, 36)
    with pytest.raises(ValueError, match="lazy layers of the model cannot be built"):
        rehearsed(nn.Sequential(nn.LazyConv1d(2, 3)), toy(), True)


@dataclass
class Config:
    lock: Any = field(default_factory=threading.Lock)


@pytest.mark.parametrize("held", [threading.Lock(), (i for i in range(3)), Config()])
def test_what_cannot_be_copied_is_named(held: object) -> None:
    net = mlp()
    net[1].held = held
    with pytest.raises(ValueError, match=r"cannot be copied, because its attribute '1\.held'"):
        rehearsed(net, toy(), True)


class Around(nn.Module):
    """A network whose forward is another function of it and of the images."""

    def __init__(self, run: Callable[[Around, Tensor], object]) -> None:
        super().__init__()
        self.net, self.aux, self.run, self.calls = mlp(), nn.Linear(36, 3), run, 0

    def forward(self, x: Tensor) -> object:
        return self.run(self, x)


def counted(self: Around, x: Tensor) -> Tensor:
    self.calls += 1
    return self.net(x) + self.calls


def no_gradient(self: Around, x: Tensor) -> Tensor:
    with torch.no_grad():
        return self.net(x)


def failing(self: Around, x: Tensor) -> Tensor:
    if self.training:
        raise KeyError("wrong mode")
    return self.net(x)


REFUSED: dict[str, tuple[Callable[[Around, Tensor], object], str]] = {
    "dict": (lambda s, x: {"logits": s.net(x)}, "type dict with the keys logits in eval mode"),
    "tuple": (lambda s, x: (s.net(x), x), "type tuple in eval mode; return one tensor"),
    "dict in training": (
        lambda s, x: {"a": s.net(x)} if s.training else s.net(x),
        "type dict in training mode",
    ),
    "fails in training": (failing, "training step of two images .KeyError: 'wrong mode'"),
    "in place": (lambda s, x: s.net(x.sub_(0.5)), "writes into its input"),
    "in place, by a view": (lambda s, x: s.net(x.flatten(1).mul_(2)), "writes into its input"),
    "no gradient": (no_gradient, "no gradient to its weights"),
    "detached images": (lambda s, x: s.net(x.detach()), "no gradient to its images"),
    "dropout left on": (
        lambda s, x: s.net(nn.functional.dropout(x, 0.5)),
        "other outputs for the same images a second time",
    ),
    "a counter": (counted, "other outputs for the same images a second time"),
    "batch mates": (lambda s, x: s.net(x - x.mean(0)), "other outputs alone than in a batch"),
    "assert": (lambda s, x: s.net(x[None, 0, :, 9]), "cannot take the images of toy"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_end_a_training_is_one_line_before_it(name: str) -> None:
    run, line = REFUSED[name]
    with pytest.raises(ValueError, match=line) as error:
        rehearsed(Around(run), toy(), True)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_first_of_several_outputs_is_trained(kind: type) -> None:
    def run(self: Around, x: Tensor) -> object:
        return kind((self.net(x), self.aux(x.flatten(1)))) if self.training else self.net(x)

    with pytest.warns(Note, match="gives 2 outputs in training mode; the first of them"):
        made = hb.compress(
            Around(run), toy(), method=hb.DA().with_(epochs=1, attack_steps=1), threat=hb.Linf(0.1)
        )
    assert check_fit(made.model, toy()) == 3


MODES: dict[str, tuple[Callable[[Around, Tensor], object], str]] = {
    "a loss in training": (
        lambda s, x: s.net(x).sum() if s.training else s.net(x),
        r"shape \(\) for 2 images in training mode, and \(2, 3\) in eval mode",
    ),
    "NaN in training": (
        lambda s, x: s.net(x) * (torch.nan if s.training else 1.0),
        "NaN or infinite outputs in training mode",
    ),
    "infinite": (lambda s, x: s.net(x) / 0, "infinite outputs for images of random pixels"),
    "in place in training": (
        lambda s, x: s.net(x.mul_(1.0) if s.training else x),
        "writes into its input",
    ),
    "two at a time": (lambda s, x: s.net(x.reshape(2, 1, 6, 6)), "fails on one alone"),
    "exit": (lambda s, x: sys.exit(3), "cannot take the images of toy"),
    "complex": (lambda s, x: s.net(x).to(torch.complex64), "gives complex numbers"),
}


@pytest.mark.parametrize("name", MODES)
def test_outputs_that_no_training_can_use(name: str) -> None:
    run, line = MODES[name]
    with pytest.raises(ValueError, match=line) as error:
        rehearsed(Around(run), toy(), True)
    assert "\n" not in str(error.value)


def test_a_gradient_of_zero_is_noted() -> None:
    model = Around(lambda s, x: s.net(torch.round(x)))
    with pytest.warns(Note, match="gradient of the images is 0") as said:
        net = rehearsed(model, toy(), True)
    assert len(said) == 1 and net(torch.rand(2, 1, 6, 6)).shape == (2, 3)


def test_what_is_no_module_or_torchscript() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(mlp(), torch.rand(2, 1, 6, 6))
    for given, line in (
        (script, "is TorchScript"),
        (nn.Linear, "is the class Linear; give a torch module"),
        (mlp().state_dict(), "is an object of type OrderedDict"),
    ):
        with pytest.raises(ValueError, match=line):
            rehearsed(given, toy(), True)


def compiled(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.compile(net)


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled])
def test_wrappers_are_taken_off(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    method = hb.DA().with_(epochs=1, attack_steps=1)
    made = hb.compress(wrap(mlp()), toy(), method=method, threat=hb.Linf(0.1), out=tmp_path)
    assert set(made.artifact.state()) == set(mlp().state_dict())
    x = toy().test.images()
    assert torch.equal(hb.load(made.path, model=wrap(mlp()))(x), made.model(x))


def hidden(net: nn.Module) -> None:
    net.held = [nn.Linear(3, 3)]


def renamed(net: nn.Module) -> None:
    def rename(own: nn.Module, state: dict[str, Tensor], *_: object) -> None:
        state["other"] = state.pop("1.weight")

    net._register_state_dict_hook(rename)


def itself(net: nn.Module) -> None:
    net.__class__ = type("Own", (nn.Sequential,), {"__deepcopy__": lambda own, memo: own})


def silent(net: nn.Module) -> None:
    net.__class__ = type("Own", (nn.Sequential,), {"eval": lambda own: None})


def unbuilt(net: nn.Module) -> None:
    net.register_parameter("u", nn.parameter.UninitializedParameter())


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (hidden, "keeps weights in 'held', a list"),
        (renamed, "does not load its own state_dict"),
        (itself, "__deepcopy__ gives the module itself"),
        (silent, r"own .*\(\) gives another object"),
        (unbuilt, "keeps 'u' without a shape"),
    ],
)
def test_odd_modules(spoil: Callable[[nn.Module], None], line: str) -> None:
    net = mlp()
    spoil(net)
    with pytest.raises(ValueError, match=line):
        rehearsed(net, toy(), True)


def test_an_expanded_weight_is_filled_from_the_file() -> None:
    class Expanded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.rand(1, 36).expand(3, 36))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) @ self.w.t()

    made = hb.compress(
        Expanded(), toy(), method=hb.DA().with_(epochs=1, attack_steps=1), threat=hb.Linf(0.1)
    )
    x = toy().test.images()
    assert torch.equal(module(made.artifact, "f.hbk", Expanded())(x), made.model(x))


def test_the_objective_of_a_generator_is_rehearsed() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.b = nn.Conv2d(4, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.norm(self.a(x)).relu())

    images, net = replace(toy(), classes=0), Wide()
    before = copied(net).state_dict()
    rehearse_imitation(hb.GANSlimming(), net, images)
    assert all(torch.equal(t, net.state_dict()[name]) for name, t in before.items())
    with pytest.raises(ValueError, match="fails in a training step of two images of toy"):
        rehearse_imitation(hb.GANSlimming(discriminator=4, levels=6), net, images)


STATE: dict[str, tuple[Tensor, str]] = {
    "complex": (torch.ones(3, dtype=torch.complex64), "as complex64, which no file can hold"),
    "sparse": (torch.eye(3).to_sparse(), r"no file can hold .sparse_coo"),
    "mask": (torch.full((3, 3), -torch.inf).triu(1), "persistent=False, or use torch.finfo"),
}


@pytest.mark.parametrize("name", STATE)
def test_state_that_no_file_holds_is_met_before_the_training(name: str) -> None:
    tensor, line = STATE[name]
    net = mlp()
    net.register_buffer("kept", tensor)
    with pytest.raises(ValueError, match=f"keeps 'kept'.*{line}"):
        rehearsed(net, toy(), True)


def test_a_mask_outside_the_state_is_not_averaged() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()
            mask = torch.full((3, 3), -torch.inf).triu(1)
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            z = self.net(x)
            return ((z[:, None] * z[:, :, None] + self.mask).softmax(-1) @ z[:, :, None])[:, :, 0]

    method = hb.AL0(keep=0.3).with_(epochs=1, dense_epochs=1, attack_steps=1)
    made = hb.compress(Masked(), toy(), method=method, threat=hb.Linf(0.1))
    assert "mask" not in made.artifact.state()


def test_frozen_weights_stay_as_they_are() -> None:
    net = conv()
    net[0].requires_grad_(False)
    method = hb.AL0(keep=0.1).with_(epochs=1, dense_epochs=1, attack_steps=1)
    with pytest.warns(Note, match=r"Frozen weights stay as they are, and dense: 0\.weight, 15%"):
        made = hb.compress(net, toy(), method=method, threat=hb.Linf(0.1))
    assert torch.equal(made.model[0].weight, net[0].weight)
    assert torch.equal(made.model[0].bias, net[0].bias)
    with pytest.raises(ValueError, match="no weights to train"):
        rehearsed(net.requires_grad_(False), toy(), True)


def test_double_weights_are_answered_with_the_conversion() -> None:
    with pytest.raises(ValueError, match=r"its weights are float64, so give model\.float"):
        rehearsed(mlp().double(), toy(), True)


def test_a_resnet_is_rehearsed_in_two_seconds() -> None:
    net, data = hb.models.build("resnet18:16"), noise(3, 32, 32)
    start = time.process_time()
    rehearsed(net, data, True)
    assert time.process_time() - start < 2


def test_a_batch_of_one_image_that_batch_norm_cannot_take() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    rehearsed(net, toy(), attacked=True)
    with pytest.raises(ValueError, match=r"step of one image .*batch size of 2 or more"):
        rehearsed(net, toy(), attacked=True, rows=1)
