"""Processes that a test kills, forked from one that has imported torch: each starts at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["torch._dynamo", "sklearn.datasets", "hauberk.verbs.compress"])


def start(call: Callable[..., None], *given: Any) -> BaseProcess:
    """A process that calls a function of a module with these values, in one thread."""
    process = _SERVER.Process(target=_alone, args=(call, *given), daemon=True)
    process.start()
    return process


def _alone(call: Callable[..., None], *given: Any) -> None:
    import torch

    torch.set_num_threads(1)
    call(*given)


def pipe() -> tuple[Any, Any]:
    """Two ends: one to read from, one for the process."""
    return _SERVER.Pipe(duplex=False)
