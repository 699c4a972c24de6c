"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_LARGE = 1 << 30  # bytes from which on the free memory is asked for


def write(path: Path, content: bytes) -> None:
    """Write a file by rename: readers see the old file or the new one, complete.

    Raises:
        OSError: the folder cannot be written or the disk is full; a one-line message.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def read(path: Path, wanted: str, largest: int | None = None) -> bytes:
    """Read a file.

    Args:
        path: the file.
        wanted: the expected kind, for errors: ``an .hbk file``.
        largest: limit in bytes; ``None`` for no limit.

    Raises:
        OSError: it is missing, not a regular file, too large or unreadable; a one-line message.
    """
    try:
        with regular(path, wanted) as file:
            size = os.fstat(file.fileno()).st_size
            if largest is not None and size > largest:
                raise Refused(f"{path} has {size:,} bytes, more than {wanted} may have.")
            if size > _LARGE:
                _check_memory(path, size)
            return file.read(size)
    except (Refused, FileNotFoundError):
        raise
    except OSError as error:
        raise OSError(f"{path} could not be read ({error.strerror}).") from error


def _check_memory(path: Path, size: int) -> None:
    from hauberk.runtime import memory  # imports torch, which the settings of a run do not need

    if size > memory.free():
        raise Refused(f"{path} has {size:,} bytes, more than the free memory; give another file.")


class Refused(OSError):
    """A path is missing, or is not a file that may be read; the message is one line."""


def regular(path: Path, wanted: str) -> BinaryIO:
    """Open a file for reading, if it is one: a pipe or a device could wait or go on for ever.

    Args:
        path: the file.
        wanted: the expected kind, for errors: ``an .hbk file``.

    Raises:
        FileNotFoundError: it is missing.
        OSError: it is not a regular file, or unreadable.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; give {wanted}.") from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise Refused(f"{path} is not a file; give {wanted}.") from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Refused(f"{path} is not a file; give {wanted}.")
    return os.fdopen(handle, "rb")


def ready(folder: Path) -> None:
    """Check, before hours of work, that files can be written into ``folder``.

    A new folder is removed again until its first file is written. Its parents stay: other
    processes may be using them.

    Raises:
        OSError: they cannot; a one-line message.
    """
    try:
        new = not folder.is_dir()
        if new and folder.exists():
            raise NotADirectoryError(f"{folder} is a file; choose the name of a folder.")
    except NotADirectoryError:
        raise
    except OSError as error:
        raise unwritable(folder, error) from error
    probe = folder / ".probe"
    try:
        write(probe, b"hauberk")
        probe.unlink()
    except OSError as error:
        raise unwritable(folder, error.__cause__ or error) from error
    if new:
        with suppress(OSError):  # it is no longer empty
            folder.rmdir()


def unwritable(path: Path, error: BaseException) -> OSError:
    """The one-line error for a file or folder that cannot be written."""
    why = getattr(error, "strerror", None) or str(error)
    return OSError(
        f"{path} could not be written ({why}); choose a writable folder with free space."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
