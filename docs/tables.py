"""Writes every table of README.md and docs/ from the committed records of the benchmarks.

    python docs/tables.py            write them anew
    python docs/tables.py --check    exit 1 where a page differs from its records

A page says where a table stands and which one it is:

    <!-- table: methods -->
    …
    <!-- /table -->
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import accuracy_tables
import speed_tables
from table_text import ROOT

TABLES = accuracy_tables.TABLES | speed_tables.TABLES

_BLOCK = re.compile(r"(<!-- table: ([a-z0-9-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def pages() -> Iterator[Path]:
    """The Markdown files that may hold tables."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def shown(text: str) -> list[str]:
    """The names of the tables on a page."""
    return [name for _, name, _ in _BLOCK.findall(text)]


def filled(text: str) -> str:
    """The page with its tables as the records give them.

    Raises:
        KeyError: the page names a table that there is not.
    """
    return _BLOCK.sub(lambda m: f"{m[1]}\n{TABLES[m[2]]()}\n\n{m[3]}", text)


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
