"""Sample stores, written: chunks first, then the state, then the record that makes both a part of the store."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np

try:
    import fcntl
except ImportError:  # on Windows, where only the exclusive names of records keep two writers apart
    fcntl = None

from jaxrg import __version__
from jaxrg.base import PyTree
from jaxrg.store.files import digest_of_file, error_number, json_text, sync, write_atomically, write_durably, write_once
from jaxrg.store.layout import Layout
from jaxrg.store.records import (
    COMMITS,
    MARK_FILE,
    SAMPLES,
    STATES,
    Record,
    damaged_error,
    damages_of_files,
    mark_of,
    scan,
)
from jaxrg.store.run_folder import RUN_FILE, FolderError
from jaxrg.store.states import as_bytes

# Commits, files on their way to a name, and what `jaxrg.samplers.repair` works on.
_UNCOMMITTED = r"\d{8}(\.json|\.npz)?|\..*\.partial(\..*)?|\.repair"


def environment() -> dict[str, str]:
    """What may change the numbers a program computes: releases and the device."""
    device = jax.devices()[0]
    return {
        "jaxrg": __version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{device.platform} {device.device_kind}",
    }


def write_commit(
    root: Path,
    layout: Layout,
    number: int,
    previous: str,
    start: int,
    values: np.ndarray | None,
    state: PyTree,
    step: int,
) -> Record:
    """Write the files of a commit below a folder, and give the record that would make them a part of the store."""
    paths = []
    if values is not None:
        place = root / SAMPLES / f"{number:08d}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        write_durably(place / "zarr.json", json_text(layout.metadata(values.shape[1])).encode())
        layout.opened(place, values.shape[1]).write(values).result()  # whose files and folder are on the disk then
        sync(place.parent)
        paths = sorted(place.iterdir())
    path, content = root / STATES / f"{number:08d}.npz", as_bytes(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content)
    sync(path.parent)
    files = {path.relative_to(root).as_posix(): (path.stat().st_size, digest_of_file(path)) for path in [*paths, path]}
    stop = start + (0 if values is None else values.shape[1])
    return Record(number, previous, (start, stop), step, files, environment())


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A context in which no other process can write to a store; the lock ends with the process.

    Raises:
        FolderError: another process writes to it.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderError(f"folder: expected one writer at a time, got {folder} in use by another") from None
        yield
    finally:
        os.close(lock)


@contextmanager
def disk_errors(task: str, folder: Path) -> Iterator[None]:
    """Errors of the disk in words, also those that TensorStore raises as a ValueError."""
    try:
        yield
    except (OSError, ValueError) as error:
        number = error_number(error)
        if number is None or isinstance(error, FileExistsError | FileNotFoundError):
            raise
        message = f"folder: expected to {task} {folder}, got {os.strerror(number)!r}; what is committed is whole"
        raise OSError(number, message) from error


class SampleWriter:
    """Appends to a sample store, inside `locked`.

    Each commit is a function of the description, the samples and the state, so a process that is killed at any moment
    and goes on later leaves the same bytes as one that is not.

    Args:
        folder: of the store, with its ``run.json``; what a killed process has not committed is removed.
        layout: of the configurations.

    Attributes:
        records: the commits, in order.

    Raises:
        DamagedError: a record is damaged, or a file lost or cut short.
        OSError: the disk is full, or fails otherwise.
    """

    def __init__(self, folder: Path, layout: Layout):
        self.folder, self.layout = folder, layout
        found = scan(folder)
        self.records: list[Record] = [record for record in found.records if record is not None]
        lost = [damage for record in self.records for damage in damages_of_files(folder, record, is_quick=True)]
        if found.damages or lost:
            raise damaged_error(folder, found.damages + lost)
        with disk_errors("write to", folder):
            self._remove_uncommitted()
            self._write_mark()

    @property
    def num_samples(self) -> int:
        """Of every chain."""
        return self.records[-1].samples[1] if self.records else 0

    def _remove_uncommitted(self) -> None:
        """What a killed process has left under names of this store's own; whatever else a user keeps there stays."""
        named = {path.split("/")[1] for record in self.records for path in (record.path, *record.files)}
        rooms = [self.folder / name for name in (COMMITS, SAMPLES, STATES)]
        for room in rooms:
            room.mkdir(exist_ok=True)
        for path in [*self.folder.iterdir(), *(path for room in rooms for path in room.iterdir())]:
            if path.name not in named and re.fullmatch(_UNCOMMITTED, path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        sync(self.folder)

    def _write_mark(self) -> None:
        content = mark_of(self.records)
        path = self.folder / MARK_FILE
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, lambda partial: partial.write_bytes(content))

    def append(self, values: np.ndarray | None, state: PyTree, step: int) -> None:
        """Commit what is stored of some samples, ``[num_chains, n, ...]``, and the state after them.

        Args:
            values: words of bits or configurations, see `Layout.words`; None for the start, the first commit.
            state: of the chains.
            step: steps it has taken.

        Raises:
            FolderError: another process has committed to the folder.
            OSError: the disk is full, or fails otherwise; what was committed before is whole.
        """
        number = len(self.records)
        previous = self.records[-1].digest if self.records else digest_of_file(self.folder / RUN_FILE)
        try:
            with disk_errors("commit to", self.folder):
                record = write_commit(self.folder, self.layout, number, previous, self.num_samples, values, state, step)
                write_once(self.folder / record.path, record.as_bytes())
                self.records.append(record)
                self._write_mark()
        except FileExistsError:
            raise FolderError(f"folder: expected one writer at a time, got {self.folder} with two") from None
        except OSError:
            if len(self.records) == number:  # makes room for others, if the disk is full
                shutil.rmtree(self.folder / SAMPLES / f"{number:08d}", ignore_errors=True)
                (self.folder / STATES / f"{number:08d}.npz").unlink(missing_ok=True)
            raise
