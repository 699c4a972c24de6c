"""Normalisation belongs to the file: mean and deviation ship with the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.nets import noise, toy
from torch import Tensor, nn

import hauberk as hb
from hauberk.artifact import Artifact
from hauberk.artifact.answer import agree, answer
from hauberk.artifact.format import ArtifactError
from hauberk.cli.run_spec import RunSpec
from hauberk.models import Ensemble, build
from hauberk.runtime.notes import Note
from hauberk.verbs.compress import shipped

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHAPE = (3, 8, 8)
X = torch.rand(3, *SHAPE, generator=torch.manual_seed(0))


class Residual(nn.Module):
    """A small ResNet: one block, its mean over the pixels, one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.two, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.one(x)))
        logits: Tensor = self.head(torch.relu(x + self.two(x)).mean((2, 3)))
        return logits


def mobile() -> nn.Module:
    """A small MobileNet: a strided convolution, a depthwise one, a pointwise one."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.Hardswish()),
        *(nn.Conv2d(6, 6, 3, 1, 1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU6()),
        *(nn.Conv2d(6, 8, 1, bias=False), nn.BatchNorm2d(8)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 4)),
    )


class Own(nn.Module):
    """A user's own wrapper, whose constants are in no state."""

    def __init__(self, net: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.net, self.mean, self.std = net, mean, std

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net((x - self.mean) / self.std)
        return logits


def data() -> hb.Data:
    return noise(*SHAPE, classes=4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    shipped(hb.Normalized(mobile(), MEAN, STD).eval(), data()).save(tmp_path / "model.hbk")
    return tmp_path / "model.hbk"


def test_the_file_records_it_under_the_checksum(path: Path) -> None:
    prepared = Artifact.load(path).about.preparation
    assert (prepared.mean, prepared.std) == (MEAN, STD)
    with pytest.raises(ArtifactError, match="damaged"):
        Artifact.from_bytes(path.read_bytes().replace(b"0.485", b"0.486"))


def test_the_files_numbers_win(path: Path) -> None:
    wanted = hb.load(path, hb.Normalized(mobile(), MEAN, STD))(X)
    assert torch.equal(hb.load(path, mobile())(X), wanted)
    with pytest.warns(Note, match=r"trained with mean 0\.485.*model's own, mean 0, 0, 0 and"):
        other = hb.load(path, hb.Normalized(mobile(), [0, 0, 0], [1, 1, 1]))
    assert torch.equal(other(X), wanted)


def test_constants_in_other_code_are_refused(tmp_path: Path) -> None:
    net = Own(mobile(), 0.45, 0.22).eval()
    shipped(net, data()).save(tmp_path / "a.hbk")
    assert torch.equal(hb.load(tmp_path / "a.hbk", Own(mobile(), 0.45, 0.22))(X), net(X))
    with pytest.raises(ValueError, match=r"other outputs in this module.*give the same code") as e:
        hb.load(tmp_path / "a.hbk", Own(mobile(), 0.0, 1.0))
    assert "\n" not in str(e.value)
    with pytest.raises(ValueError, match="other outputs"):
        hb.evaluate(tmp_path / "a.hbk", data(), threat=hb.Linf(0.1), model=Own(mobile(), 0.0, 1.0))


def test_an_answer_is_close_or_not() -> None:
    net = mobile().eval()
    found = answer(net, SHAPE)
    assert len(found) == 17 and agree(found, found) and agree("", found)
    assert not agree("1.00e+00 1.00e+00", "1.00e+00 1.10e+00")
    assert agree("1.00e+00 1.00e-06", "1.01e+00 9.00e-06")
    assert answer(nn.Identity(), (4,)) and not answer(nn.Linear(5, 2), SHAPE)
    assert answer(nn.ReLU(), SHAPE) and not answer(Own(nn.ReLU(), 0.0, 0.0), SHAPE)


@pytest.mark.parametrize("spec", ["resnet18:2", "ensemble:2xresnet18:2"])
def test_a_network_by_name_needs_no_code(tmp_path: Path, spec: str) -> None:
    net = build(spec)
    if isinstance(net, Ensemble):
        net.members = nn.ModuleList([hb.Normalized(m, MEAN, STD) for m in net.members])
    else:
        net = hb.Normalized(net, MEAN, STD)
    shipped(net.eval(), noise(3, 32, 32)).save(tmp_path / "a.hbk")
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(hb.load(tmp_path / "a.hbk")(x), net(x))


@pytest.mark.parametrize(("mean", "std"), [("[0.5]", "[]"), ("[0.5]", "[0.0]"), ("[NaN]", "[1]")])
def test_odd_numbers_in_a_header(path: Path, mean: str, std: str) -> None:
    from hauberk.artifact import format

    facts = format.facts(Artifact.load(path).about) | {"mean": mean, "std": std}
    with pytest.raises(ArtifactError, match="header"):
        format.about_of(facts)


def test_flags_make_a_plain_net_normalised() -> None:
    words = "train --data digits --model digits-cnn --threat linf:0.1 --mean 0.3 --std 0.35"
    net = RunSpec.parse(words.split()).start.network()
    assert isinstance(net, hb.Normalized) and net.normalization == ((0.3,), (0.35,))
    for odd in ("--mean 0.3", "--std 0.3"):
        with pytest.raises(ValueError, match="--mean and --std belong together"):
            RunSpec.parse([*words.split()[:7], *odd.split()])
    with pytest.raises(ValueError, match="positive ones for std"):
        RunSpec.parse([*words.split()[:-1], "0"]).start.network()


@pytest.mark.slow
@pytest.mark.parametrize("net", [Residual, mobile])
def test_global_pooling_exports(tmp_path: Path, net: type) -> None:
    whole = hb.Normalized(net(), MEAN, STD).eval()
    shipped(whole, data()).save(tmp_path / "a.hbk")
    for form in ("onnx", "onnx-int8"):
        made = hb.export(tmp_path / "a.hbk", form, model=net(), data=data()).made
        assert made.about.preparation.mean == MEAN
        apart = (made.session()(X) - whole(X)).abs().max() / whole(X).abs().max()
        assert apart < (1e-5 if form == "onnx" else 0.2)


@pytest.mark.slow
def test_a_training_keeps_its_budget_and_answers(tmp_path: Path) -> None:
    net = hb.Normalized(
        nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Linear(8, 3)), [0.3], [0.4]
    )
    method = hb.SizeTarget(size="600B").with_(
        epochs=2, dense_epochs=1, codebook_epochs=1, most_bits=2, batch_size=32
    )
    made = hb.compress(net, toy(), threat=hb.Linf(0.05), method=method, out=tmp_path)
    assert made.path is not None and made.path.stat().st_size <= 600
    about = Artifact.load(made.path).about
    assert about.answer and about.preparation.mean == (0.3,)


def test_channels_are_not_made_by_broadcasting() -> None:
    net = hb.Normalized(mobile(), MEAN, STD)
    with pytest.raises(ValueError, match="mean and std have 3 channels, images 1"):
        net(torch.rand(2, 1, 8, 8))
    assert hb.Normalized(mobile(), [0.5], [0.5])(X).shape == (3, 4)
