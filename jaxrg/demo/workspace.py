"""The folder of a demo run: chapters, arrays and figures, each computed once and read back to resume."""

import datetime
import hashlib
import json
import os
import platform
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrg.store import FolderError, RunFolder, write_atomically, write_json
from jaxrg.store.files import as_json

RESULTS, PAGE = "results.json", "index.html"


class DamagedFileError(ValueError):
    """A file of a finished part of a run does not hold what was written."""


class Workspace:
    """An output folder with the results of the chapters that are done.

    Args:
        folder: created if missing; must be empty, or hold a run with the same settings.
        settings: what makes this run the run it is.

    Attributes:
        folder: its absolute path.
        is_resumed: whether an earlier run has been here.
        is_finished: whether one was here that wrote everything; it is read and shown even where nothing can be written.
        made: by chapter, how many ``seconds`` it took, and ``when`` and ``where`` it was finished.
        changed: names of chapters whose files are not what was written.

    Raises:
        FolderError: the folder is a file, cannot be written, or holds something else or a run with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        run = RunFolder(folder, settings, name="--out")
        self.settings, self.folder, self.is_resumed = run.description, run.folder, run.is_resumed
        self.is_finished = all((run.folder / name).exists() for name in (RESULTS, PAGE))
        self.made: dict[str, dict[str, Any]] = {}
        self.changed: list[str] = []
        self.path = run.path
        run.claim()
        if not self.is_finished:
            self._check_room()

    def _check_room(self) -> None:
        """Before the minutes of the first chapter, not after them."""
        try:
            write_json(self.folder / ".room.json", [0] * 1000)
            (self.folder / ".room.json").unlink()
        except OSError as error:
            raise FolderError(
                f"--out: expected a folder that can be written, got {self.folder} ({error.strerror})"
            ) from error

    def chapter(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The results of a chapter: read back if an earlier run finished it, else computed and stored.

        JSON has no NaN: what is null in the file is NaN here.

        Raises:
            DamagedFileError: the file is none that a chapter has written.
        """
        path = self.path(f"chapters/{name}.json")
        if not path.exists():
            start = time.monotonic()
            results = as_json(compute())
            made = {"seconds": time.monotonic() - start, "when": _now(), "where": _machine()}
            write_json(path, {"made": made, "checksum": _checksum(results), "results": results})
        with self.reading(path):
            stored = json.loads(path.read_text(encoding="utf-8"))
            results, made = dict(stored["results"]), dict(stored["made"])
            self.made[name] = {
                "seconds": float(made["seconds"]),
                "when": str(made["when"]),
                "where": str(made["where"]),
            }
            if stored.get("checksum") != _checksum(results):
                self.changed.append(name)
        return _with_nan(results)

    @contextmanager
    def reading(self, path: Path | str) -> Iterator[None]:
        """What goes wrong with data read back from a file is the fault of the file.

        Raises:
            DamagedFileError: anything that data of another kind can raise.
        """
        try:
            yield
        except OSError:
            raise
        except (
            ArithmeticError,
            AttributeError,
            EOFError,
            LookupError,
            TypeError,
            ValueError,
            zipfile.BadZipFile,
        ) as error:
            raise DamagedFileError(
                f"{self.folder / path}: expected what this run wrote, got a damaged file; delete it and run the same "
                "command again to compute it anew"
            ) from error

    def check_shown(self, name: str) -> Any:
        """A context in which a chapter's results are shown: errors of a file that was changed are that file's."""
        return self.reading(f"chapters/{name}.json") if name in self.changed else _unchanged()

    def array(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """One array, read back if an earlier run finished it, else computed and stored.

        Raises:
            DamagedFileError: the file does not hold the array that was stored.
        """
        path = self.path(f"arrays/{name}.npz")  # a zip file, whose members have checksums
        if not path.exists():
            values = np.asarray(compute())
            write_atomically(path, lambda partial: np.savez(partial, values=values))
        with self.reading(path), zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError(path)
            return np.load(path, allow_pickle=False)["values"]

    def figure(self, name: str, figure: Any) -> str:
        """Save a matplotlib figure as PNG; returns its file name."""
        path = self.path(f"{name}.png")
        write_atomically(path, lambda partial: figure.savefig(partial, dpi=110))
        return path.name

    def page(self, text: str) -> Path:
        """Write the page, in ASCII, which every encoding reads alike."""
        path = self.path(PAGE)
        write_atomically(path, lambda partial: partial.write_bytes(text.encode("ascii", "xmlcharrefreplace")))
        return path


@contextmanager
def _unchanged() -> Iterator[None]:
    yield


def _checksum(results: Any) -> str:
    return hashlib.blake2b(json.dumps(results, sort_keys=True).encode(), digest_size=8).hexdigest()


def _with_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_nan(item) for item in value]
    return float("nan") if value is None else value


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _machine() -> str:
    device = jax.devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    return (
        f"{cores} {platform.machine()} cores under {platform.system()}, {device.platform}{kind}, "
        f"Python {platform.python_version()}, jax {jax.__version__}"
    )
