"""What pages show of the source: the modules of the API reference, a part of an example."""

from __future__ import annotations

from functools import partial

from table_text import ROOT, Table

_SOURCE = ROOT / "src" / "hauberk"

ROOMS: dict[str, tuple[str, ...]] = {
    "verbs": ("verbs/*", "training/run"),
    "recipe": ("method", "nested", "recipe/*", "training/augment", "training/stage"),
    "methods": ("methods/*",),
    "threats": ("threat", "threats/*"),
    "attacks": ("attack", "attacks/*"),
    "bounds": (
        "bounds/margin_bound",
        "bounds/interval",
        "bounds/crown",
        "bounds/certify",
        "bounds/network",
    ),
    "objectives": ("objectives/*",),
    "constraints": ("constraints/*",),
    "penalties": ("penalties/*",),
    "solvers": ("solver", "solvers/*"),
    "problem": ("problem", "batch"),
    "evaluation": ("evaluation/*",),
    "artifact": ("artifact/artifact", "artifact/layers", "artifact/state_dicts", "artifact/format"),
    "onnx": ("onnx/file", "onnx/export", "onnx/int8", "onnx/session"),
    "microcontroller": (
        "microcontroller/graph",
        "microcontroller/code_file",
        "microcontroller/reference",
        "microcontroller/compiled",
        "microcontroller/flash",
        "microcontroller/targets",
    ),
    "data": ("dataset", "data/load", "data/objects"),
    "models": (
        "models/build",
        "models/early_exit",
        "models/ensemble",
        "models/user",
        "slimming/slim",
    ),
}
"""Patterns of files under ``src/hauberk``, without their ending, by page."""

_HELPERS = {"checks"}
"""Modules of a gallery that are for its members only."""


def modules(room: str) -> list[str]:
    """The public modules of a page, as they are imported."""
    files = [
        path.relative_to(_SOURCE).with_suffix("")
        for pattern in ROOMS[room]
        for path in sorted(_SOURCE.glob(f"{pattern}.py"))
        if not path.stem.startswith("_") and path.stem not in _HELPERS
    ]
    return [".".join(("hauberk", *path.parts)) for path in files]


def listing(room: str) -> str:
    """What mkdocstrings renders: one directive for each module."""
    return "\n\n".join(f"::: {module}" for module in modules(room))


def lossy() -> str:
    """The part of docs/lossy.py between its marks; tests run that file, so not its quotation."""
    text = (ROOT / "docs" / "lossy.py").read_text(encoding="utf-8")
    code = text.partition("from here …\n")[2].partition("    # … to here\n")[0]
    return f"```py\n{code.rstrip()}\n```"


LISTINGS: dict[str, Table] = {f"api-{room}": partial(listing, room) for room in ROOMS}
LISTINGS["lossy"] = lossy
