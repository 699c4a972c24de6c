"""Image files on the disk: folders of classes, and Parquet as Hugging Face writes it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NAMES = ("ant", "bee", "cow")


def paint(path: Path, image: np.ndarray | Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path)


def zoo(root: Path, each: int = 10, shape: tuple[int, ...] = (5, 4), place: str = "") -> Path:
    """``each`` images of every class; the first pixel of all says which class and number."""
    for k, name in enumerate(NAMES):
        for i in range(each):
            paint(root / place / name / f"{i:02}.png", np.full(shape, 20 * k + i, np.uint8))
    return root


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, images: list, labels: list, names: int | None = 3) -> Path:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "image": pa.array([{"bytes": b, "path": None} for b in images], image),
            "label": pa.array(labels),
        }
    )
    if names is not None:
        label = {"names": [str(k) for k in range(names)], "_type": "ClassLabel"}
        note = json.dumps({"info": {"features": {"label": label}}})
        table = table.replace_schema_metadata({"huggingface": note})
    pq.write_table(table, path)
    return path
