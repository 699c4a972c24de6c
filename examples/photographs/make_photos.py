"""Write a folder of photographs of many sizes: cut-outs of six photographs of scikit-image.

    python make_photos.py [--each 60]

photos/Train/<class>/*.jpg and photos/Test/<class>/*.jpg; the test cut-outs come from the right
third of each photograph, the others from the rest. Some are turned on their side, with the EXIF
note that cameras write.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from skimage import data

CLASSES = {
    "brick": data.brick,
    "grass": data.grass,
    "gravel": data.gravel,
    "retina": data.retina,
    "stars": data.hubble_deep_field,
    "tissue": data.immunohistochemistry,
}


def cut(photo: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """A random cut-out of 64 to 140 pixels a side, brightened or darkened a little."""
    height, width = rng.integers(64, 141, 2)
    top, left = (rng.integers(0, n - m) for n, m in zip(photo.shape, (height, width), strict=False))
    part = photo[top : top + height, left : left + width] * rng.uniform(0.8, 1.2)
    return Image.fromarray(part.clip(0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path, rng: np.random.Generator) -> None:
    """Write a JPEG; one in four lies on its side and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if rng.random() < 0.25:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[ExifTags.Base.Orientation] = 6
    image.save(path, quality=90, exif=exif)


def main() -> None:
    """Write both splits."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--each", type=int, default=60, help="training cut-outs of each class")
    parser.add_argument("--out", type=Path, default=Path("photos"))
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    for name, photo in CLASSES.items():
        whole = photo()
        border = 2 * whole.shape[1] // 3
        for split, part, count in (
            ("Train", whole[:, :border], given.each),
            ("Test", whole[:, border:], max(4, given.each // 3)),
        ):
            for number in range(count):
                save(cut(part, rng), given.out / split / name / f"{number:03}.jpg", rng)


if __name__ == "__main__":
    main()
