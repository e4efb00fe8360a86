"""A folder that knows its run: new, gone on with by the same run, and refused to every other."""

import json
import os
from pathlib import Path
from typing import Any

import jax

from jaxrg.store.files import as_json, partial_path, write_json

RUN_FILE = "run.json"


class FolderError(ValueError):
    """The folder cannot hold this run; nothing was written."""


class RunFolder:
    """A folder for the results of one run, described in its ``run.json``.

    Nothing is written before `claim` or `path` is called, so a run that fails before its first result leaves the
    folder to others.

    Args:
        folder: does not exist, is empty, or holds this run.
        description: what makes this run the run it is; anything JSON can hold, and arrays.
        programs: more of the same from `program_fingerprint`, looked at only under the release of JAX that made them.
        name: of the caller's argument, for messages.

    Attributes:
        folder: its absolute path.
        description: as JSON gives it back.

    Raises:
        FolderError: the folder is a file, or holds something else or another run; the first item that differs is named.

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
        name: str = "folder",
    ):
        self.folder = Path(folder).absolute()
        self.description = as_json(description)
        self._programs = programs or {}
        self._name = name
        self._marker = self.folder / RUN_FILE
        self._check()

    @property
    def is_resumed(self) -> bool:
        """Whether the folder holds this run already."""
        return self._marker.exists()

    def _check(self) -> None:
        folder, name = self.folder, self._name
        if folder.exists() and not folder.is_dir():
            raise FolderError(f"{name}: expected a folder, got the file {folder}")
        if not self._marker.exists():
            # The process may have been killed while it wrote the marker.
            if folder.exists() and any(path != partial_path(self._marker) for path in folder.iterdir()):
                raise FolderError(f"{name}: expected an empty folder or one of this run, got {folder} with other files")
            return
        try:
            stored = json.loads(self._marker.read_text())
            past, programs, past_jax = dict(stored["run"]), dict(stored["programs"]), stored["jax"]
        except (ValueError, TypeError, KeyError):
            raise FolderError(f"{name}: expected a run, got {folder} with a {RUN_FILE} of something else") from None
        now = self.description
        if past_jax == jax.__version__:
            past, now = past | programs, now | self._programs
        for item in past | now:
            if past.get(item) != now.get(item):
                raise FolderError(
                    f"{name}: expected a run with {item} {past.get(item)!r}, as in {folder}, got {now.get(item)!r}; "
                    "nothing was written: give each run a folder of its own"
                )

    def claim(self) -> None:
        """Make the folder and describe the run in it, if it is new.

        Raises:
            FolderError: the folder cannot be written.
        """
        if self.is_resumed:
            return
        content = {"run": self.description, "programs": self._programs, "jax": jax.__version__}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._marker, content)
        except OSError as error:
            raise FolderError(
                f"{self._name}: expected a folder that can be written, got {self.folder} ({error})"
            ) from error

    def path(self, name: str) -> Path:
        """A path in the folder, which is claimed; its parent exists."""
        self.claim()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
