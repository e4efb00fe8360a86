"""Chains recorded into a sample store, which a crash at any moment leaves whole and the same call goes on with."""

import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Progress, PyTree, Sampler
from jaxrg.checks import as_count, check_key, is_traced
from jaxrg.progress import reporting
from jaxrg.samplers.driver import run
from jaxrg.samplers.kernels import check_sampler
from jaxrg.store import RunFolder, SampleStore, as_folder, describe, fingerprint, program_fingerprint, write_atomically
from jaxrg.store.layout import BITS, Layout
from jaxrg.store.records import damaged_error, damages_of_description
from jaxrg.store.sample_writer import SampleWriter, locked
from jaxrg.store.states import as_bytes, from_bytes

# What a treedef says of places in the memory and of JAX's own containers.
MACHINERY = r" at 0x[0-9a-f]+|CustomNode|PyTreeDef|Partial|<function |>|, \{\}"
START = 2**32 - 1  # of fold_in, for a start of the run's own key: no chain takes so many steps


class Recording(NamedTuple):
    """A chain and how its configurations are stored: what `sample`, `verify` and `repair` share."""

    key: Array
    sampler: Sampler
    start: PyTree
    layout: Layout
    description: dict[str, Any]
    programs: dict[str, str]

    @property
    def step(self) -> int:
        """Of the start."""
        return step_of(self.start)

    def folder(self, folder: str | os.PathLike) -> RunFolder:
        """The folder, refused if it holds anything else.

        Raises:
            FolderError: another chain, or no store.
            DamagedError: its description is damaged.
        """
        place = as_folder("folder", folder)
        if found := damages_of_description(place):
            raise damaged_error(place, found)
        return RunFolder(place, self.description, programs=self.programs)

    def advance(self, state: PyTree, num_samples: int, progress: Progress | None = None) -> tuple[PyTree, np.ndarray]:
        """The state after some samples, and what is stored of them, ``[num_chains, num_samples, ...]``."""
        observe = Partial(_packed) if self.layout.is_packed else Partial(_as_it_is)
        after, trace, _ = run(self.key, self.sampler, state, num_samples, observe=observe, progress=progress)
        if not self.layout.is_packed:
            return after, np.asarray(trace)
        words, is_spin = trace
        if not np.all(np.asarray(is_spin)):
            raise ValueError("sampler: expected spins +1 and -1, got other values; give is_spins=False to store them")
        return after, np.asarray(words)


def on_device(state: PyTree) -> PyTree:
    """The arrays of NumPy as those of JAX, but for 64 bits where JAX holds 32 only: they would lose digits."""
    return jax.tree.map(lambda leaf: leaf if jnp.result_type(leaf) != leaf.dtype else jax.device_put(leaf), state)


def step_of(state: PyTree) -> int:
    """Steps that a state has taken."""
    return int(np.max(np.asarray(state.step)))


def _packed(spins: Array) -> tuple[Array, Array]:
    """A configuration as words of bits, and whether it consists of spins."""
    flat = spins.ravel()
    bits = jnp.pad(flat > 0, (0, -flat.size % BITS)).reshape(-1, BITS)
    weights = (1 << jnp.arange(BITS, dtype=jnp.uint32))[None]
    return jnp.sum(jnp.where(bits, weights, 0), axis=1, dtype=jnp.uint32), jnp.all((flat == 1) | (flat == -1))


def _as_it_is(configuration: Array) -> Array:
    return configuration


@jax.jit
def _start(sampler: Sampler, key: Array) -> PyTree:
    return sampler.init(jax.random.fold_in(key, START))


@jax.jit
def _has_spins(sampler: Sampler, state: PyTree) -> Array:
    """Whether a start is one of spins ±1: states 0, ..., q - 1 are int8 as well."""
    return jnp.all(sampler.measure(lambda configuration: jnp.abs(configuration) == 1, state))


def recording(
    key: Array, sampler: Sampler, state: PyTree | None, is_spins: bool | None, notes: dict[str, Any] | None
) -> Recording:
    """What is recorded, checked before anything is written.

    Raises:
        ValueError: no typed key, no sampler, or configurations that are no array.
    """
    check_key("key", key)
    check_sampler("sampler", sampler)
    if is_traced((key, sampler, state)):
        raise ValueError(
            "sampler, key, state: expected values, which go to a file, got traced ones; record outside of jit"
        )
    start = _start(sampler, key) if state is None else state
    like = jax.eval_shape(lambda state: sampler.measure(_as_it_is, state), start)
    if not isinstance(like, jax.ShapeDtypeStruct):
        raise ValueError(f"sampler: expected configurations that are one array, got {jax.tree.structure(like)}")
    if is_spins is None:
        is_spins = like.dtype == jnp.int8 and bool(_has_spins(sampler, start))
    layout = Layout(like.shape[0], like.shape[1:], str(like.dtype), bool(is_spins))
    couplings = {path.replace("[<flat index 0>]", ""): words for path, words in describe(sampler.step).items()}
    description = {
        "sampler": re.sub(MACHINERY, "", str(jax.tree.structure(sampler.step))),
        "couplings": couplings,
        "key": {"kind": str(jax.random.key_impl(key)), "bits": np.asarray(jax.random.key_data(key)).tolist()},
        "start": fingerprint(start),
        "values": layout.as_json(),
        "notes": notes or {},
    }
    programs = {"step": program_fingerprint(sampler.step, key, start)}
    return Recording(key, sampler, start, layout, description, programs)


def sample(
    folder: str | os.PathLike,
    key: Array,
    sampler: Sampler,
    num_samples: int,
    *,
    state: PyTree | None = None,
    samples_per_commit: int | None = None,
    is_spins: bool | None = None,
    notes: dict[str, Any] | None = None,
    progress: Progress | bool | None = None,
) -> SampleStore:
    """Sample into a folder until it holds ``num_samples`` of every chain.

    Each step of the sampler gives one sample; `thin` it to store every k-th. Samples are committed many at a time: what
    is committed survives a crash at any moment, and the same call goes on from there with the very same trajectory,
    bit for bit. Where the folder holds as many samples already, nothing is done. Spins take one bit each.

    Chains of one key share their random numbers: give every temperature a key, and a folder, of its own.

    Args:
        folder: new, empty, or of this very chain.
        key: typed key of the whole run, as for `run`.
        sampler: any whose configurations are one array, such as `wolff`, `replicas` or `multispin_heat_bath`.
        num_samples: of every chain, in all, those in the folder included.
        state: the start, in equilibrium if all samples are to be; by default a new one from the key.
        samples_per_commit: by default as many as fill 16 MiB, but at most 4096. They take no part in the trajectory.
        is_spins: whether configurations are spins +1 and -1, to be stored as bits; by default those are of
            which the start consists of them, as int8.
        notes: anything JSON can hold that tells this store from others.
        progress: called as ``progress(samples, num_samples, "")``, or True for a bar.

    Returns:
        The store, for reading.

    Raises:
        ValueError: no typed key, no sampler, no positive number, or configurations that are no spins.
        FolderError: the folder holds something else, another chain, or is being written to by another process.
        DamagedError: a file of the folder is damaged or lost; see `repair`.
        OSError: the disk is full; what was committed is whole.
        FloatingPointError: a step met a NaN.

    Example:
        >>> import tempfile
        >>> from jaxrg import lattice, models, samplers
        >>> sampler = samplers.wolff(models.Ising(lattice.hypercubic((8, 8)), 0.44))
        >>> place = tempfile.mkdtemp()
        >>> samplers.sample(place, jax.random.key(0), sampler, 20).num_samples
        20
        >>> samplers.sample(place, jax.random.key(0), sampler, 30).read(-10).shape
        (1, 10, 8, 8)
    """
    num_samples = as_count("num_samples", num_samples)
    chain = recording(key, sampler, state, is_spins, notes)
    chosen = chain.layout.samples_per_commit
    per_commit = chosen if samples_per_commit is None else as_count("samples_per_commit", samples_per_commit)
    place = chain.folder(folder)
    place.claim()
    with reporting(progress, "sampling") as report, locked(place.folder):
        writer = SampleWriter(place.folder, chain.layout)
        if not writer.records:
            writer.append(None, chain.start, chain.step)
        state = chain.start
        if 0 < writer.num_samples < num_samples:
            state = on_device(SampleStore(place.folder).state())
        while (done := writer.num_samples) < num_samples:

            def within(part: int, total: int, text: str, done: int = done) -> None:
                report(done + part, num_samples, text)

            size = min(per_commit, num_samples - done)
            state, values = chain.advance(state, size, within if progress else None)
            writer.append(values, state, step_of(state))
            report(writer.num_samples, num_samples, "")
        return SampleStore(place.folder)


def save(file: str | os.PathLike, state: PyTree) -> None:
    """Write the state of any sampler to a file, whole or not at all, for a script that goes on tomorrow.

    Args:
        file: written anew if it is there; NumPy opens it as an ``.npz`` archive too.
        state: any tree of arrays and typed keys.

    Raises:
        OSError: it cannot be written; what was there before is whole.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxrg import lattice, models, samplers
        >>> sampler = samplers.heat_bath(models.Ising(lattice.hypercubic((8, 8)), 0.3))
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "state.npz"
        >>> samplers.save(file, samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 10).state)
        >>> int(samplers.run(jax.random.key(1), sampler, samplers.load(file), 10).state.step)
        20
    """
    content = as_bytes(state)
    write_atomically(as_folder("file", file), lambda partial: partial.write_bytes(content))


def load(file: str | os.PathLike) -> PyTree:
    """The state that `save` has written, bit for bit.

    Raises:
        DamagedError: a ValueError; the file is not what was written.
        OSError: there is none.
    """
    path = as_folder("file", file)
    return on_device(from_bytes(path.read_bytes(), source=path))
