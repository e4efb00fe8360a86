"""The folder of a demo run: chapters, arrays and figures, each computed once and read back to resume."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxrg.store import RunFolder, write_atomically, write_json


class Workspace:
    """An output folder with the results of the chapters that are done.

    Args:
        folder: created if missing; must be empty, or hold a run with the same settings.
        settings: what makes this run the run it is.

    Raises:
        FolderError: the folder is a file, cannot be written, or holds something else or a run with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        run = RunFolder(folder, settings, name="--out")
        self.settings = run.description
        self.is_resumed = run.is_resumed
        self.path = run.path
        run.claim()

    def chapter(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The results of a chapter: read back if an earlier run finished it, else computed and stored."""
        path = self.path(f"chapters/{name}.json")
        if not path.exists():
            write_json(path, compute())
        return json.loads(path.read_text())

    def array(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """One array, read back if an earlier run finished it, else computed and stored."""
        path = self.path(f"arrays/{name}.npy")
        if not path.exists():
            values = np.asarray(compute())
            write_atomically(path, lambda partial: np.save(partial, values))
        return np.load(path)

    def figure(self, name: str, figure: Any) -> str:
        """Save a matplotlib figure as PNG; returns its file name."""
        path = self.path(f"{name}.png")
        write_atomically(path, lambda partial: figure.savefig(partial, dpi=110))
        return path.name
