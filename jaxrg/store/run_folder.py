"""A folder that knows its run: new, gone on with by the same run, and refused to every other."""

import json
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxrg.store.files import OF_THE_DISK, as_json, partial_path, write_json

RUN_FILE = "run.json"
NUM_NAMED = 4  # further items that differ are counted only


class FolderError(ValueError):
    """The folder cannot hold this run; nothing was written."""


def as_folder(name: str, folder: str | os.PathLike) -> Path:
    """An absolute path, with ``~`` expanded.

    Raises:
        FolderError: no path at all.
    """
    try:
        path = Path(os.path.abspath(Path(folder).expanduser()))
    except (TypeError, ValueError, RuntimeError):
        path = None
    if path is None or "\0" in str(path):
        raise FolderError(f"{name}: expected the path of a folder, got {folder!r}")
    return path


class RunFolder:
    """A folder for the results of one run, described in its ``run.json``.

    Nothing is written before `claim` or `path` is called, so a run that fails before its first result leaves the
    folder to others.

    Args:
        folder: does not exist, is empty, or holds this run; ``~`` is the home of the user.
        description: what makes this run the run it is; anything JSON can hold, and arrays.
        programs: more of the same from `program_fingerprint`, looked at only under the releases of JAX and Python that
            made them.
        changed: items of both that may differ from the run in the folder, which is this one's from then on.
        name: of the caller's argument, for messages.

    Attributes:
        folder: its absolute path.
        description: as JSON gives it back.

    Raises:
        FolderError: the folder is a file or cannot be made, or it holds something else or another run; the items that
            differ are named.

    Example:
        >>> import tempfile
        >>> place = tempfile.mkdtemp()
        >>> RunFolder(place, {"seed": 1}).is_resumed
        False
        >>> RunFolder(place, {"seed": 1}).claim()
        >>> RunFolder(place, {"seed": 1}).is_resumed
        True
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        description: dict[str, Any],
        *,
        programs: dict[str, str] | None = None,
        changed: Collection[str] = (),
        name: str = "folder",
    ):
        self.folder = as_folder(name, folder)
        self.description = as_json(description)
        self._programs = programs or {}
        self._name = name
        self._marker = self.folder / RUN_FILE
        try:
            self._is_new = self._check(changed)
        except OSError as error:
            raise FolderError(
                f"{name}: expected a folder that can be read, got {self.folder} ({error.strerror})"
            ) from None

    @property
    def is_resumed(self) -> bool:
        """Whether the folder holds this run already."""
        return self._marker.exists()

    def _check(self, changed: Collection[str]) -> bool:
        """Whether the description has to be written."""
        folder, name = self.folder, self._name
        place = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
        if not place.is_dir():
            inside = "" if place == folder else f", where {folder} cannot be"
            raise FolderError(f"{name}: expected a folder, got the file {place}{inside}")
        if not self._marker.exists():
            # The process may have been killed while it wrote the marker.
            if place == folder and any(path != partial_path(self._marker) for path in folder.iterdir()):
                raise FolderError(f"{name}: expected an empty folder or one of this run, got {folder} with other files")
            if not os.access(place, os.W_OK | os.X_OK):
                raise FolderError(f"{name}: expected a folder that can be written, got {folder} in a read-only place")
            return True
        try:
            stored = json.loads(self._marker.read_text())
            past, programs, release = dict(stored["run"]), dict(stored["programs"]), stored["release"]
        except (ValueError, TypeError, KeyError):
            raise FolderError(f"{name}: expected a run, got {folder} with a {RUN_FILE} of something else") from None
        now = self.description
        if release == _release():
            past, now = past | programs, now | self._programs
        found = list(_differences(past, now))
        differences = [(words, *values) for item, words, *values in found if item not in changed]
        if differences:
            (words, before, after), *others = differences
            raise FolderError(
                f"{name}: expected a run with {words} {before!r}, as in {folder}, got {after!r}"
                f"{_also([words for words, *_ in others])}; nothing was written: give each run a folder of its own"
            )
        return bool(found)

    def claim(self) -> None:
        """Make the folder and describe the run in it, if it is new or changed.

        Raises:
            FolderError: the folder cannot be written.
            OSError: the disk is full.
        """
        if not self._is_new:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._marker, run_content(self.description, self._programs))
        except OSError as error:
            if error.errno in OF_THE_DISK:
                message = f"{self._name}: expected a disk with room for {self._marker}, got {error.strerror!r}"
                raise OSError(error.errno, message) from error
            raise FolderError(
                f"{self._name}: expected a folder that can be written, got {self.folder} ({error})"
            ) from error
        self._is_new = False

    def path(self, name: str) -> Path:
        """A path in the folder, which is claimed; its parent exists."""
        self.claim()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def run_content(description: dict[str, Any], programs: dict[str, str]) -> dict[str, Any]:
    """What ``run.json`` holds."""
    return {"run": description, "programs": programs, "release": _release()}


def _release() -> str:
    return f"jax {jax.__version__}, Python {sys.version_info.major}.{sys.version_info.minor}"


def _differences(past: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """Items of two descriptions that differ: item, the part of it in words, and both values."""
    for item in past | now:
        before, after = past.get(item), now.get(item)
        if isinstance(before, dict) and isinstance(after, dict):
            parts = [(f"{item}{part}", before.get(part), after.get(part)) for part in before | after]
            yield from ((item, words, old, new) for words, old, new in parts if old != new)
        elif before != after:
            yield item, item, before, after


def _also(words: list[str]) -> str:
    if not words:
        return ""
    more = f" and {len(words) - NUM_NAMED} more" if len(words) > NUM_NAMED else ""
    return f" (and another {', '.join(words[:NUM_NAMED])}{more})"
