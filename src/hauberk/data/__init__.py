"""Data loading: labelled images from files, folders, functions or a user's own data sets."""

from __future__ import annotations

from hauberk.data.load import Given, load

__all__ = ["Given", "load"]
