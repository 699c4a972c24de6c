"""The scripts of docs/ import one another by name."""

import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

sys.path.insert(0, str(DOCS))
