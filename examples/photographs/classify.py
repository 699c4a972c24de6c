"""Classify one photograph with the exported file: onnxruntime, pillow and numpy alone.

    python classify.py model-int8.onnx photo.jpg

The file says how images are prepared and what its classes are called.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main() -> None:
    """Print the class and its probability."""
    model, photo = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    _, height, width = json.loads(about["hauberk.input_shape"])
    assert about["hauberk.resize"] == "cover"
    image = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    fitted = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.float32(fitted).transpose(2, 0, 1)[None] / 255
    (logits,) = session.run(None, {"images": pixels})[0]
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    names = json.loads(about["hauberk.labels"])
    print(f"{photo}: {names[logits.argmax()]} ({chances.max():.0%})")


if __name__ == "__main__":
    main()
