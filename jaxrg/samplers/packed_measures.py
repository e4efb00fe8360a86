"""Measurements of configurations that are packed in words: by counting bits, or one lane after another."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.base import PyTree
from jaxrg.models import Glass, Ising, Observables, magnetization
from jaxrg.samplers import packed
from jaxrg.samplers.packed import LANES, Layout


class PackedState(NamedTuple):
    """Many configurations, a set bit for a spin +1. Chain c is bit ``c % 32`` of word ``c // 32`` if chains fill words.

    Else word c holds chain c alone, cut into 32 strips: row ``i + b L/32`` of a first side L is bit b of row i.

    Three plain arrays, which ``numpy.savez(file, **state._asdict())`` stores and ``PackedState(**numpy.load(file))``
    reads.
    """

    even: Array  # [num_words, *compact shape] uint32, sites of even parity; may be sharded by words
    odd: Array  # [num_words, *compact shape] uint32, the others
    step: Array  # [] uint32, steps taken

    @property
    def spins(self) -> tuple[Array, Array]:
        """Even and odd sites."""
        return self.even, self.odd


def measure_packed(layout: Layout, fn: Callable, state: PackedState) -> PyTree:
    """``fn`` of the configuration of every chain, ``[num_chains, ...]``."""
    of_words = _counted(layout, fn, state)
    return unpacked(layout, fn, state) if of_words is None else of_words


def unpacked(layout: Layout, fn: Callable, state: PackedState) -> PyTree:
    """The same without counting; a function of a stack of glasses gets the glass of each chain."""
    words = packed.expand(*state.spins)
    call, models = _of_chain(layout, fn)
    if layout.is_cut:
        return lax.map(lambda chain: call(chain[0], layout.joined(chain[1])), (models, words))
    models = jax.tree.map(lambda leaf: leaf.reshape(-1, LANES, *leaf.shape[1:]), models)

    def of_lane(lane: Array) -> PyTree:
        return jax.vmap(call)(jax.tree.map(lambda leaf: leaf[:, lane], models), packed.unpack_lane(words, lane))

    values = lax.map(of_lane, jnp.arange(LANES, dtype=jnp.uint32))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), values)


def _parts(fn: Callable) -> tuple[Callable, Any]:
    """The method and the model that a function consists of, as ``model.observables`` does."""
    if inspect.ismethod(fn):
        return fn.__func__, fn.__self__
    args = getattr(fn, "args", ())
    return getattr(fn, "func", fn), args[0] if len(args) == 1 else None


def _of_chain(layout: Layout, fn: Callable) -> tuple[Callable, PyTree]:
    func, model = _parts(fn)
    if isinstance(model, Glass) and jnp.ndim(model.bonds) == layout.lattice.ndim + 2:
        if jnp.shape(model.bonds)[0] != layout.num_chains:
            raise ValueError(
                f"observe: expected a glass for each of {layout.num_chains} chains, got {jnp.shape(model.bonds)[0]}"
            )
        return func, model
    return lambda _, spins: fn(spins), ()


def _counted(layout: Layout, fn: Callable, state: PackedState) -> Observables | Array | None:
    """What an Ising model of this lattice reports, or the magnetization, from the bits; None for other functions.

    The sums are the integers that `unpacked` adds up, so the values are the same bit for bit.
    """
    func, model = _parts(fn)
    lattice = layout.lattice
    if func is magnetization and model is None:
        return _magnetization(_chain_counts(layout, state.spins), lattice.num_sites, jnp.float32)
    if func is not Ising.observables or not isinstance(model, Ising) or model.lattice != lattice:
        return None
    dtype = jnp.asarray(model.coupling).dtype
    values, missing = packed.neighbours(layout, state.odd, jnp.uint32(0))
    aligned = [~(state.even ^ value) for value in values]
    aligned = [word if mask is None else word & ~mask for word, mask in zip(aligned, missing, strict=True)]
    up, satisfied = _chain_counts(layout, state.spins), _chain_counts(layout, aligned)
    sides = zip(lattice.shape, lattice.periodic, strict=True)
    num_bonds = sum(lattice.num_sites // side * (side if wraps else side - 1) for side, wraps in sides)
    # Counted from the middle: there are up to 2^31 bonds, one more than an int32 holds.
    excess = (satisfied - num_bonds // 2).astype(dtype)
    return Observables((num_bonds % 2 - 2 * excess) / lattice.num_sites, _magnetization(up, lattice.num_sites, dtype))


def _chain_counts(layout: Layout, words: Sequence[Array]) -> Array:
    """``[num_chains]`` int32 numbers of ones in all of these arrays together, modulo 2^32."""
    if layout.is_cut:
        # At most 256 ones a place; XLA writes this array, which need not be as large as the words.
        ones = functools.reduce(jnp.add, [lax.population_count(word).astype(jnp.uint16) for word in words])
        return jnp.sum(ones, axis=range(1, ones.ndim), dtype=jnp.int32)
    digits, _ = packed.count_ones(list(words), [None] * len(words))
    # A loop, as the words would otherwise be computed anew inside every use that the counting makes of them.
    lanes = lax.map(packed.count_lanes, jnp.stack(digits)).reshape(len(digits), -1)
    return jnp.sum(lanes << jnp.arange(len(digits), dtype=jnp.int32)[:, None], axis=0)


def _magnetization(up: Array, num_sites: int, dtype) -> Array:
    return (2 * up - num_sites).astype(dtype) / num_sites
