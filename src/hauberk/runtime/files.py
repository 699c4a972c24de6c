"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` by rename: readers see the old file or the new one, whole.

    Raises:
        OSError: with one sentence, when the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def read(path: Path, wanted: str, largest: int | None = None) -> bytes:
    """All of a file.

    Args:
        path: of the file.
        wanted: stands in errors: ``an .hbk file``.
        largest: bytes that it may have; ``None`` sets no limit.

    Raises:
        OSError: with one sentence, when it is missing, no regular file, too large or unreadable.
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
    raise OSError(f"{path} is no file; give {wanted} that hauberk wrote.")


def ready(folder: Path) -> None:
    """Make sure, before hours of work, that files can be written into ``folder``.

    A new folder goes again until its first file is written; the folders above it stay, for other
    processes may be at work there.

    Raises:
        OSError: with one sentence, when they cannot.
    """
    try:
        new = not folder.is_dir()
    except OSError as error:
        raise _unwritable(folder, error) from error
    probe = folder / ".probe"
    write(probe, b"hauberk")
    probe.unlink()
    if new:
        with suppress(OSError):  # something is in it already
            folder.rmdir()


def _unwritable(path: Path, error: OSError) -> OSError:
    why = error.strerror or str(error)
    return OSError(
        f"{path} could not be written ({why}); choose a folder with room that you may write."
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
