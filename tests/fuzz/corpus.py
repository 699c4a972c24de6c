"""More seeds of each format, made by code: variants of a valid file that mutation seldom finds."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image

Made = Callable[[], bytes]


def _image(form: str, mode: str = "RGB", **how: object) -> Made:
    def made() -> bytes:
        out = io.BytesIO()
        Image.new(mode, (8, 8)).save(out, form, **how)
        return out.getvalue()

    return made


def _npz(x: np.ndarray, y: np.ndarray, packed: bool = False) -> Made:
    def made() -> bytes:
        out = io.BytesIO()
        (np.savez_compressed if packed else np.savez)(out, x_train=x, y_train=y, x_test=x, y_test=y)
        return out.getvalue()

    return made


def _parquet(labels: list[object], **how: object) -> Made:
    def made() -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        png = _image("PNG", "L")()
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        image = pa.array([{"bytes": png, "path": "a.png"}] * len(labels), type=kind)
        out = io.BytesIO()
        pq.write_table(pa.table({"image": image, "label": pa.array(labels)}), out, **how)
        return out.getvalue()

    return made


def _hbk(bits: int) -> Made:
    """A pruned network, in whole numbers of so many bits."""

    def made() -> bytes:
        from hauberk.artifact import Artifact

        rng = torch.Generator().manual_seed(bits)
        w = torch.randn(12, 64, generator=rng)
        w[w.abs() < 1] = 0
        step = 2.0 / 2**bits
        state = {"1.weight": (w / step).round() * step, "1.bias": torch.zeros(12)}
        return Artifact.encode(state, architecture=None, input_shape=(1, 8, 8), classes=12).content

    return made


def _foreign() -> bytes:
    """A graph by another exporter: no metadata of ours."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w"], ["g"]),
        helper.make_node("Relu", ["g"], ["z"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 2, 2])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "g", [x], [z], [weight])
    opset = [helper.make_opsetid("", 17)]
    content: bytes = onnx.helper.make_model(graph, opset_imports=opset).SerializeToString()
    return content


_X, _Y = np.zeros((10, 8, 8)), np.array([0, 1] * 5)
CORPUS: Mapping[str, tuple[Made, ...]] = {
    "hbk": (lambda: _hbk(4)(), lambda: _hbk(8)()),
    "onnx": (_foreign,),
    "checkpoint": (),
    "note": (
        lambda: json.dumps({"info": {"features": {"label": {"num_classes": 2}}}}).encode(),
        lambda: b"{}",
    ),
    "parquet": (
        _parquet(["a", "b"] * 5),
        _parquet([0, 1] * 5, compression="gzip", use_dictionary=False, row_group_size=3),
        _parquet([0, 1] * 5, data_page_version="2.0", compression="zstd"),
    ),
    "toml": (
        lambda: b'verb = "train"\nmodel = "digits-cnn"\nthreat = ["linf:0.1", "l2:1"]\n',
        lambda: b'# a note\nmethod = "dense"\nresume = true\nseed = 0x10\nlr = 1e-3\n',
    ),
    "npz": (
        _npz(_X.astype(np.float32), _Y),
        _npz(np.asfortranarray(_X.astype(np.uint8)), _Y.astype(np.uint8), packed=True),
        _npz(_X.astype(np.uint8), np.array(["a", "b"] * 5)),
    ),
    "folder": (
        _image("JPEG"), _image("WEBP"), _image("BMP"), _image("GIF", "P"), _image("TIFF"),
        _image("PPM"), _image("PNG", "P"), _image("PNG", "I;16"), _image("PNG", "RGBA"),
        _image("TIFF", "RGB", compression="tiff_lzw"),
    ),
}  # fmt: skip
"""By target, what makes each further seed."""
