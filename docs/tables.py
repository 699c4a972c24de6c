"""Writes what is generated in README.md and docs/: the tables of results, from the committed
records of the benchmarks, and the modules of the API reference, from the source.

    python docs/tables.py            write them anew
    python docs/tables.py --check    exit 1 where a page differs from its sources

A page says where something generated stands and what it is:

    <!-- generated: methods -->
    …
    <!-- /generated -->
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import accuracy_tables
import image_tables
import reference
import speed_tables
from table_text import ROOT

BLOCKS = accuracy_tables.TABLES | image_tables.TABLES | speed_tables.TABLES | reference.LISTINGS

_BLOCK = re.compile(r"(<!-- generated: ([a-z0-9-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def pages() -> Iterator[Path]:
    """The Markdown files that may hold generated blocks."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def shown(text: str) -> list[str]:
    """The names of the blocks on a page."""
    return [name for _, name, _ in _BLOCK.findall(text)]


def filled(text: str) -> str:
    """The page with its blocks as their sources give them.

    Raises:
        KeyError: the page names a block that there is not.
    """
    return _BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]]()}\n\n{m[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on a change")
    check = parser.parse_args().check
    stale = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            stale.append(str(page.relative_to(ROOT)))
            if not check:
                page.write_text(new, encoding="utf-8")
    if stale:
        print(f"{'Stale' if check else 'Written'}: {', '.join(stale)}")
    raise SystemExit(bool(check and stale))


if __name__ == "__main__":
    main()
