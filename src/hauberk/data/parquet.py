"""Data in parquet files of the Hugging Face layout: ``image`` {bytes, path} and ``label``.

Images are decoded in a stream, into one uint8 array; nothing is cached on disk.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from hauberk.data.split import from_lone, from_pair
from hauberk.data.valid import class_count, examples
from hauberk.types import Data, Examples

_ROWS = 2048  # rows in flight: a few MB of compressed images, enough to keep the decoders busy


def load_parquet(*paths: Path, seed: int) -> Data:
    """One file, or the train file and the test file of one data set, as `Data`."""
    where = " and ".join(f"The file {str(path)!r}" for path in paths)
    parts, declared = zip(*(_read(path) for path in paths), strict=True)
    known = [count for count in declared if count is not None]
    classes = class_count(parts, max(known) if known else None, where)
    if len(parts) == 1:
        return from_lone(paths[0].stem, parts[0], classes, seed)
    if parts[0].shape != parts[1].shape:
        raise ValueError(
            f"{where} have images of shapes {parts[0].shape} and {parts[1].shape}: "
            "give images of one shape."
        )
    return from_pair(paths[0].stem.removesuffix("-train"), parts[0], parts[1], classes, seed)


def _read(path: Path) -> tuple[Examples, int | None]:
    """All rows of a file, and the number of classes that its schema declares."""
    where = f"The file {str(path)!r}"
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(file.schema_arrow, where)
            x, y = _decode(file, where)
            return examples(x, y, where), _declared_classes(file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        raise ValueError(
            f"{where} is no readable parquet file ({reason}): write it again."
        ) from error


def _check_schema(schema: pa.Schema, where: str) -> None:
    types = {field.name: field.type for field in schema}
    image, label = types.get("image"), types.get("label")
    layout = (
        image is not None
        and pa.types.is_struct(image)
        and image.get_field_index("bytes") >= 0
        and (pa.types.is_binary(image.field("bytes").type))
        and label is not None
        and pa.types.is_integer(label)
    )
    if not layout:
        raise ValueError(
            f"{where} has the columns {', '.join(map(repr, types))}: give 'image', "
            "a struct with encoded 'bytes', and an integer 'label'."
        )


def _decode(file: pq.ParquetFile, where: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Every image in one array (count, channel, height, width), and the labels."""
    x: NDArray[np.uint8] | None = None
    labels: list[NDArray[Any]] = []
    total, row = file.metadata.num_rows, 0
    with ThreadPoolExecutor() as pool:  # the decoders of pillow release the interpreter's lock
        for blobs, batch_labels in _batches(file, where):
            labels.append(batch_labels)
            for image in pool.map(_image, blobs):
                if isinstance(image, str):
                    raise ValueError(f"{where} has no readable image in row {row} ({image}).")
                if x is None:
                    x = np.empty((total, *image.shape), np.uint8)
                if image.shape != x.shape[1:]:
                    raise ValueError(
                        f"{where} has images of different shapes, {x.shape[1:]} and "
                        f"{image.shape} in row {row}: give images of one shape."
                    )
                x[row] = image
                row += 1
    if x is None:
        raise ValueError(f"{where} is empty: give at least one image and its label.")
    return x[:row], np.concatenate(labels)


def _batches(file: pq.ParquetFile, where: str) -> Iterator[tuple[list[bytes | None], NDArray[Any]]]:
    for batch in file.iter_batches(_ROWS, columns=["image", "label"]):
        if batch["label"].null_count:
            raise ValueError(f"{where} has a missing label: give one for each image.")
        yield batch["image"].field("bytes").to_pylist(), batch["label"].to_numpy()


def _image(blob: bytes | None) -> NDArray[np.uint8] | str:
    """The pixels (channel, height, width), or the reason why there are none."""
    if blob is None:
        return "the row holds no bytes"
    try:
        with Image.open(io.BytesIO(blob)) as image:
            gray = image.mode in {"1", "L"}
            pixels = np.asarray(image.convert("L" if gray else "RGB"))
    except Exception as error:  # decoders meet damaged bytes in more ways than can be listed
        return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return pixels[None] if gray else pixels.transpose(2, 0, 1)


def _declared_classes(schema: pa.Schema) -> int | None:
    """The class count in the schema's ``huggingface`` note; ``None`` where it says none."""
    try:
        note = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        label = note["info"]["features"]["label"]
        return len(label["names"]) if "names" in label else int(label["num_classes"])
    except (ValueError, KeyError, TypeError):
        return None
