"""Distances between images, on cases whose answers are known, and the row of a small generator."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn

import hauberk as hb
from hauberk.dataset import Examples
from hauberk.evaluation import Estimate, Features, ImageEvaluation, ImageReport, ImageRow, estimate
from hauberk.evaluation.features import pooled
from hauberk.evaluation.frechet import frechet
from hauberk.evaluation.image_distances import distances
from hauberk.evaluation.shipped import Shipped

GENERATOR = "cyclegan-resnet9:4,1"


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def some(count: int = 6, side: int = 16, channels: int = 3) -> Examples:
    x = rand(count, channels, side, side)
    return Examples(x, torch.zeros(count, dtype=torch.int64))


def generator(seed: int = 0) -> nn.Module:
    return hb.models.build(GENERATOR, seed=seed)


def classifier() -> nn.Module:
    return hb.models.build("resnet18:1")


def shipped(net: nn.Module, name: str = "small.hbk") -> Shipped:
    return Shipped(name, 1000, 10_000, net)


def row(net: nn.Module, dense: nn.Module, **settings: Any) -> ImageRow:
    few = {"resamples": 20, "timing": False, **settings}
    return ImageEvaluation(**few)(shipped(net), some(), dense=dense)


def test_squared_error_and_decibels_by_hand() -> None:
    a = torch.full((2, 1, 4, 4), 0.5)
    b = a + torch.tensor([0.1, 0.2]).view(2, 1, 1, 1)
    found = distances(a, b)
    assert found["mse"] == pytest.approx([0.01, 0.04], rel=1e-5)
    assert found["psnr"] == pytest.approx([20, 20 - 20 * np.log10(2)], rel=1e-5)
    assert "ssim" not in found  # smaller than its window
    assert list(distances(a, a)["psnr"]) == [100, 100]


def test_ssim_is_one_for_equal_images_and_falls_with_noise() -> None:
    a = rand(3, 3, 16, 16)
    assert distances(a, a)["ssim"] == pytest.approx([1, 1, 1], abs=1e-12)
    slightly, much = (distances(a, a + s * (rand(3, 3, 16, 16, seed=1) - 0.5)) for s in (0.1, 0.5))
    assert (slightly["ssim"] > much["ssim"]).all() and (slightly["ssim"] < 1).all()


def test_frechet_of_gaussians_with_diagonal_covariances() -> None:
    rng = np.random.default_rng(0)
    n, (s, t) = 100_000, np.array([[1.0, 2.0, 0.5], [1.5, 1.0, 0.5]])
    a = torch.from_numpy(rng.normal(size=(n, 3)) * s)
    b = torch.from_numpy(rng.normal(size=(n, 3)) * t + [1, 0, 2])
    assert frechet(a, b) == pytest.approx(1 + 4 + ((s - t) ** 2).sum(), rel=0.02)


@pytest.mark.parametrize("n", [4, 7, 40], ids=lambda n: f"n={n}")
def test_frechet_is_the_formula_with_a_matrix_root(n: int) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(n + 3, 6)) + 1
    s, t = np.cov(a.T), np.cov(b.T)
    root = np.real(sqrtm(s @ t + 1e-12 * np.eye(6)))
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * root)
    assert frechet(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(wanted, rel=1e-4)


def test_frechet_of_equal_sets_is_zero_and_of_one_image_refused() -> None:
    a = rand(5, 20)
    assert frechet(a, a.flip(0)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="2 or more"):
        frechet(a[:1], a[:1])


def test_the_interval_of_a_mean_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    draws = rng.exponential(size=(200, 40))
    found = [estimate.mean(each, resamples=200, seed=0) for each in draws]
    covered = sum(e.low <= 1 <= e.high for e in found) / len(found)
    assert 0.85 < covered < 0.99  # a skewed distribution, and n = 40
    assert all(e.low <= e.value <= e.high for e in found)


def test_the_interval_of_a_distance_holds_its_value() -> None:
    a, b = rand(30, 40, seed=1), rand(30, 40, seed=2)
    found = estimate.of_distance(lambda i: frechet(a[i], b[i]), 30, resamples=100, seed=0)
    assert 0 < found.low < found.value < found.high
    assert found == estimate.of_distance(lambda i: frechet(a[i], b[i]), 30, resamples=100, seed=0)


def test_estimates_survive_json() -> None:
    found = Estimate(3.0, 2.5, 3.5, 7)
    assert Estimate.from_json(json.loads(json.dumps(found.json()))) == found
    assert found.text(".1f") == "3.0 (2.5–3.5)"


def test_features_are_the_input_of_the_last_linear_layer() -> None:
    net, x = classifier(), rand(2, 3, 32, 32)
    features = Features.of(net)
    wanted = nn.Sequential(*list(net.children())[:-1]).eval()(x)
    assert torch.allclose(features(x), wanted, atol=1e-6)
    assert "input of fc" in features.name and features.teacher.digest() in features.name
    named = Features.of(net, "stage2_1")
    assert named(x).ndim == 4 and pooled(named(x)).shape == (2, 8)
    assert "stage2_1" in named.name and named.name != Features.of(net, "stage3_1").name


def test_features_refuse_what_they_do_not_have_or_take() -> None:
    net = classifier()
    with pytest.raises(ValueError, match=r"no layer 'stage2'; did you mean stage2_"):
        Features.of(net, "stage2")
    with pytest.raises(ValueError, match="no linear layer"):
        Features.of(generator())
    with pytest.raises(ValueError, match="cannot be computed for images of 1 × 16 × 16"):
        Features.of(net)(rand(2, 1, 16, 16))


def test_equal_nets_are_at_no_distance() -> None:
    found = row(generator(), generator(), features=Features.of(classifier()))
    values = {name: each.value for name, each in found.to_teacher.items()}
    assert values == pytest.approx(
        {"mse": 0, "psnr": 100, "ssim": 1, "perceptual": 0, "frechet": 0}, abs=1e-9
    )
    assert not found.to_truth and not found.warnings and found.n == 6


def test_a_row_survives_json_and_fills_a_table() -> None:
    evaluation = ImageEvaluation(Features.of(classifier()), resamples=20, limit=4, cost_size=8)
    found = evaluation(
        shipped(generator(1)), some(), dense=generator(), truth=some().images(), name="b"
    )
    assert ImageRow.from_json(json.loads(json.dumps(found.json()))) == found
    assert found.n == 4 and found.cost_shape == (3, 8, 8)
    assert set(found.to_truth) == {"mse", "psnr", "ssim"} and set(found.latency_ms) == {"batch1"}
    assert found.macs is not None and found.macs.dense == found.dense_macs
    assert found.dense_bytes == 4 * sum(p.numel() for p in generator().parameters())
    text = ImageReport([found], {"seed": 0}).markdown()
    for part in ("PSNR, dB to truth", "Fréchet", found.features, "4 images of 3 × 16 × 16",
                 "MACs and ms for one image of 3 × 8 × 8", "- seed: 0"):  # fmt: skip
        assert part in text
    assert "FID" not in text


def test_truth_may_be_a_function_of_the_inputs() -> None:
    class Echo(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    few = ImageEvaluation(resamples=20, timing=False)
    found = few(shipped(Echo()), some(), dense=generator(), truth=lambda x: x)
    assert found.to_truth["mse"].value == 0 < found.to_teacher["mse"].value


class _Odd(nn.Module):
    """A generator with a fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def forward(self, x: Tensor) -> Tensor:
        answers = {
            "gray": x[:, :1],
            "nan": x * torch.nan,
            "logits": x.mean((2, 3)),
            "signed": 2 * x - 1,
        }
        return answers[self.fault]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("gray", "The dense net has images of 1 × 16 × 16 and the network gives 3 × 16 × 16"),
        ("nan", "The dense net gives NaN"),
        ("logits", r"The dense net gives \(6, 3\) for 6 images"),
    ],
)
def test_a_dense_net_of_another_kind_is_refused(fault: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        row(generator(), _Odd(fault))


def test_what_limits_the_figures_is_said() -> None:
    (about,) = row(generator(), _Odd("signed")).warnings
    assert "leave [0, 1]" in about
    small = Examples(rand(3, 3, 8, 8), torch.zeros(3, dtype=torch.int64))
    few = ImageEvaluation(resamples=20, timing=False)
    found = few(shipped(generator()), small, dense=generator())
    assert "at least 11 pixels" in found.warnings[0] and "ssim" not in found.to_teacher


def test_too_few_images_and_sizes_that_do_not_fit() -> None:
    few = ImageEvaluation(resamples=20, timing=False)
    with pytest.raises(ValueError, match="given 1 held-out images; give 2 or more"):
        few(shipped(generator()), some(1), dense=generator())
    with pytest.raises(ValueError, match="ground truth has 2 images for 6"):
        few(shipped(generator()), some(), dense=generator(), truth=rand(2, 3, 16, 16))
    with pytest.raises(ValueError, match="hbk cannot take images of 1 × 16 × 16"):
        few(shipped(generator()), some(channels=1), dense=generator())
    with pytest.raises(ValueError, match="resamples was given as 0"):
        ImageEvaluation(resamples=0)
