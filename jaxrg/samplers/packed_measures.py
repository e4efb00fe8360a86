"""Measurements of configurations that are packed in words: by counting bits, or one lane after another."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxrg.base import PyTree
from jaxrg.models import Glass, Ising, Observables, Potts, magnetization
from jaxrg.models.potts import PottsObservables
from jaxrg.samplers import packed
from jaxrg.samplers.packed import LANES, Layout


class PackedState(NamedTuple):
    """Many configurations, a bit of a word each. Chain c is bit ``c % 32`` of word ``c // 32`` if chains fill words.

    Else word c holds chain c alone, cut into 32 strips: row ``i + b L/32`` of a first side L is bit b of row i. A set
    bit is a spin +1. Potts states have two words at every place, ``[num_words, 2, *compact shape]``, of their low bits
    and of their high bits.

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
    call, models = _of_chain(layout, fn)
    colours = [words_of_bits(layout, words) for words in state.spins]
    planes = [packed.expand(even, odd) for even, odd in zip(*colours, strict=True)]
    if layout.is_cut:

        def of_chain(chain: tuple) -> PyTree:
            model, words = chain
            return call(model, _values([layout.joined(word) for word in words]))

        return lax.map(of_chain, (models, planes))
    models = jax.tree.map(lambda leaf: leaf.reshape(-1, LANES, *leaf.shape[1:]), models)

    def of_lane(lane: Array) -> PyTree:
        values = _values([packed.unpack_lane(words, lane) for words in planes])
        return jax.vmap(call)(jax.tree.map(lambda leaf: leaf[:, lane], models), values)

    values = lax.map(of_lane, jnp.arange(LANES, dtype=jnp.uint32))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), values)


def words_of_bits(layout: Layout, words: Array) -> list[Array]:
    """The words of each bit of a site, ``[num_words, *compact shape]``: one of spins, two of states."""
    return [words] if words.ndim == layout.lattice.ndim + 1 else [words[:, bit] for bit in range(words.shape[1])]


def _values(signs: list[Array]) -> Array:
    """Spins as they are, states of their two bits."""
    if len(signs) == 1:
        return signs[0]
    low, high = ((sign > 0).astype(jnp.int8) for sign in signs)
    return low + 2 * high


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


def _counted(layout: Layout, fn: Callable, state: PackedState) -> PyTree | None:
    """What an Ising or Potts model of this lattice reports, or the magnetization, from bits; None for other functions.

    The sums are the integers that `unpacked` adds up, so the values are the same but for their last digit.
    """
    func, model = _parts(fn)
    lattice, bits = layout.lattice, words_of_bits(layout, state.even)
    if func is magnetization and model is None and len(bits) == 1:
        return _magnetization(_chain_counts(layout, state.spins), lattice.num_sites, jnp.float32)
    if isinstance(model, Ising | Potts) and model.lattice == lattice:
        if isinstance(model, Ising) and func is Ising.observables and len(bits) == 1:
            return _ising_observables(layout, model, state)
        if isinstance(model, Potts) and func is Potts.observables and len(bits) == 2 and model.num_states <= 4:
            return _potts_observables(layout, model, state)
    return None


def _satisfied(layout: Layout, state: PackedState) -> Array:
    """``[num_chains]`` int32 numbers of bonds between equal values, modulo 2^32."""
    here, there = (words_of_bits(layout, words) for words in state.spins)
    moved = [packed.neighbours(layout, words, jnp.uint32(0)) for words in there]
    aligned = []
    for number, mask in enumerate(moved[0][1]):
        is_equal = [~(word ^ values[number]) for word, (values, _) in zip(here, moved, strict=True)]
        every = functools.reduce(jnp.bitwise_and, is_equal)
        aligned.append(every if mask is None else every & ~mask)
    return _chain_counts(layout, aligned)


def _ising_observables(layout: Layout, model: Ising, state: PackedState) -> Observables:
    lattice, dtype = layout.lattice, jnp.asarray(model.coupling).dtype
    up, satisfied = _chain_counts(layout, state.spins), _satisfied(layout, state)
    sides = zip(lattice.shape, lattice.periodic, strict=True)
    num_bonds = sum(lattice.num_sites // side * (side if wraps else side - 1) for side, wraps in sides)
    # Counted from the middle: there are up to 2^31 bonds, one more than an int32 holds.
    excess = (satisfied - num_bonds // 2).astype(dtype)
    return Observables((num_bonds % 2 - 2 * excess) / lattice.num_sites, _magnetization(up, lattice.num_sites, dtype))


def _potts_observables(layout: Layout, model: Potts, state: PackedState) -> PottsObservables:
    num_sites, dtype = float(layout.lattice.num_sites), jnp.asarray(model.coupling).dtype
    colours = [words_of_bits(layout, words) for words in state.spins]
    marks = [[low & high, low & ~high, high & ~low] for low, high in colours]
    three, one, two = (_chain_counts(layout, words) for words in zip(*marks, strict=True))
    zero = layout.lattice.num_sites - one - two - three
    numbers = jnp.stack([zero, one, two, three][: model.num_states], axis=-1)
    fractions = numbers.astype(dtype) / num_sites
    order = (model.num_states * jnp.max(fractions, axis=-1) - 1) / float(model.num_states - 1)
    satisfied = _satisfied(layout, state).astype(jnp.uint32).astype(dtype)
    return PottsObservables(-satisfied / num_sites, order, fractions)


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
