"""The end of the command: its exit code, and the one line of an error."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from hauberk.cli.requirement import RequirementNotMet
from hauberk.cli.streams import drop_output
from hauberk.printable import printable


def exit_code(call: Callable[[], None]) -> int:
    """Run the command; 2 for bad input, 3 for --require, 129, 130 and 143 after a signal."""
    try:
        call()
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        return 1
    except KeyboardInterrupt as stop:
        if not _rank():
            _print(str(stop) or "Interrupted before anything was saved.")
        return 128 + int(getattr(stop, "signum", signal.SIGINT))
    except RequirementNotMet as unmet:
        _print(str(unmet))
        return 3
    except (ValueError, OSError) as error:
        _print_once(error)
        _flush()
        return 2
    return 0


def one_line(error: Exception) -> str:
    """The message of an error; the operating system's without their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'A file'}: {error.strerror}."
    return " ".join(str(error).split())


def _print_once(error: ValueError | OSError) -> None:
    """The message, from one process alone where several find the same fault."""
    rank = _rank()
    if not rank and "torch" not in sys.modules:
        _print(one_line(error))
        return
    from hauberk.runtime.launch import is_child
    from hauberk.runtime.processes import ProcessLost

    if rank:
        time.sleep(20)  # if the first one found it too, this process is ended meanwhile
    if not (isinstance(error, ProcessLost) and (rank or is_child())):
        _print(f"process {rank}: {one_line(error)}" if rank else one_line(error))


def _flush() -> None:
    """End the output; it may be the output itself that failed."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        drop_output()


def _rank() -> int:
    """The rank of this process in its run; 0 if it is alone."""
    return int(os.environ.get("RANK", "0"))


def _print(line: str) -> None:
    print(f"hauberk: {printable(line)}", file=sys.stderr)
