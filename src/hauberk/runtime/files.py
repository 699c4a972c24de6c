"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


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
        status = path.stat()
        regular = stat.S_ISREG(status.st_mode)
        if regular and (largest is None or status.st_size <= largest):
            return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; give {wanted}.") from None
    except OSError as error:
        raise OSError(f"{path} could not be read ({error.strerror}).") from error
    if regular:
        raise OSError(f"{path} has {status.st_size:,} bytes, more than {wanted} may have.")
    raise OSError(f"{path} is not a file; give {wanted} that hauberk wrote.")


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
