"""Multi-spin coded Ising dynamics: 32 independent chains in the bits of a word, all chains updated by word operations.

A sweep is two half-sweeps, each one fused kernel: neighbours are counted by full adders, every possible count has its
threshold, and one set of random words decides all 32 chains. Random words are functions of (key, site, word of chains),
so a trajectory is bit for bit the same however the chains are spread over devices.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Sampler, Status
from jaxrg.checks import check_count, check_spins
from jaxrg.models import Ising
from jaxrg.random import BinaryExpansion
from jaxrg.samplers import packed
from jaxrg.samplers.bernoulli import (
    acceptance_expansion,
    bernoulli_planes,
    logistic_expansion,
    settling_word,
    stretched_planes,
)
from jaxrg.samplers.kernels import counted
from jaxrg.samplers.spins import SpinInfo, check_model


class PackedState(NamedTuple):
    """Many configurations; chain c is bit ``c % 32`` of word ``c // 32``, and a set bit is spin +1."""

    spins: tuple[Array, Array]  # even and odd sites, each [num_words, *compact shape] uint32; may be sharded by words
    step: Array  # [] uint32, steps taken


@functools.partial(jax.tree_util.register_dataclass, data_fields=["model"], meta_fields=["num_chains", "num_draws"])
@dataclasses.dataclass(frozen=True)
class _Ensemble:
    """The model, and the static choices of its packed chains."""

    model: Ising
    num_chains: int
    num_draws: int  # random words for each word of spins

    @property
    def num_planes(self) -> int:
        return self.num_draws + self.num_draws // 2


def heat_bath_expansions(model: Ising, num_planes: int) -> list[BinaryExpansion]:
    r"""Digits of :math:`P(s=+1) = 1/(1+e^{-2(Kn+h)})` for every number of up neighbours.

    Returns:
        One expansion ``[2d + 1]`` for n = -2d, -2d + 2, ..., 2d; on lattices with an open side a second one for n one
        higher, as sites on its boundary can have.
    """
    return [logistic_expansion(2 * (n + _field(model)), num_planes=num_planes) for n in _coupled_sums(model)]


def metropolis_expansions(model: Ising, num_planes: int) -> list[BinaryExpansion]:
    r"""Digits of :math:`\min(1, e^{-2(Km \pm h)})` for every number of aligned neighbours, m their sum times the spin.

    Returns:
        As ``heat_bath_expansions``, each with ``[2 (2d + 1)]`` entries: spins up first, then spins down.
    """
    return [
        acceptance_expansion(jnp.concatenate([2 * (m + _field(model)), 2 * (m - _field(model))]), num_planes=num_planes)
        for m in _coupled_sums(model)
    ]


def _field(model: Ising) -> Array:
    return jnp.asarray(model.field, jnp.asarray(model.coupling).dtype)


def _coupled_sums(model: Ising) -> list[Array]:
    """K times the sum of the neighbours, for every count; on open lattices also one higher."""
    coupling = jnp.asarray(model.coupling)
    degree = 2 * model.lattice.ndim
    sums = np.arange(-degree, degree + 1, 2)
    shifts = (0,) if all(model.lattice.periodic) else (0, 1)
    return [coupling * jnp.asarray(sums + shift, coupling.dtype) for shift in shifts]


def _heat_bath_rule(spins: Array, values: list[Array], missing: list, outcomes: list[tuple[Array, ...]]) -> Array:
    digits, unpaired = packed.count_ones(values, missing)
    return packed.choose(digits, unpaired, outcomes)


def _metropolis_rule(spins: Array, values: list[Array], missing: list, outcomes: list[tuple[Array, ...]]) -> Array:
    digits, unpaired = packed.count_ones([~(spins ^ value) for value in values], missing)
    half = len(values) + 1
    up = packed.choose(digits, unpaired, [words[:half] for words in outcomes])
    down = packed.choose(digits, unpaired, [words[half:] for words in outcomes])
    return spins ^ ((spins & up) | (~spins & down))


def _half_sweep(
    rule: Callable, expansions: list[BinaryExpansion], ensemble: _Ensemble, key: Array, spins: Array, others, colour
) -> Array:
    """New words of one colour, given those of the other."""
    sites, replicas = packed.site_indices(spins.shape[0], spins.shape[1:], colour)
    words = random.bits(key, sites, ensemble.num_draws, replicas=replicas)
    planes, settle = stretched_planes(words), settling_word(words)
    outcomes = [bernoulli_planes(planes, expansion, settle) for expansion in expansions]
    values, missing = packed.neighbours(ensemble.model.lattice, others, colour)
    return rule(spins, values, missing, outcomes)


def _sweep(rule: Callable, expansions_fn: Callable, ensemble: _Ensemble, key: Array, state: PackedState):
    model = ensemble.model
    expansions = expansions_fn(model, ensemble.num_planes)

    # A loop over the colours, not two calls: XLA on a CPU would otherwise recompute the first half-sweep inside every
    # use that the second makes of it.
    def update(carry, colour):
        spins, others = carry
        return (others, _half_sweep(rule, expansions, ensemble, key, spins, others, colour)), None

    spins, _ = lax.scan(update, state.spins, jnp.arange(2, dtype=jnp.uint32))
    is_finite = jnp.isfinite(jnp.asarray(model.coupling)) & jnp.isfinite(jnp.asarray(model.field))
    changed = [_changed_fraction(after, before) for after, before in zip(spins, state.spins, strict=True)]
    info = SpinInfo((changed[0] + changed[1]) / 2, Status.NOT_FINITE.when(~is_finite))  # of all chains together
    return state._replace(spins=spins), info


def _changed_fraction(spins: Array, before: Array) -> Array:
    counts = lax.population_count(spins ^ before)
    # Halving by slices stays in one vectorised fusion; what is left is a fraction of the words. The sum of many
    # integers is taken in float32, as 2^32 spins and more would overflow.
    for axis in range(1, counts.ndim - 1):  # not along the words, which may lie on different devices
        while counts.shape[axis] % 2 == 0 and spins.size < 64 * counts.size:
            half = counts.shape[axis] // 2
            counts = lax.slice_in_dim(counts, 0, half, axis=axis) + lax.slice_in_dim(counts, half, 2 * half, axis=axis)
    return jnp.sum(counts.astype(jnp.float32)) / np.float32(packed.LANES * spins.size)


def _heat_bath(ensemble: _Ensemble, key: Array, state: PackedState):
    return _sweep(_heat_bath_rule, heat_bath_expansions, ensemble, key, state)


def _metropolis(ensemble: _Ensemble, key: Array, state: PackedState):
    return _sweep(_metropolis_rule, metropolis_expansions, ensemble, key, state)


# Jitted for memory: op by op, the generator would hold a dozen arrays of the size of the state.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _random_words(key: Array, num_words: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    def of_colour(colour: int) -> Array:
        sites, replicas = packed.site_indices(num_words, shape, jnp.uint32(colour))
        return random.bits(key, sites, 1, replicas=replicas)[0]

    return of_colour(0), of_colour(1)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _given_words(spins: Array, num_words: int, ndim: int) -> tuple[Array, Array]:
    if spins.ndim == ndim:
        spins = jnp.broadcast_to(spins[None], (packed.LANES * num_words, *spins.shape))
    return packed.compact(packed.pack(spins))


def _init(ensemble: _Ensemble, key: Array, spins: Array | None = None) -> PackedState:
    lattice, num_chains = ensemble.model.lattice, ensemble.num_chains
    num_words = num_chains // packed.LANES
    if spins is None:
        words = _random_words(key, num_words, packed.compact_shape(lattice))
    else:
        spins = jnp.asarray(spins)
        check_spins("spins", spins, lattice.shape if spins.ndim == lattice.ndim else (num_chains, *lattice.shape))
        words = _given_words(spins, num_words, lattice.ndim)
    return PackedState(words, jnp.uint32(0))


def _measure(fn: Callable, state: PackedState):
    words = packed.expand(*state.spins)
    values = lax.map(
        lambda lane: jax.vmap(fn)(packed.unpack_lane(words, lane)), jnp.arange(packed.LANES, dtype=jnp.uint32)
    )
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), values)


def _sampler(kernel: Callable, model: Ising, num_chains: int, num_draws: int) -> Sampler:
    check_model(model)
    if not isinstance(model, Ising):
        raise ValueError(f"model: expected models.Ising, got {type(model).__name__}; use samplers.heat_bath")
    check_count("num_chains", num_chains)
    if num_chains % packed.LANES:
        raise ValueError(f"num_chains: expected a multiple of {packed.LANES}, the bits of a word, got {num_chains}")
    if num_draws not in (4, 8, 12, 16):
        raise ValueError(f"num_draws: expected 4, 8, 12 or 16, got {num_draws!r}")
    packed.check_checkerboard(model.lattice)
    for name in ("coupling", "field"):
        shape = jnp.shape(getattr(model, name))
        if shape != ():
            raise ValueError(f"{name}: expected a scalar, got shape {shape}; use samplers.heat_bath")
    ensemble = _Ensemble(model, num_chains, num_draws)
    return Sampler(Partial(_init, ensemble), counted(Partial(kernel, ensemble)), Partial(_measure))


def multispin_heat_bath(model: Ising, *, num_chains: int, num_draws: int = 8) -> Sampler:
    r"""Heat bath for many chains at once, one chain a bit: the fastest way to many independent samples.

    .. math:: P(s_x = +1 \mid \text{rest}) = \frac{1}{1 + e^{-2(K n_x + h)}}

    A step is one sweep of every chain, even sites and then odd sites. It leaves P invariant and is irreducible; as an
    ordered sweep it keeps balance but not detailed balance. Probabilities are exact to 2^-(B + 32), with B = 1.5 times
    ``num_draws`` binary digits compared lane by lane. Chains of different words are independent; two chains of one word
    are but for the fraction 2^-2B of updates in which both are undecided by their B digits (`bernoulli_planes`).

    Args:
        model: `jaxrg.models.Ising` with scalar coupling (either sign) and field, on a hypercubic lattice with even
            periodic sides, open sides of any length, and an even last side.
        num_chains: a multiple of 32.
        num_draws: random words that each word of spins consumes: 4, 8, 12 or 16. The default, B = 12, leaves a
            correlation below 1e-6 in common events and of 2e-4 in the coincidence of events rarer than that.

    Returns:
        A sampler with `PackedState` and `SpinInfo`. ``init(key, spins)`` takes one configuration ``[*shape]`` for all
        chains or ``[num_chains, *shape]``; without it, chains start at random. ``measure`` gives one value a chain.

    Raises:
        ValueError: another model or lattice, couplings that are not scalar, or counts out of range.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.3)
        >>> sampler = samplers.thin(multispin_heat_bath(ising, num_chains=64), 10)
        >>> state = sampler.init(jax.random.key(0))
        >>> samplers.run(jax.random.key(1), sampler, state, 20, observe=ising.observables).trace.energy.shape
        (64, 20)

    Reference:
        Jacobs & Rebbi, J. Comput. Phys. 41, 203 (1981); Block, Virnau & Preis, Comput. Phys. Commun. 181, 1549 (2010).
    """
    return _sampler(_heat_bath, model, num_chains, num_draws)


def multispin_metropolis(model: Ising, *, num_chains: int, num_draws: int = 8) -> Sampler:
    r"""Metropolis for many chains at once, one chain a bit.

    .. math:: P(s_x \to -s_x) = \min(1, e^{-2 s_x (K n_x + h)})

    Every spin is proposed once a sweep, even sites and then odd sites. Moves with :math:`\Delta H \le 0` are always
    accepted, so the ordered sweep can be reducible: at zero coupling every spin flips in every sweep, and on small or
    special lattices there are states it never reaches (19 closed classes on a 4 x 4 torus). On large lattices at a
    finite temperature it is sound. Use `multispin_heat_bath` unless its dynamics is not wanted, or
    `samplers.random_scan_metropolis`.

    Args:
        model: as for `multispin_heat_bath`.
        num_chains: a multiple of 32.
        num_draws: as for `multispin_heat_bath`.

    Returns:
        A sampler with `PackedState` and `SpinInfo`.

    Raises:
        ValueError: another model or lattice, couplings that are not scalar, or counts out of range.

    Reference:
        Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
    """
    return _sampler(_metropolis, model, num_chains, num_draws)
