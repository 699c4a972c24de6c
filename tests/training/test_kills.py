"""A run killed with -9 at a random instant, and resumed, ends in the very same file."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.helpers.nets import conv, toy

import hauberk as hb

METHOD = hb.ATMC(keep=0.3, bits=2, dense_epochs=1, codebook_epochs=1, factors=True).with_(
    epochs=2, batch_size=32, attack_steps=2, reuse=True, shift=1, flip=True, cutout=2
)
FILES = ("model.hbk", "metrics.csv")


def started(out: Path, resume: bool = False) -> int:
    """The run, in a child of this process, which has torch loaded; the child's number."""
    child = os.fork()
    if child:
        return child
    try:
        torch.set_num_threads(1)
        run = hb.Run(resume=resume)
        hb.compress(conv(), toy(96), method=METHOD, threat=hb.Linf(0.1), out=out, run=run)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(1)


def ended(child: int) -> int:
    """The exit status of a child; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kills(folder: Path, count: int, seed: int = 0) -> Iterator[bool]:
    """Kill so many runs; for each, whether it was resumed to the same bits.

    Args:
        folder: for the runs.
        count: of kills; a run that ends before its kill is not counted, but made anew.
        seed: of the instants, uniform over the time that a whole run takes.
    """
    rng, begun = random.Random(seed), time.monotonic()
    assert ended(started(folder / "whole")) == 0
    lasts, number = time.monotonic() - begun, 0
    while count:
        number += 1
        out = folder / str(number)
        child = started(out)
        time.sleep(rng.random() * lasts)
        os.kill(child, signal.SIGKILL)
        if ended(child) == 0:
            continue
        count -= 1
        done = ended(started(out, resume=True)) == 0
        yield done and all(
            (out / name).read_bytes() == (folder / "whole" / name).read_bytes() for name in FILES
        )


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.filterwarnings("ignore:This process")  # it forks with threads of pytest's
def test_a_hundred_kills_leave_a_hundred_equal_files(tmp_path: Path) -> None:
    assert sum(kills(tmp_path, 100)) == 100


if __name__ == "__main__":  # python -m tests.training.test_kills FOLDER COUNT
    good = 0
    for number, same in enumerate(kills(Path(sys.argv[1]), int(sys.argv[2])), start=1):
        good += same
        print(f"{good} of {number} equal", flush=True)
