"""Loader for parquet files in the Hugging Face layout: ``image`` {bytes, path} and ``label``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hauberk.data.decode import Reading, Source, decode
from hauberk.data.holdout import TEST, TRAIN, lone
from hauberk.data.splits import Part, assemble
from hauberk.data.store import NoRoom, Store
from hauberk.dataset import Data

_ROWS = 256  # most rows per read: some MB of compressed images
_BUFFER = 1 << 20  # bytes that are read ahead of a column, in place of all of it
_LONGEST_LABEL = 1024  # characters; a file may state a long text once and repeat it
_LONGEST_NOTE = 1 << 22  # bytes
_MOST_CLASSES = 1 << 16


def load_parquet(*paths: Path, seed: int, reading: Reading, store: Store) -> Data:
    """Load one file, or the train file and the test file of one data set.

    Args:
        paths: one file, or the train file and the test file.
        seed: moves the border between train and validation.
        reading: size of the images, whether they have labels, and what to do with a corrupt one.
        store: allocates the pixels.

    Raises:
        ValueError: a damaged file, other columns, or invalid images or labels.
        NoRoom: the pixels fit neither in memory nor on disk.
    """
    parts = [_read(path, reading, store) for path in paths]
    name = paths[0].stem
    if len(parts) == 1:
        return assemble(name, {lone(name): parts[0]}, seed, store, reading.labelled)
    both = {TRAIN: parts[0], TEST: parts[1]}
    return assemble(name.removesuffix("-train"), both, seed, store, reading.labelled)


def _read(path: Path, reading: Reading, store: Store) -> Part:
    """Read all rows of a file and the classes that its schema declares."""
    where = f"The file {str(path)!r}"
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER) as file:
            _check_schema(file.schema_arrow, where, reading.labelled)
            store.check(8 * file.metadata.num_rows, "the labels")
            y = _labels(file, where, store.room) if reading.labelled else _none(file)
            sources = _sources(file, len(y), store.room)
            x, kept, notes = decode(sources, len(y), where, reading, store)
            names, classes = _declared(file.schema_arrow, where)
            return Part(x, y[kept], where, names, classes, notes)
    except NoRoom:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        raise ValueError(
            f"{where} is not a readable parquet file ({reason}): write it again."
        ) from error


def _check_schema(schema: pa.Schema, where: str, labelled: bool) -> None:
    types = {field.name: field.type for field in schema}
    image, label = types.get("image"), types.get("label")
    layout = (
        image is not None
        and pa.types.is_struct(image)
        and image.get_field_index("bytes") >= 0
        and (pa.types.is_binary(image.field("bytes").type))
        and (
            not labelled or (label is not None and (pa.types.is_integer(label) or _is_text(label)))
        )
    )
    if not layout:
        raise ValueError(
            f"{where} has the columns {', '.join(map(repr, types))}: give 'image', "
            "a struct with encoded 'bytes', and 'label', an integer or a name."
        )


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _none(file: pq.ParquetFile) -> NDArray[Any]:
    return np.zeros(file.metadata.num_rows, np.int64)


def _rows(file: pq.ParquetFile, room: int) -> int:
    """Rows of a column to read at a time, so that these fit even if each is the largest possible.

    A dictionary states a value once and repeats it, so a row may be as large as its row group. The
    sizes of single columns are not asked for: of damaged ones, that ends the interpreter.
    """
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    largest = max((group.total_byte_size for group in groups), default=0)
    return max(1, min(_ROWS, room // max(largest, 1)))


def _labels(file: pq.ParquetFile, where: str, room: int) -> NDArray[Any]:
    text, found = _is_text(file.schema_arrow.field("label").type), []
    for batch in file.iter_batches(_rows(file, room), columns=["label"]):
        column = batch["label"]
        if column.null_count:
            raise ValueError(f"{where} has a missing label: give one for each image.")
        values = column.to_pylist() if text else column.to_numpy(zero_copy_only=False)
        if text and max(map(len, values), default=0) > _LONGEST_LABEL:
            raise ValueError(
                f"{where} has a label of more than {_LONGEST_LABEL} characters: give short names."
            )
        found.append(np.asarray(values, dtype=np.str_ if text else None))
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _sources(file: pq.ParquetFile, count: int, room: int) -> Iterator[Source]:
    """The encoded images, of which there must be so many."""
    row = 0
    for batch in file.iter_batches(_rows(file, room), columns=["image"]):
        for blob in batch["image"].field("bytes"):
            if row == count:
                raise pa.ArrowInvalid(f"it has more images than its {count} labels")
            yield Source(f"in row {row}", blob.as_py())
            row += 1
    if row < count:
        raise pa.ArrowInvalid(f"it has {row} images for {count} labels")


class _Classes(NamedTuple):
    names: tuple[str, ...]
    number: int | None


def _declared(schema: pa.Schema, where: str) -> _Classes:
    """The classes in the schema's ``huggingface`` metadata; empty if it declares none.

    Raises:
        ValueError: the note is too long or too deep, or declares more classes than data may have.
    """
    note = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        if len(note) > _LONGEST_NOTE:
            raise RecursionError
        label = json.loads(note)["info"]["features"]["label"]
        names = label.get("names")
        number = len(names) if names is not None else label["num_classes"]
    except RecursionError as error:
        raise ValueError(
            f"{where} has a huggingface note that is too long or too deep: write it without one."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError):
        return _Classes((), None)
    if type(number) is not int or not 0 <= number <= _MOST_CLASSES:
        raise ValueError(
            f"{where} declares {str(number)[:20]} classes: give at most {_MOST_CLASSES:,}."
        )
    if names is None:
        return _Classes((), number)
    if not isinstance(names, list):
        return _Classes((), None)
    return _Classes(tuple(map(str, names)), number)
