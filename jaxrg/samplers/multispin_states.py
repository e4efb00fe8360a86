"""Multi-spin coded Metropolis dynamics of a few states: 32 chains, or 32 strips of one, in two bits a site.

As in `jaxrg.samplers.multispin`, but a site has the two bits of its state in words of their own. A count of the
neighbours that agree with the old state and of those that do not with the new one is all that an acceptance needs.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Sampler, Status
from jaxrg.checks import as_array, check_key, is_traced
from jaxrg.closures import as_partial
from jaxrg.models import Potts, pytree
from jaxrg.models.sites import States
from jaxrg.random import BinaryExpansion, binary_expansion
from jaxrg.samplers import packed
from jaxrg.samplers.bernoulli import acceptance_expansion, bernoulli_planes, settling_word, stretched_planes
from jaxrg.samplers.kernels import counted
from jaxrg.samplers.packed_measures import PackedState, measure_packed
from jaxrg.samplers.spins import SpinInfo

Planes: TypeAlias = tuple[Array, Array]
"""Words of the low bits and of the high bits of states."""

_NUM_TURNS = {2: 0, 3: 1, 4: 2}  # random words that choose the proposals
_ONES = 0xFFFFFFFF


@pytree(data_fields=("coupling", "generator"), meta_fields=("layout", "num_states", "num_draws"))
@dataclasses.dataclass(frozen=True)
class _Ensemble:
    """The coupling of packed chains, and the choices made for them."""

    coupling: Array
    generator: Partial  # words of sites, as `random.bits`
    layout: packed.Layout
    num_states: int
    num_draws: int  # random words for each word of sites, beside those that choose the proposals


def potts_metropolis(model: Potts, layout: packed.Layout, num_draws: int, generator: Callable) -> Sampler:
    """The sampler that `jaxrg.samplers.multispin_metropolis` makes of a Potts model.

    Raises:
        ValueError: more than four states, or a field.
    """
    if model.num_states not in _NUM_TURNS:
        raise ValueError(f"num_states: expected 2, 3 or 4, got {model.num_states}; use samplers.metropolis")
    if model.field is not None and (is_traced(model.field) or np.any(np.asarray(model.field))):
        raise ValueError(f"field: expected none, got one of shape {jnp.shape(model.field)}; use samplers.metropolis")
    coupling = jnp.asarray(model.coupling)
    ensemble = _Ensemble(coupling, as_partial(generator), layout, model.num_states, num_draws)
    measure = Partial(measure_packed, layout)
    return Sampler(Partial(_init, ensemble), counted(Partial(_metropolis, ensemble)), measure)


def _init(ensemble: _Ensemble, key: Array, spins: Array | None = None) -> PackedState:
    check_key("key", key)
    layout = ensemble.layout
    if spins is None:
        even, odd = _random_words(key, layout.num_words, layout.compact_shape, ensemble.num_states)
    else:
        spins, shape = as_array("spins", spins), layout.lattice.shape
        shape = shape if spins.ndim == len(shape) else (layout.num_chains, *shape)
        even, odd = _given_words(States(ensemble.num_states).checked("spins", spins, shape), layout)
    return PackedState(even, odd, jnp.zeros((), jnp.uint32))


# Jitted for memory, as the words of `jaxrg.samplers.multispin`.
@partial(jax.jit, static_argnums=(1, 2, 3))
def _random_words(key: Array, num_words: int, shape: tuple[int, ...], num_states: int) -> tuple[Array, Array]:
    thirds = binary_expansion(jnp.array([1, 2], jnp.float32) / 3, num_planes=12)

    def of_colour(colour: int) -> Array:
        sites, replicas = packed.site_indices(num_words, shape, jnp.uint32(colour))
        words = random.bits(key, sites, 8, replicas=replicas)
        low, high = words[0], words[1]
        if num_states == 2:
            high = jnp.zeros_like(low)
        if num_states == 3:
            first, below = bernoulli_planes(stretched_planes(words), thirds, settling_word(words))
            low, high = below & ~first, ~below
        return jnp.stack([low, high], axis=1)

    return of_colour(0), of_colour(1)


@partial(jax.jit, static_argnums=1)
def _given_words(spins: Array, layout: packed.Layout) -> tuple[Array, Array]:
    low, high = (packed.compact(layout.pack((spins >> bit) & 1)) for bit in range(2))
    return jnp.stack([low[0], high[0]], axis=1), jnp.stack([low[1], high[1]], axis=1)


def _metropolis(ensemble: _Ensemble, key: Array, state: PackedState) -> tuple[PackedState, SpinInfo]:
    coupling = ensemble.coupling
    degree = 2 * ensemble.layout.lattice.ndim
    # Of every number of neighbours lost. Where the coupling is negative those that agree and those that do not change
    # their places, see `_half_sweep`.
    strength = jnp.where(jnp.isfinite(coupling), jnp.abs(coupling), 0)  # what is not finite is in the status
    changes = strength * jnp.arange(1, degree + 1, dtype=coupling.dtype)
    expansion = acceptance_expansion(changes, num_planes=ensemble.num_draws + ensemble.num_draws // 2)
    # One colour after the other in a loop, whose turns XLA does not fuse: it would compute the first half-sweep anew in
    # each of the uses that the second one makes of it. For the same reason a half-sweep ends with one array, the moves
    # accepted, and its states are made of that where they are used.
    none = jnp.zeros_like(state.odd[:, 0])
    turns = (none,) * _NUM_TURNS[ensemble.num_states]
    start = _planes(state.even), _Moves(_planes(state.odd), turns, none)
    even, odd = lax.fori_loop(0, 2, partial(_half_sweep, ensemble, expansion, key), start)
    after = state._replace(even=jnp.stack(even, axis=1), odd=jnp.stack(_moved(ensemble.num_states, odd), axis=1))
    changed = [_changed(before, now) for before, now in zip(state.spins, after.spins, strict=True)]
    acceptance = (packed.fraction_of_ones(changed[0]) + packed.fraction_of_ones(changed[1])) / 2
    return after, SpinInfo(acceptance, Status.NOT_FINITE.when(~jnp.isfinite(coupling)))


def _planes(words: Array) -> Planes:
    """The low and the high bits of ``[num_words, 2, *compact shape]``."""
    return words[:, 0], words[:, 1]


def _changed(before: Array, after: Array) -> Array:
    low, high = _planes(before ^ after)
    return low | high


class _Moves(NamedTuple):
    """States of one colour, and the moves that are to be made."""

    planes: Planes
    turns: tuple[Array, ...]
    is_accepted: Array


def _moved(num_states: int, moves: _Moves) -> Planes:
    low, high = moves.planes
    new_low, new_high = _proposed(num_states, moves.planes, moves.turns)
    accepted = moves.is_accepted
    return (new_low & accepted) | (low & ~accepted), (new_high & accepted) | (high & ~accepted)


def _half_sweep(
    ensemble: _Ensemble, expansion: BinaryExpansion, key: Array, colour: Array, halves: tuple[Planes, _Moves]
) -> tuple[Planes, _Moves]:
    """States of one colour and the other one's moves, to states of the other colour and this one's moves."""
    here, others = halves[0], _moved(ensemble.num_states, halves[1])
    low, high = here
    parity = packed.on_all_cores(colour.astype(jnp.uint32), jax.random.key_data(key).reshape(-1)[0])
    sites, replicas = packed.site_indices(low.shape[0], low.shape[1:], parity)
    num_turns = len(halves[1].turns)
    words = ensemble.generator(key, sites, ensemble.num_draws + num_turns, replicas=replicas)
    # With zeros of the state, as `jax.shard_map` asks for: what a loop carries varies over devices, or never does.
    draws, turns = words[: ensemble.num_draws], tuple(word | (low & 0) for word in words[ensemble.num_draws :])
    new_low, new_high = _proposed(ensemble.num_states, here, turns)
    low_values, missing = packed.neighbours(ensemble.layout, others[0], parity)
    high_values, _ = packed.neighbours(ensemble.layout, others[1], parity)
    # A neighbour that agrees with the old state counts one, as does one that does not with the new state. That makes
    # 2 d plus the number of equal neighbours that are lost; a missing one agrees with none.
    ones = []
    is_negative = jnp.where(ensemble.coupling < 0, jnp.uint32(_ONES), 0)
    for low_value, high_value, mask in zip(low_values, high_values, missing, strict=True):
        was_equal = ~((low ^ low_value) | (high ^ high_value))
        is_unequal = (new_low ^ low_value) | (new_high ^ high_value)
        if mask is not None:
            was_equal, is_unequal = was_equal & ~mask, is_unequal | mask
        ones += [was_equal ^ is_negative, is_unequal ^ is_negative]
    digits, _ = packed.count_ones(ones, [None] * len(ones))
    planes = bernoulli_planes(stretched_planes(draws), expansion, settling_word(draws))
    always = jnp.full_like(low, _ONES)
    is_accepted = packed.choose(digits, None, [[always] * (len(ones) // 2 + 1) + list(planes)])
    return others, _Moves(here, turns, is_accepted)


def _proposed(num_states: int, planes: Planes, turns: tuple[Array, ...]) -> Planes:
    """Of two states the other, of three one of the two others, of four any."""
    low, high = planes
    if num_states == 2:
        return ~low, high
    if num_states == 4:
        return low ^ turns[0], high ^ turns[1]
    (is_next,) = turns
    zero = ~(low | high)
    return (zero & is_next) | (high & ~is_next), (low & is_next) | (zero & ~is_next)
