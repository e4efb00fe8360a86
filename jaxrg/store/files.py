"""Files that are there whole or not at all, and what goes wrong with them in words."""

import errno
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # no other folder of this disk would help


def partial_path(path: Path) -> Path:
    """Where a file is written before it takes its name; a crash may leave it behind."""
    return path.with_name(f".{path.name}.partial{path.suffix}")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` with another name in the same folder, then rename: a reader sees the old file or the new one."""
    partial = partial_path(path)
    try:
        write(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


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


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file of dictionaries, sequences, arrays and numbers, whole or not at all; NaN becomes null."""
    text = json.dumps(as_json(value), indent=1, allow_nan=False)
    write_atomically(path, lambda partial: partial.write_text(text + "\n"))
