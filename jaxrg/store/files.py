"""Files that are there whole or not at all, and what goes wrong with them in words."""

import errno
import hashlib
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class DamagedError(ValueError):
    """The files of a checkpoint, of a state or of a sample store are not what was written."""


OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # no other folder of this disk would help


def partial_path(path: Path) -> Path:
    """Where a file is written before it takes its name; a crash may leave it behind."""
    return path.with_name(f".{path.name}.partial{path.suffix}")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with another name in the same folder, then rename: a reader sees the old file or the new one.

    Both the file and its name are on the disk when this returns.
    """
    _publish(path, write, os.replace)


def write_once(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet, whole or not at all.

    Raises:
        FileExistsError: it is there; it stays as it was.
    """
    _publish(path, lambda partial: partial.write_bytes(content), os.link)


def _publish(path: Path, write: Callable[[Path], object], name: Callable[[Path, Path], object]) -> None:
    partial = partial_path(path)
    try:
        write(partial)
        sync(partial)
        name(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that nobody reads before something else says that it is whole; its name is for `sync`."""
    path.write_bytes(content)
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def digest_of_file(path: Path, kind: str = "sha256") -> str:
    """Hexadecimal digits of all bytes of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, kind).hexdigest()


def error_number(error: BaseException) -> int | None:
    """The number the operating system gave an error, also where a library has put it into words of its own."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"(?:OS error|Errno|os_error_code=)\W*(\d+)", str(error))
    return int(found.group(1)) if found else None


def as_json(value: Any) -> Any:
    """What JSON can hold of dictionaries, sequences, arrays and numbers; NaN and infinities become null."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return as_json(np.asarray(value).tolist())


def json_text(value: Any) -> str:
    """Dictionaries, sequences, arrays and numbers as the text of a JSON file; NaN becomes null."""
    return json.dumps(as_json(value), indent=1, allow_nan=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file of dictionaries, sequences, arrays and numbers, whole or not at all; NaN becomes null."""
    text = json_text(value)
    write_atomically(path, lambda partial: partial.write_text(text))
