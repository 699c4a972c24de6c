"""Fuzz a format with Atheris (``pip install 'hauberk[fuzz]'``), or by plain mutation without it.

python -m tests.fuzz hbk -max_total_time=600
python -m tests.fuzz hbk --plain 600          # for so many seconds
python -m tests.fuzz all --mutations 10000    # of each format
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Fuzz the target that is named first; what follows goes to libFuzzer."""
    if words[1:2] in (["--plain"], ["--mutations"]):
        from tests.fuzz.plain import search
        from tests.fuzz.targets import TARGETS

        bound = {"--plain": "seconds", "--mutations": "most"}[words[1]]
        for name in TARGETS if words[0] == "all" else (words[0],):
            count = search(TARGETS[name], **{bound: float(words[2])})
            print(f"{count:,} mutations of {name}, no fault", flush=True)
        return
    import atheris

    # nothing of hauberk may be loaded before, or it is not instrumented
    with atheris.instrument_imports(include=["hauberk", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[words[0]]
    corpus = Path("runs/fuzz") / words[0]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(target.corpus()):
        (corpus / f"seed-{number}").write_bytes(content)
    atheris.Setup(
        [sys.argv[0], *words[1:], "-rss_limit_mb=8192", "-timeout=5", str(corpus)], target
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
