"""Checkpoints of pytrees by step, which a crash at any moment leaves whole, and which notice damage."""

import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrg.base import PyTree
from jaxrg.store.files import DamagedError, as_json, digest_of_file, error_number, write_json
from jaxrg.store.fingerprints import digest_of, fingerprint
from jaxrg.store.outlines import arrays_of, filled, outline_of, with_key
from jaxrg.store.run_folder import RunFolder


class Checkpoint(NamedTuple):
    """What was saved at a step."""

    step: int
    leaves: list[tuple[str, Any]]  # path in the pytree and value, in order
    outline: Any
    notes: Any

    @property
    def tree(self) -> PyTree:
        """The pytree; containers other than dictionaries, lists, tuples and NamedTuples are dictionaries now."""
        return filled(self.outline, iter([value for _, value in self.leaves]))

    def at(self, path: str) -> list[Any]:
        """The leaves below a path such as ``.params``, in order."""
        return [value for place, value in self.leaves if re.match(re.escape(path) + r"(?!\w)", place)]


class Checkpoints:
    """The newest checkpoints of a run.

    Args:
        run: whose folder they are kept in; it is claimed by the first `save`.
        num_kept: older ones are deleted. Two are one more than needed: of damage to the newest the one before is left.

    Example:
        >>> import tempfile
        >>> checkpoints = Checkpoints(RunFolder(tempfile.mkdtemp(), {"seed": 0}))
        >>> checkpoints.save(3, {"weights": np.ones(2)})
        >>> found = checkpoints.newest()
        >>> found.step, found.tree["weights"].tolist()
        (3, [1.0, 1.0])
    """

    def __init__(self, run: RunFolder, *, num_kept: int = 2):
        self._run = run
        self._num_kept = num_kept

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self._run.folder / "checkpoints"

    def newest(self) -> Checkpoint | None:
        """The newest that is whole, or None before the first; see `newest_checkpoint`."""
        return newest_checkpoint(self.folder)

    def save(self, step: int, tree: PyTree, *, notes: Any = None) -> None:
        """Keep a pytree of arrays as that of a step, with notes that JSON can hold; later steps are deleted.

        Raises:
            OSError: the disk is full, or cannot be written; the checkpoints before this one are as they were.
        """
        self._run.path("checkpoints").mkdir(exist_ok=True)
        for left in self.folder.glob(".*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        partial = self.folder / f".{step}.partial"
        try:
            _write(partial, step, tree, notes)
            # Damaged ones, and those that a run that fell back behind them writes again.
            for other in (other for other in _steps(self.folder) if other >= step):
                _remove(self.folder / str(other))
            os.replace(partial, self.folder / str(step))
            for other in _steps(self.folder)[: -self._num_kept]:
                _remove(self.folder / str(other))
        except Exception as error:  # TensorStore raises a ValueError where the disk is full
            number = error_number(error)
            if number is None:
                raise
            raise OSError(
                number,
                f"checkpoint: expected to write that of step {step} to {self.folder}, got {os.strerror(number)!r}; "
                "those before it are whole",
            ) from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a folder that is whole, or None if there is none at all; damaged ones are warned of.

    Raises:
        DamagedError: a ValueError; there are some, and none is whole.
    """
    steps = _steps(folder)
    for step in reversed(steps):
        try:
            return _read(folder / str(step), step)
        except DamagedError as error:
            older = [other for other in steps if other < step]
            if not older:
                raise DamagedError(f"{error}; there is none before it: begin anew in another folder") from None
            warnings.warn(f"{error}; going on from step {older[-1]}", stacklevel=3)
    return None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without Orbax's log: what goes wrong is an error here, and nothing else is said of it."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _steps(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())


def _remove(folder: Path) -> None:
    """Delete a checkpoint; a crash half-way leaves no half of one under its name."""
    partial = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(partial, ignore_errors=True)
    os.replace(folder, partial)
    shutil.rmtree(partial, ignore_errors=True)


def _named(leaves: list[Any]) -> Iterator[tuple[str, Any]]:
    """Leaves under the names of their arrays in the store: those it cannot hold, without an entry, are left out."""
    for number, leaf in enumerate(leaves):
        if leaf.size:
            yield f"leaf_{number:04d}", leaf


def _write(folder: Path, step: int, tree: PyTree, notes: Any) -> None:
    import orbax.checkpoint as ocp  # half a second that only those who keep checkpoints wait for

    paths, kinds, leaves = arrays_of(tree)
    content = as_json(
        {
            "step": step,
            "leaves": [
                {"path": path, "kind": kind, "dtype": str(leaf.dtype), "shape": leaf.shape}
                for path, kind, leaf in zip(paths, kinds, leaves, strict=True)
            ],
            "outline": outline_of(tree),
            "notes": notes,
        }
    )
    folder.mkdir()
    if stored := dict(_named(leaves)):
        with _quietly(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(folder / "arrays", args=ocp.args.StandardSave(stored))
    check = {"content": content, "files": _of_files(folder / "arrays"), "values": _of_values(content, leaves)}
    write_json(folder / "check.json", check)


def _of_files(folder: Path) -> str:
    """Of all bytes below a folder: what is damaged must not reach the store, which can say much or nothing of it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_of(*(f"{path.relative_to(folder)} {digest_of_file(path, 'blake2b')}" for path in files))


def _of_values(content: Any, leaves: list[Any]) -> str:
    return digest_of(json.dumps(content, sort_keys=True), *map(fingerprint, leaves))


def _read(folder: Path, step: int) -> Checkpoint:
    """The checkpoint in a folder.

    Raises:
        DamagedError: it is not what was written.
    """
    import orbax.checkpoint as ocp

    damaged = f"checkpoint: expected what was saved, got {{}} from {folder}"
    try:
        check = json.loads((folder / "check.json").read_text())
        content = check["content"]
        is_whole = content["step"] == step and _of_files(folder / "arrays") == check["files"]
        leaves: list[Any] = [np.zeros(leaf["shape"], jnp.dtype(leaf["dtype"])) for leaf in content["leaves"]]
        if is_whole and (stored := dict(_named(leaves))):
            with _quietly(), ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                stored = checkpointer.restore(folder / "arrays", args=ocp.args.StandardRestore(stored))
            leaves = [stored.get(f"leaf_{number:04d}", leaf) for number, leaf in enumerate(leaves)]
        is_whole = is_whole and _of_values(content, leaves) == check["values"]
    except Exception as error:  # anything from KeyError to JSONDecodeError, of hundreds of lines some
        raise DamagedError(damaged.format(f"a {type(error).__name__}")) from None
    if not is_whole:
        raise DamagedError(damaged.format("something else"))
    paths, kinds = ([leaf[item] for leaf in content["leaves"]] for item in ("path", "kind"))
    values = list(map(with_key, kinds, leaves))
    return Checkpoint(step, list(zip(paths, values, strict=True)), content["outline"], content["notes"])
