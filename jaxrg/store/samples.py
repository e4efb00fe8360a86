"""Sample stores, read: configurations of many chains, one bit a spin, whole up to the last commit."""

import json
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrg.base import PyTree
from jaxrg.closures import as_partial
from jaxrg.store.layout import Layout
from jaxrg.store.records import SAMPLES, STATES, Damage, Record, damaged_error, damages, damages_of_files, scan
from jaxrg.store.run_folder import RUN_FILE, FolderError, as_folder
from jaxrg.store.states import from_bytes

BATCH_BYTES = 2**22  # of configurations that are observed at once


class SampleStore:
    """The samples in a folder, as `jaxrg.samplers.sample` writes them.

    ``run.json`` says what was sampled; each record in ``commits`` chains to the one before by its SHA-256 and names
    the files it added, in ``samples`` a Zarr array of one bit a spin and in ``states`` the state of the chains after
    them. What no record names is not there.

    Args:
        folder: of the store.

    Attributes:
        folder: its absolute path.
        description: what makes these samples what they are: sampler, couplings, key, layout and notes.
        records: the commits, in order; the first holds the start and no samples.

    Raises:
        FolderError: no sample store.
        DamagedError: a record, the description or the Zarr group is not what was written; see ``damages``.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = as_folder("folder", folder)
        found = scan(self.folder)
        if found.damages:
            raise damaged_error(self.folder, found.damages)
        try:
            self.description: dict[str, Any] = json.loads((self.folder / RUN_FILE).read_text())["run"]
            self.layout = Layout.from_json(self.description["values"])
        except (OSError, ValueError, TypeError, KeyError):
            raise FolderError(f"folder: expected a sample store, got {self.folder}") from None
        self.records: list[Record] = [record for record in found.records if record is not None]

    @staticmethod
    def damages(folder: str | os.PathLike) -> list[Damage]:
        """Every file that is damaged or lost, by the SHA-256 of all its bytes; an empty list if the store is whole."""
        return damages(as_folder("folder", folder))

    @property
    def num_samples(self) -> int:
        """Of every chain."""
        return self.records[-1].samples[1] if self.records else 0

    @property
    def step(self) -> int:
        """Steps taken by the last state."""
        return self.records[-1].step if self.records else 0

    def state(self, number: int = -1) -> PyTree:
        """The state of the chains after a commit, the last one by default, as NumPy arrays.

        Raises:
            DamagedError: its file is not what was written.
        """
        path = self.folder / STATES / f"{self.records[number].number:08d}.npz"
        if not path.is_file():
            raise damaged_error(self.folder, [Damage(f"{STATES}/{path.name}", "no file")])
        return from_bytes(path.read_bytes(), source=path)

    def stored(self, record: Record) -> np.ndarray:
        """``[num_chains, n, ...]`` what is stored of the samples of a commit: words of bits, or configurations.

        Raises:
            DamagedError: a chunk is lost, or fails its checksum.
        """
        folder = self.folder / SAMPLES / f"{record.number:08d}"
        try:
            return self.layout.opened(folder, record.samples[1] - record.samples[0]).read().result()
        except ValueError:
            if found := damages_of_files(self.folder, record):
                raise damaged_error(self.folder, found) from None
            raise

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """``[num_chains, stop - start, *shape]`` configurations; Python's rules for slices hold.

        Raises:
            DamagedError: a chunk is lost, or fails its checksum.
        """
        first, last, _ = slice(start, stop).indices(self.num_samples)
        parts = [np.empty((self.layout.num_chains, 0, *self.layout.item_shape), jnp.dtype(self.layout.item_dtype))]
        for record in self.records[1:]:
            begin, end = record.samples
            if begin < last and end > first:
                parts.append(self.stored(record)[:, max(0, first - begin) : last - begin])
        return self.layout.spins(np.concatenate(parts, axis=1))

    def observe(self, observe: Callable[[Any], PyTree], start: int = 0) -> PyTree:
        """Values of a function of one configuration, ``[num_chains, num_samples - start, ...]``.

        A commit is read at a time, and all are observed by one program.

        Raises:
            ValueError: no samples to observe.
            DamagedError: a chunk is lost, or fails its checksum.
        """
        if start >= self.num_samples:
            raise ValueError(f"start: expected less than the {self.num_samples} samples of the store, got {start}")
        function, parts = as_partial(observe), []
        num_bytes = max(1, int(np.prod(self.layout.shape)) * jnp.dtype(self.layout.dtype).itemsize)
        size = max(1, BATCH_BYTES // num_bytes)
        size = min(size, self.layout.num_chains * max(end - begin for begin, end in (r.samples for r in self.records)))
        for record in self.records[1:]:
            begin, end = record.samples
            if end <= start:
                continue
            values = self.layout.spins(self.stored(record)[:, max(0, start - begin) :])
            flat = values.reshape(-1, *self.layout.shape)
            batches = [flat[first : first + size] for first in range(0, len(flat), size)]
            seen = [_observed(function, np.resize(batch, (size, *batch.shape[1:]))) for batch in batches]
            joined = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *seen)
            lengths = (values.shape[:2], len(flat))
            parts.append(
                jax.tree.map(
                    lambda leaf, lengths=lengths: leaf[: lengths[1]].reshape(*lengths[0], *leaf.shape[1:]), joined
                )
            )
        return jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)


@jax.jit
def _observed(observe: Callable, configurations: jax.Array) -> PyTree:
    return jax.vmap(observe)(configurations)
