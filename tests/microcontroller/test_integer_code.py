"""The C code gives the integers of the reference in torch, to the bit, for nets of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers.integer_nets import Builder, file_of
from tests.helpers.nets import artifact_of
from torch import Tensor, nn

from hauberk.microcontroller.code_file import CodeFile
from hauberk.microcontroller.compiled import Compiled, agree
from hauberk.microcontroller.graph import IntegerGraph, Pool
from hauberk.microcontroller.memory import placed, plan
from hauberk.microcontroller.reference import Reference
from hauberk.microcontroller.targets import TARGETS

STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-O1")
SANITIZED = (*STRICT, "-fsanitize=undefined", "-fno-sanitize-recover=all")
FIXED = replace(TARGETS["host"], entropy_code=1 << 20)
ENTROPY = replace(TARGETS["host"], entropy_code=-(1 << 20))


def images(graph: IntegerGraph, count: int = 40) -> Tensor:
    """Random images, half of them of black and white only."""
    x = torch.randint(0, 256, (count, *graph.image.shape), generator=torch.manual_seed(0))
    x[: count // 2] = 255 * (x[: count // 2] > 127)
    return x / 255


def lenet() -> IntegerGraph:
    net = Builder((1, 12, 12), seed=1, wide=False)
    net.conv(4, (5, 5), pad=(2, 2), relu=True, pool=Pool("max", 2, 2, 2))
    net.conv(6, (5, 5), relu=True, pool=Pool("max", 2, 2, 2), values=3)
    return net.linear(20, 0.1).linear(10, zero=128).graph()


def signed() -> IntegerGraph:
    """Zero points inside of the range, padding, strides, groups, dilation, uneven windows."""
    net = Builder((2, 11, 9), seed=2)
    net.conv(4, (3, 3), stride=2, pad=(1, 1), zero=100)
    net.conv(8, (3, 1), groups=4, pad=(1, 0), zero=37, density=0.9)
    net.conv(8, (2, 2), groups=8, dilation=2, pad=(1, 1), zero=9)
    net.conv(3, (1, 1), stride=3, pad=(0, 0), zero=200)
    return net.linear(5, zero=128).graph()


def residual() -> IntegerGraph:
    net = Builder((3, 8, 8), seed=3, wide=False)
    net.conv(6, (3, 3), pad=(1, 1), relu=True, pool=Pool("max", 3, 3, 2, (1, 1)))
    net.conv(6, (3, 3), pad=(1, 1), zero=120)
    net.total(1, 2, relu=True)
    net.conv(6, (1, 1), relu=True, pool=Pool("mean", 2, 2, 1))
    net.total(4, pool=Pool("mean", 3, 3, 3))
    return net.linear(4, 0.9, zero=128).graph()


def convolution_last() -> IntegerGraph:
    net = Builder((1, 6, 6), seed=4).conv(4, (3, 3), density=0.4, relu=True)
    return net.conv(7, (4, 4), zero=128).graph()


def first_sum() -> IntegerGraph:
    net = Builder((2, 4, 4), seed=5).total(0, pool=Pool("mean", 2, 2, 2, (1, 1)))
    return net.linear(3, 0.7, zero=128).graph()


NETS = [lenet, signed, residual, convolution_last, first_sum]


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("target", [FIXED, ENTROPY], ids=["fixed", "entropy"])
def test_the_code_gives_the_integers_of_the_reference(make, target) -> None:
    graph = make()
    graph.refuse_overflow()
    file = CodeFile(graph, file_of(graph).about, target)
    assert file.coding.entropy == (target is ENTROPY)
    x = images(graph)
    code, twin = Compiled(file, flags=SANITIZED), Reference(graph)
    agree(code, twin, x)
    assert len(torch.unique(twin(x), dim=0)) > len(x) // 2
    logits, classes = code.predict((x * 255).round().to(torch.uint8))
    assert torch.equal(logits.double(), twin(x).double().floor())
    assert torch.equal(classes, twin(x).argmax(1))


@pytest.mark.parametrize("make", [lenet, residual])
def test_bands_change_nothing(make) -> None:
    graph = make()
    file = file_of(graph)
    file.__dict__["memory"] = placed(graph, [min(1, band) for band in plan(graph).bands])
    assert file.source != file_of(graph).source
    agree(Compiled(file, flags=SANITIZED), Reference(graph), images(graph, 10))


def test_the_widest_bands_that_fit_are_planned() -> None:
    graph = lenet()
    wide, least = plan(graph), plan(graph, 1)
    some = plan(graph, (wide.nbytes + least.nbytes) // 2)
    assert wide.bands[:2] == (6, 1) and least.nbytes < some.nbytes < wide.nbytes
    assert plan(graph, some.nbytes) == some
    target = replace(TARGETS["host"], flash=1 << 20, ram=some.nbytes + graph.image.size)
    assert CodeFile(graph, file_of(graph).about, target).memory == some


def test_activations_that_live_together_do_not_overlap() -> None:
    graph = residual()
    made = plan(graph)
    uses = {0: range(3), 1: range(1, 3), 2: range(2, 4), 3: range(3, 5), 4: range(4, 6)}
    for one in uses:
        for other in uses:
            together = set(uses[one]) & set(uses[other])
            if one < other and together:
                a, b = made.offsets[one], made.offsets[other]
                sizes = [graph.layers[n].output.size for n in (one, other)]
                assert a + sizes[0] <= b or b + sizes[1] <= a


def test_the_file_is_read_again_and_a_changed_one_is_refused() -> None:
    file = file_of(residual())
    text = file.source.encode()
    again = CodeFile.from_bytes(text, "net.c", "net")
    assert again.source == file.source and again.header == file.header
    assert again.about == file.about and again.source == file.source
    changed = [text.replace(b"sum = 0", b"sum = 1", 1), text[:-5], text[200:], b"", b"int main;"]
    changed.append(text.replace(b"return r.best", b'return system("x")'))
    changed += [text[:n] + b"A" + text[n + 1 :] for n in range(900, len(text), 2999)]
    for content in changed:
        if content != text:
            with pytest.raises(ValueError, match=r"^net.c (has|was)[^\n]+\.$"):
                CodeFile.from_bytes(content, "net.c", "net")


def test_the_gradient_passes_the_rounding() -> None:
    graph = lenet()
    x = images(graph, 4).requires_grad_()
    Reference(graph)(x)[:, 3].sum().backward()
    assert (x.grad.flatten(1).abs().amax(1) > 0).all()


def test_sums_that_could_leave_32_bits_are_refused() -> None:
    graph = Builder((1, 3, 3)).linear(2, zero=128).graph()
    large = replace(graph.layers[0], start=np.array([2147483000, 0]))
    with pytest.raises(ValueError, match=r"^The sums of the layer layer can reach [^\n]+\.$"):
        IntegerGraph(graph.image, (large,)).refuse_overflow()


def test_a_net_that_does_not_fit_says_by_how_much() -> None:
    graph = Builder((1, 40, 60)).linear(2, zero=128).graph()
    file = file_of(graph, "avr")
    with pytest.raises(ValueError, match=r"which is \d+ bytes more than ATmega328P has"):
        file.refuse_memory()


@pytest.mark.slow
def test_an_operator_without_code_is_named_with_the_layer_before_it() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(72, 3)).eval()
    x = torch.rand(4, 1, 8, 8)
    with pytest.raises(ValueError, match=r"C: Sigmoid \([^\n]+, after the layer 0\)[^\n]+\.$"):
        CodeFile.encode(artifact_of(net, (1, 8, 8), 3), net, x, TARGETS["host"])
