"""Nobody's bytes are trusted: damaged notes, hostile graphs and mutated files."""

from __future__ import annotations

import contextlib
import random
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tests.helpers.onnx_files import images, tiny

import onnx
from hauberk.artifact import ArtifactError
from hauberk.onnx import metadata
from hauberk.onnx.file import OnnxFile
from hauberk.onnx.session import Session
from onnx import TensorProto, helper

pytestmark = pytest.mark.slow


def signed(content: bytes) -> bytes:
    """The same content under a checksum that fits."""
    key = b"hauberk.checksum\x12\x20"
    at = content.index(key) + len(key)
    blank = content[:at] + b"0" * 32 + content[at + 32 :]
    return content[:at] + metadata.digest(blank, "0" * 32).encode() + content[at + 32 :]


def edited(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_model_from_string(tiny().content)
    change(model)
    return signed(model.SerializeToString(deterministic=True))


def note(model: onnx.ModelProto, key: str, text: str | None) -> None:
    """Write another text, or none."""
    (entry,) = (entry for entry in model.metadata_props if entry.key == f"hauberk.{key}")
    if text is None:
        model.metadata_props.remove(entry)
    else:
        entry.value = text


def test_signing_is_what_the_file_says() -> None:
    assert signed(tiny().content) == tiny().content == edited(lambda model: None)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("version", "1"),
        ("version", None),
        ("architecture", "{"),
        ("architecture", None),
        ("input_shape", "[1,0,8]"),
        ("input_shape", "é"),
        ("classes", "many"),
        ("dense_bytes", "0"),
        ("dense_bytes", None),
    ],
)
def test_damaged_notes_are_named(key: str, text: str | None) -> None:
    content = edited(lambda model: note(model, key, text))
    with pytest.raises(ArtifactError, match=r"^net\.onnx has (format version|notes)[^\n]+\.$"):
        OnnxFile.from_bytes(content, "net.onnx")


def unknown(model: onnx.ModelProto) -> None:
    (relu, *_) = (node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Atan"


def test_an_operator_that_is_not_known_here_gets_one_sentence() -> None:
    file = OnnxFile.from_bytes(edited(unknown), "net.onnx")
    with pytest.raises(ArtifactError, match=r"^net\.onnx uses the operator Atan[^\n]+\.$"):
        file.twin("net.onnx")


def not_a_number(model: onnx.ModelProto) -> None:
    (bias,) = (t for t in model.graph.initializer if list(t.dims) == [4])
    bias.raw_data = np.full(4, np.nan, np.float32).tobytes()


def test_weights_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ArtifactError, match=r"^net\.onnx holds NaN or infinite weights"):
        OnnxFile.from_bytes(edited(not_a_number)).twin("net.onnx")


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def constant(model: onnx.ModelProto) -> None:
    value = helper.make_tensor("c", 1, [1], [0.0])
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../weights")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=value))


def branch(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=body))


def domain(model: onnx.ModelProto) -> None:
    model.graph.node[0].domain = "com.microsoft"


def function(model: onnx.ModelProto) -> None:
    model.functions.add(name="f", domain="")


def huge(model: onnx.ModelProto) -> None:
    shape = helper.make_tensor("huge_shape", TensorProto.INT64, [1], [1 << 40])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"]))


def renamed(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "elsewhere"


def fixed(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1


def dangling(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (external, "other files"),
        (constant, "other files"),
        (branch, "branches or loops"),
        (domain, "not ONNX's own"),
        (function, "not ONNX's own"),
        (huge, "memory"),
        (renamed, "does not take"),
        (fixed, "does not give"),
        (dangling, "ONNX checker"),
    ],
)
def test_a_hostile_graph_is_refused(change: Callable[[onnx.ModelProto], None], says: str) -> None:
    with pytest.raises(ArtifactError, match=says) as caught:
        OnnxFile.from_bytes(edited(change), "net.onnx")
    assert re.fullmatch(r"net\.onnx [^\n]+\.", str(caught.value))


def mutated(content: bytes, end: int, rng: random.Random) -> bytes:
    """A few bytes before ``end`` flipped, overwritten, removed, added or moved, or the rest cut."""
    x = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if len(x) < 20:
            break
        at = rng.randrange(min(end, len(x) - 1))
        match rng.randrange(6):
            case 0:
                x[at] ^= 1 << rng.randrange(8)
            case 1:
                x[at] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                del x[at : at + rng.randrange(1, 9)]
            case 3:
                x[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                there, size = rng.randrange(end), rng.randrange(1, 20)
                x[at : at + size] = x[there : there + size]
            case _ if end == len(content):
                del x[max(at, 2) :]
    return bytes(x)


def test_mutated_files_are_refused_or_compute_the_same() -> None:
    file, rng, refused = tiny(), random.Random(0), 0
    x, start = images(file, 5), time.monotonic()
    want = Session(file.content)(x)
    for _ in range(400):
        content = mutated(file.content, len(file.content), rng)
        try:
            OnnxFile.from_bytes(content, "net.onnx")
        except ArtifactError as error:
            assert re.fullmatch(r"net\.onnx [^\n]+\.", str(error))
            refused += 1
        else:
            assert torch.equal(Session(content)(x), want)
    assert refused > 380
    assert time.monotonic() - start < 20


def test_mutated_graphs_under_a_forged_checksum_are_refused_or_run() -> None:
    file, rng, outcomes = tiny(), random.Random(1), {"refused": 0, "ran": 0}
    x, start = images(file, 5), time.monotonic()
    for _ in range(600):
        content = mutated(file.content, file.content.index(b"hauberk.version") - 4, rng)
        try:
            twin = OnnxFile.from_bytes(signed(content)).twin()
            assert len(Session(content)(x)) == 5
            with contextlib.suppress(RuntimeError, LookupError, TypeError):  # what `agree` refuses
                assert len(twin(x)) == 5
            outcomes["ran"] += 1
        except ValueError as error:
            assert type(error) in (ValueError, ArtifactError)
            assert str(error).isprintable() and str(error).endswith(".")
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes
    assert time.monotonic() - start < 20
