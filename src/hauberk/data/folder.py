"""Data in folders of images: ``train/<class>/*.png`` and ``test/…``, or ``<class>/*.png``.

A class is called what its folder is called; the classes are in the order of their sorted names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hauberk.data.decode import OnError, Source, decode
from hauberk.data.holdout import SPLITS, TEST, TRAIN, lone
from hauberk.data.splits import Part, assemble
from hauberk.data.store import Store
from hauberk.dataset import Data

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def load_folder(path: Path, *, seed: int, on_error: OnError, store: Store) -> Data:
    """The images below ``path`` as `Data`; files of other endings are left out and counted.

    Raises:
        ValueError: no classes, a class or a split without images, a corrupt image.
        OSError: a folder that cannot be read.
    """
    splits = _splits(path) or {lone(path.resolve().name): path}
    names = tuple(sorted({each.name for folder in splits.values() for each in _folders(folder)}))
    parts = {split: _part(folder, names, on_error, store) for split, folder in splits.items()}
    return assemble(path.resolve().name, parts, seed, store)


def _splits(path: Path) -> dict[str, Path]:
    """The folders of splits, where ``path`` has such: a class may be called "train", too."""
    every = _folders(path)
    named = [each for each in every if each.name in SPLITS and _folders(each)]
    if not named:
        return {}
    if len(named) < len(every):
        strange = next(each.name for each in every if each not in named)
        raise ValueError(
            f"The folder {str(path)!r} has the split {named[0].name!r} and next to it "
            f"{strange!r}, which is none with classes in it: give train, val and test, or only "
            "classes."
        )
    found = {SPLITS[each.name]: each for each in named}
    if len(found) < len(named):
        raise ValueError(
            f"The folder {str(path)!r} has both 'val' and 'validation': give one of them."
        )
    if TRAIN not in found and TEST not in found:
        raise ValueError(
            f"The folder {str(path)!r} has only a validation split: add a train split."
        )
    return found


def _part(folder: Path, names: tuple[str, ...], on_error: OnError, store: Store) -> Part:
    """The images of one split, class by class, in the order of their names."""
    where = f"The folder {str(folder)!r}"
    strange = [0]
    labels: list[int] = []
    sources: list[Source] = []
    for each in _folders(folder):
        images = list(_images(each, strange))
        if not images:
            raise ValueError(
                f"The folder {str(each)!r} holds no image: give files that end in "
                f"{', '.join(sorted(_ENDINGS))}."
            )
        sources += [Source(f"in {str(image.relative_to(folder))!r}", image) for image in images]
        labels += [names.index(each.name)] * len(images)
    if not sources:
        raise ValueError(
            f"{where} holds no folder of images: give <class>/*.png, or train/<class>/*.png."
        )
    x, kept, notes = decode(sources, len(sources), where, on_error, store)
    if strange[0]:
        number = "1 file that is" if strange[0] == 1 else f"{strange[0]} files that are"
        notes += (f"{where} has {number} not called like an image, left out.",)
    return Part(x, np.array(labels)[kept], where, names, len(names), notes)


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and _seen(each))


def _images(folder: Path, strange: list[int]) -> Iterator[Path]:
    """Its image files, sorted; others are counted."""
    for each in sorted(folder.iterdir()):
        if each.suffix.lower() in _ENDINGS and each.is_file():
            if _seen(each):
                yield each
        elif _seen(each):
            strange[0] += 1


def _seen(path: Path) -> bool:
    """Not one of the hidden files that systems leave behind."""
    return not path.name.startswith(".")
