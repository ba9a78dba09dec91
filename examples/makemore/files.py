"""Files that are there whole, or not at all: what is killed, or meets a full disk, leaves the old file as it was."""

import os
import secrets
from pathlib import Path

from examples.makemore.errors import UserError


def replace(path: Path, content: bytes) -> None:
    """Writes a file anew.

    It is written under a name of its own in the same folder, down to the disk, and only then takes the old one's place,
    which is one step. So whoever reads sees the old file or the new one, and of two that write at once the last wins.

    Raises:
        UserError: it cannot be written; the old file is as it was.
    """
    target = Path(os.path.realpath(path))  # of a link, what it leads to
    if target.exists() and not target.is_file():
        raise UserError(f"cannot write {path}: there is something there that is no file")
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
    _sync(target.parent)


def _sync(folder: Path) -> None:
    """Brings a folder's list of files to the disk, where the system can: else a power cut could undo the step."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:  # Windows opens no folders, and some file systems sync none
        pass


def read(path: Path, most: int) -> bytes:
    """Reads a file.

    Args:
        path: of a file; a pipe or a device would not say when it ends.
        most: bytes that it may have.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is no file, too large, or cannot be read.
    """
    try:
        if not path.is_file():
            path.stat()
            raise UserError(f"{path} is no file")
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > most:
        raise UserError(f"{path} is too large: more than {most:,} bytes")
    return content
