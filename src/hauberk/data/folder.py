"""Loader for folders of images: ``train/<class>/*.png`` and ``test/…``, or ``<class>/*.png``.

Without labels, images at any depth: ``train/**/*.png`` and ``test/…``, or ``**/*.png``.

The name of a class is the name of its folder. Classes are numbered in the sorted order of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hauberk.data.decode import Reading, Source, decode
from hauberk.data.holdout import TEST, TRAIN, lone, split_named
from hauberk.data.splits import Part, assemble
from hauberk.data.store import Store
from hauberk.dataset import Data

_JPEG = {".jfif", ".jpe", ".jpeg", ".jpg"}
_PORTABLE = {".pbm", ".pgm", ".pnm", ".ppm"}
_ENDINGS = {".bmp", ".gif", ".png", ".tif", ".tiff", ".webp"} | _JPEG | _PORTABLE
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
"""First bytes of JPEG, PNG and GIF; a file of another ending that begins so is an image, too."""
_GIVE = f"give PNG, JPEG, WebP, BMP, GIF, TIFF or PPM files ({', '.join(sorted(_ENDINGS))})"


def load_folder(path: Path, *, seed: int, reading: Reading, store: Store) -> Data:
    """Load the images below ``path``; files of other kinds are left out and counted.

    Args:
        path: the folder.
        seed: moves the border between train and validation.
        reading: size of the images, whether they have labels, and what to do with a corrupt one.
        store: allocates the pixels.

    Raises:
        ValueError: no classes, a class or a split without images, or a corrupt image.
        OSError: a folder cannot be read.
    """
    name = path.resolve().name
    if not reading.labelled:
        bare = _bare_splits(path) or {lone(name): path}
        found = {split: _bare_part(folder, reading, store) for split, folder in bare.items()}
        return assemble(name, found, seed, store, labelled=False)
    splits = _splits(path) or {lone(name): path}
    names = tuple(sorted({each.name for folder in splits.values() for each in _folders(folder)}))
    parts = {split: _part(folder, names, reading, store) for split, folder in splits.items()}
    return assemble(name, parts, seed, store)


def _splits(path: Path) -> dict[str, Path]:
    """The folder of each split; empty if the folders of ``path`` are classes.

    A class may be called "train", so only a folder that contains folders is a split.
    """
    every = _folders(path)
    named = [each for each in every if split_named(each.name) and _folders(each)]
    if not named:
        return {}
    if len(named) < len(every):
        other = next(each.name for each in every if each not in named)
        raise ValueError(
            f"The folder {str(path)!r} mixes the split {named[0].name!r} with {other!r}, which is "
            "not a split that contains classes; give train, val and test, or only classes."
        )
    found = _by_split(named)
    if len(found) < len(named):
        twice = [each.name for each in named if each not in found.values()]
        first = found[str(split_named(twice[0]))].name
        raise ValueError(
            f"The folder {str(path)!r} has both {twice[0]!r} and {first!r}: give one of them."
        )
    if TRAIN not in found and TEST not in found:
        raise ValueError(
            f"The folder {str(path)!r} has only a validation split: add a train split."
        )
    return found


def _part(folder: Path, names: tuple[str, ...], reading: Reading, store: Store) -> Part:
    """The images of one split, in the sorted order of class and file names."""
    where = f"The folder {str(folder)!r}"
    others = [0]
    labels: list[int] = []
    sources: list[Source] = []
    for each in _folders(folder):
        images = list(_images(each, others))
        if not images:
            raise ValueError(f"The folder {str(each)!r} contains no image: {_GIVE}.")
        sources += [Source(f"in {str(image.relative_to(folder))!r}", image) for image in images]
        labels += [names.index(each.name)] * len(images)
    if not sources:
        raise ValueError(
            f"{where} contains no folder of images: give <class>/*.png, or train/<class>/*.png."
        )
    x, kept, notes = decode(sources, len(sources), where, reading, store)
    notes += _left_out(where, others[0])
    return Part(x, np.array(labels)[kept], where, names, len(names), notes)


def _bare_splits(path: Path) -> dict[str, Path]:
    """The folder of each split of images without labels; empty if there are no splits."""
    found = _by_split(_folders(path))
    return found if TRAIN in found else {}


def _by_split(folders: list[Path]) -> dict[str, Path]:
    """The folders that are named after a split, by that split; of two the last."""
    named = ((split_named(each.name), each) for each in folders)
    return {split: each for split, each in named if split}


def _bare_part(folder: Path, reading: Reading, store: Store) -> Part:
    """The images of one split, at any depth, in the sorted order of their paths."""
    where, others = f"The folder {str(folder)!r}", [0]
    images = list(_images(folder, others, deep=True))
    if not images:
        raise ValueError(f"{where} contains no image: {_GIVE}.")
    sources = [Source(f"in {str(image.relative_to(folder))!r}", image) for image in images]
    x, _, notes = decode(sources, len(sources), where, reading, store)
    return Part(x, np.zeros(len(x), np.int64), where, notes=notes + _left_out(where, others[0]))


def _left_out(where: str, others: int) -> tuple[str, ...]:
    """The note that counts files of other kinds."""
    if not others:
        return ()
    number = "1 file was" if others == 1 else f"{others} files were"
    return (f"{where}: {number} left out, because neither ending nor content is an image's.",)


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and _visible(each))


def _images(folder: Path, others: list[int], deep: bool = False) -> Iterator[Path]:
    """Yield the image files, sorted; count the other files in ``others``.

    Args:
        folder: where to look.
        others: its entry grows.
        deep: whether to look into subfolders, links to folders left out.
    """
    for each in sorted(folder.iterdir()):
        if deep and each.is_dir():
            if _visible(each) and not each.is_symlink():
                yield from _images(each, others, deep)
        elif each.is_file() and _is_image(each):
            if _visible(each):
                yield each
        elif _visible(each):
            others[0] += 1


def _is_image(path: Path) -> bool:
    """Whether a file is taken for an image, by its ending in any letter case or by its content."""
    if path.suffix.lower() in _ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(_BEGINNINGS)
    except OSError:  # it cannot be read, so it is not known to be an image
        return False


def _visible(path: Path) -> bool:
    """Whether this is not a hidden file; systems leave such files behind."""
    return not path.name.startswith(".")
