"""The command line that every script begins with: its docstring is the help."""

from __future__ import annotations

import argparse

DATA = "as hauberk takes it: digits, path/to/mnist, hub:ylecun/mnist"


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring, line by line."""
    return argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
