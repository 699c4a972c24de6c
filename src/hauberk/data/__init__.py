"""Labelled images in memory, from the embedded digits, parquet files or ``.npz`` files."""

from __future__ import annotations

from hauberk.data.load import load

__all__ = ["load"]
