"""Fuzz a format with Atheris (``pip install 'hauberk[fuzz]'``), or by plain mutation without it.

python -m tests.fuzz hbk -max_total_time=600
python -m tests.fuzz hbk --plain 600
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Fuzz the target that is named first; what follows goes to libFuzzer."""
    if words[1:2] == ["--plain"]:
        from tests.fuzz.plain import search
        from tests.fuzz.targets import TARGETS

        print(f"{search(TARGETS[words[0]], float(words[2])):,} mutations of {words[0]}, no fault")
        return
    import atheris

    # nothing of hauberk may be loaded before, or it is not instrumented
    with atheris.instrument_imports(include=["hauberk", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[words[0]]
    corpus = Path("runs/fuzz") / words[0]
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "seed").write_bytes(target.seed())
    atheris.Setup(
        [sys.argv[0], *words[1:], "-rss_limit_mb=8192", "-timeout=5", str(corpus)], target
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
