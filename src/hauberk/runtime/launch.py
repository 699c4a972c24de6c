"""Start the processes of a run on this machine by torch's launcher, and report how they ended.

Equivalent to ``torchrun --nproc-per-node N -m hauberk …``, with a one-line error at the end.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from hauberk.printable import printable

RUN_ID = "hauberk"


def wanted(devices: int, nodes: int, head: str) -> bool:
    """Whether this command must start processes, and is not one of them itself.

    Args:
        devices: processes on this machine.
        nodes: machines.
        head: HOST:PORT of one of the machines; empty if there is only one.

    Raises:
        ValueError: a count below 1, or several machines without ``head``.
    """
    for name, count in {"devices": devices, "nodes": nodes}.items():
        if count < 1:
            raise ValueError(f"--{name} was given as {count}; give 1 or more.")
    if nodes > 1 and not head:
        raise ValueError(
            f"--nodes was given as {nodes} with no --head; give HOST:PORT of one of the machines, "
            "the same on all of them."
        )
    return devices * nodes > 1 and "RANK" not in os.environ


def launch(words: Sequence[str], devices: int, nodes: int, head: str, out: Path) -> int:
    """Run ``hauberk`` with the same arguments in every process.

    Args:
        words: the command line, verb first.
        devices: processes on this machine, one for each accelerator.
        nodes: machines, each of which runs the same command.
        head: HOST:PORT of one of them, where they meet.
        out: the run's folder, for the error message.

    Returns:
        The exit code.

    Raises:
        ValueError: more processes than this machine has GPUs.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _refuse_too_many(devices, torch.cuda.device_count())
    logging.disable(logging.CRITICAL)  # the launcher repeats our one-line error at length
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // devices)))
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=devices,
        run_id=RUN_ID,
        rdzv_backend="c10d",
        rdzv_endpoint=head or "localhost:0",
        local_addr="localhost" if nodes == 1 else None,
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "hauberk", *words)
    except ChildFailedError as failed:
        codes = {rank: failure.exitcode for rank, failure in failed.failures.items()}
        return _report(codes, devices * nodes, out)
    except SignalException as stop:
        return 128 + int(stop.sigval)
    return 0


def is_child() -> bool:
    """Whether `launch` started this process, and will report how another one ended."""
    return os.environ.get("TORCHELASTIC_RUN_ID") == RUN_ID


def _report(codes: dict[int, int], count: int, out: Path) -> int:
    """Return the exit code, and print an error if the processes printed none.

    The launcher itself sends SIGTERM to the others once one process has ended.
    """
    killed = {rank: -code for rank, code in codes.items() if code < 0}
    rank, signum = max(killed.items(), key=lambda k: k[1] != signal.SIGTERM, default=(0, 0))
    failed = [code for code in codes.values() if code > 0]
    if not signum or (signum == signal.SIGTERM and failed):
        return failed[0]
    print(
        f"hauberk: Process {rank} of {count} was ended by {signal.Signals(signum).name}; the "
        f"checkpoint of the last complete epoch is in {printable(out)}: run the same command "
        "with --resume, on any number of processes.",
        file=sys.stderr,
    )
    return 128 + signum


def _refuse_too_many(devices: int, there: int) -> None:
    if there and devices > there:
        raise ValueError(
            f"--devices was given as {devices} and this machine has {there} GPUs; give {there} or "
            "fewer."
        )
