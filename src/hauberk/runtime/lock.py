"""One run a folder: a lock that names the process which holds it.

The operating system frees the lock when its process ends, however it ends, so a killed run leaves
no blocked folder. The file's content is for the error of a second run.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hauberk.runtime.files import unwritable
from hauberk.runtime.processes import ALONE, Group

NAME = ".lock"
_LARGEST = 1024  # bytes of a lock file that are read
_TRIES = 100
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_UNKNOWN = (errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS)
"""Errors of a file system without locks."""
_held: dict[Path, int] = {}
"""Locked folders, and the thread that holds each; a thread may lock a folder again."""
_guard = threading.Lock()


class InUse(OSError):
    """Another run writes into the folder."""


@contextmanager
def locked(folder: Path | None, group: Group = ALONE) -> Iterator[None]:
    """Keep a folder to this run.

    The folder is created; if nothing was written into it, it is removed again.

    Args:
        folder: of the run; ``None`` locks nothing.
        group: the processes of the run, of which the first holds the lock for all.

    Raises:
        InUse: another run holds it, in this process or in another one.
        OSError: the folder cannot be written.
    """
    taken, error = None, ""
    if folder and group.first:
        try:
            taken = _Lock.take(folder)
        except OSError as failed:
            if group.size == 1:
                raise
            error = str(failed)
    if error := (group.broadcast_bytes(error.encode()) or b"").decode():
        raise InUse(error)
    try:
        yield
    finally:
        if taken:
            taken.release()


class _Lock:
    """A lock on a folder that this call took; one that its thread held already has no handle."""

    def __init__(self, folder: Path, made: list[Path]) -> None:
        self.folder, self.made = folder, made
        self.handle: int | None = None

    @classmethod
    def take(cls, folder: Path) -> _Lock:
        """Lock the folder."""
        folder = Path(os.path.realpath(folder))
        with _guard:
            if _held.get(folder) == threading.get_ident():
                return cls(folder, [])
            if folder in _held:
                raise InUse(_used(folder, "another thread of this process"))
            lock = cls(folder, [])
            try:
                lock.handle = lock._opened()
            except (InUse, NotADirectoryError):
                raise
            except OSError as error:
                lock._tidy()
                raise unwritable(folder, error) from error
            _held[folder] = threading.get_ident()
            return lock

    def release(self) -> None:
        """Unlock the folder, if this lock is the one that locked it."""
        if self.handle is None:
            return
        with _guard:
            del _held[self.folder]
            with suppress(OSError):  # the folder was deleted or moved
                (self.folder / NAME).unlink()
            os.close(self.handle)
            self._tidy()

    def _opened(self) -> int:
        """An open, locked file with our name in it."""
        for _ in range(_TRIES):
            self._make()
            try:
                handle = os.open(self.folder / NAME, _FLAGS, 0o666)
            except FileNotFoundError:  # another run removed the folder as it ended
                continue
            try:
                if self._ours(handle):
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _ours(self, handle: int) -> bool:
        """Whether the file is locked now, and is still the one in the folder."""
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, f"{NAME} is not a file")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(_used(self.folder, _owner(handle))) from None
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
            if _alive(handle):
                raise InUse(_used(self.folder, _owner(handle))) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), (self.folder / NAME).stat()):
                os.ftruncate(handle, 0)
                os.pwrite(handle, _ourselves(), 0)
                return True
        return False  # the run that held it removed it meanwhile

    def _make(self) -> None:
        """Create the folder and its parents, one at a time."""
        missing = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
        with suppress(FileExistsError, FileNotFoundError):  # other runs create and remove, too
            for path in reversed(missing):
                path.mkdir()
                self.made.append(path)
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"{self.folder} is a file; choose the name of a folder.")

    def _tidy(self) -> None:
        """Remove the folders that this lock created, if they are empty."""
        for path in reversed(self.made):
            with suppress(OSError):
                path.rmdir()


def _ourselves() -> bytes:
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "start": started}).encode()


def _content(handle: int) -> tuple[int, str, str]:
    """Process, machine and start in a lock file; 0 and empty texts if it holds none."""
    try:
        found = json.loads(os.pread(handle, _LARGEST, 0))
        pid, host, start = (found[key] for key in ("pid", "host", "start"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0, "", ""
    known = type(pid) is int and 0 < pid < 1 << 32
    return (pid, str(host)[:64], str(start)[:32]) if known else (0, "", "")


def _owner(handle: int) -> str:
    pid, host, start = _content(handle)
    return f"process {pid} on {host} since {start}" if pid else "another process"


def _alive(handle: int) -> bool:
    """Whether the process that a lock file names may still run; others' machines are not asked."""
    pid, host, _ = _content(handle)
    here = host == socket.gethostname()
    if not pid or (here and pid == os.getpid()):
        return False
    if not here:
        return True
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _used(folder: Path, owner: str) -> str:
    return f"{folder} is in use by {owner}; wait until that run has ended, or give another --out."
