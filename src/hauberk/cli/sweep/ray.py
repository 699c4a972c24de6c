"""Many independent calls on Ray: as many at a time as the cluster has room for.

Ray (Moritz et al., OSDI 2018, arXiv 1712.05889) schedules by resources: each call asks for its
processors and, where wanted, for one GPU. A call whose worker dies is made again, three times.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import ERROR
from typing import Any, TypeVar

from hauberk.runtime.packages import gist, need

_PATIENCE = 60.0
"""Seconds that interrupted calls have to save their state."""
T = TypeVar("T")


class Lost(Exception):
    """The worker of a call died, several times; the message says what Ray knows of it."""


def installed() -> None:
    """Check that Ray is installed.

    Raises:
        ValueError: it is not; the message says how to install it.
    """
    need("ray", "ray")


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Join a cluster: ``local`` starts one on this machine, anything else is an address.

    Raises:
        ValueError: there is no cluster at the address.
    """
    installed()
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage reports from our cluster
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        _answered(address)
        ray.init(address=address, log_to_driver=False, logging_level=ERROR, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"There is no Ray cluster at {address!r} ({gist(error)}); start one with ray start "
            "--head and give its HOST:PORT, or give --ray alone for one on this machine."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _answered(address: str) -> None:
    """Fail within seconds if nothing answers: Ray itself retries for minutes."""
    found = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+)\]?:(\d{1,5})", address)
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=10).close()
    elif address not in ("local", "auto"):
        raise ValueError("it is neither auto nor HOST:PORT")


def spread(
    call: Callable[..., T], every: Sequence[tuple[Any, ...]], *, cpus: int, gpu: bool | None
) -> Iterator[tuple[int, T | Lost]]:
    """Run ``call(*arguments)`` for each on the joined cluster; yield results as they end.

    Args:
        call: a function of a module that the workers can import.
        every: its arguments, call by call.
        cpus: processors of one call.
        gpu: whether each call has a GPU of its own; ``None``: if the cluster has any.

    Yields:
        The index in ``every``, and the result of the call, or `Lost`.

    Raises:
        ValueError: the cluster has no machine for such a call.
        Exception: whatever a call raised.
    """
    import ray

    gpus = int(bool(ray.cluster_resources().get("GPU", 0)) if gpu is None else gpu)
    _room(cpus, gpus)
    task = ray.remote(_interruptible(call)).options(num_cpus=cpus, num_gpus=gpus)
    under_way = {task.remote(*arguments): place for place, arguments in enumerate(every)}
    try:
        while under_way:
            # short waits: signals are heard between them
            ended, _ = ray.wait(list(under_way), num_returns=1, timeout=0.5)
            for one in ended:
                yield under_way.pop(one), _result(one)
    finally:
        _cancel(list(under_way))


def _interruptible(call: Callable[..., T]) -> Callable[..., T]:
    """The call, in a worker that Ray can interrupt even if it was started under nohup."""

    def task(*arguments: Any) -> T:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return call(*arguments)

    return task


def _room(cpus: int, gpus: int) -> None:
    """Raise a ValueError for calls that would wait for ever."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(m.get("CPU", 0) >= cpus and m.get("GPU", 0) >= gpus for m in machines):
        most = max((int(m.get("CPU", 0)) for m in machines), default=0)
        raise ValueError(
            f"A run asks for {cpus} processors and {gpus} GPUs, and no machine of the Ray cluster "
            f"has both (the largest has {most} processors); give fewer --threads, or --device cpu."
        )


def _result(one: Any) -> Any:
    import ray

    try:
        return ray.get(one)
    except ray.exceptions.RayTaskError as error:
        raise getattr(error, "cause", None) or error from None
    except ray.exceptions.RayError as error:
        return Lost(gist(error))


def _cancel(left: Sequence[Any]) -> None:
    """Interrupt the calls under way, so that they save their state; others never begin."""
    import ray

    for one in left:
        ray.cancel(one)
    if left:
        began = time.monotonic()
        while left and time.monotonic() - began < _PATIENCE:
            _, left = ray.wait(list(left), num_returns=len(left), timeout=1.0)
