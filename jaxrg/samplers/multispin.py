"""Multi-spin coded Ising dynamics: 32 independent chains in the bits of a word, all chains updated by word operations.

A sweep is two half-sweeps, each one fused kernel: neighbours are counted by full adders, every possible count has its
threshold, and one set of random words decides all 32 chains. Random words are functions of (key, site, word of chains),
so a trajectory is bit for bit the same however the chains are spread over devices.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Sampler, Status
from jaxrg.checks import as_count, as_spins, check_key, check_shape
from jaxrg.models import Ising, Observables, magnetization
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

Pick: TypeAlias = Callable[[Sequence[Sequence[Array]]], Array]
"""``words = pick(rows)``: for each lane the entry of a row that its neighbours stand for; see `packed.choose`."""

Rule: TypeAlias = Callable[[Array, list[Array], list], Pick]
"""``pick = rule(spins, values, missing)`` of words of spins and those of `packed.neighbours`."""

_MAX_UNROLLED = 250  # comparisons of a digit with a probability; more are done in a loop


class PackedState(NamedTuple):
    """Many configurations; chain c is bit ``c % 32`` of word ``c // 32``, and a set bit is spin +1.

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


def _of_count(spins: Array, values: list[Array], missing: list) -> Pick:
    """Picks by the number of neighbours that are up."""
    digits, unpaired = packed.count_ones(values, missing)
    return lambda rows: packed.choose(digits, unpaired, rows)


def _of_spin_and_count(spins: Array, values: list[Array], missing: list) -> Pick:
    """Picks by the number of aligned neighbours, in the first half of a row for a spin up."""
    digits, unpaired = packed.count_ones([~(spins ^ value) for value in values], missing)
    half = len(values) + 1

    def pick(rows: Sequence[Sequence[Array]]) -> Array:
        up = packed.choose(digits, unpaired, [row[:half] for row in rows])
        down = packed.choose(digits, unpaired, [row[half:] for row in rows])
        return (spins & up) | (~spins & down)

    return pick


def _drawn(pick: Pick, planes: Sequence[Array], expansions: list[BinaryExpansion], settle: Array) -> Array:
    """Words whose lanes are true with the probability that is picked for each."""
    if len(planes) * sum(expansion.head.shape[0] for expansion in expansions) <= _MAX_UNROLLED:
        return pick([bernoulli_planes(planes, expansion, settle) for expansion in expansions])

    # The same recursion on the digits of the probability of each lane, in a loop: where there are many probabilities,
    # the program that holds them all unrolled takes a minute to compile.
    def compare(outcome: Array, numbered_plane: tuple[Array, Array]) -> tuple[Array, None]:
        place, plane = numbered_plane
        digit = pick([tuple(-((expansion.head >> place) & 1)) for expansion in expansions])
        return (plane & outcome) | ((plane | outcome) & digit), None

    undecided = pick([bernoulli_planes([], expansion, settle) for expansion in expansions])
    places = jnp.arange(len(planes), dtype=jnp.uint32)
    return lax.scan(compare, undecided, (places, jnp.stack(planes)))[0]


def _half_sweep(rule: Rule, expansions: list[BinaryExpansion], ensemble: _Ensemble, key: Array, spins, others, colour):
    """What is drawn for the words of one colour, given those of the other."""
    sites, replicas = packed.site_indices(spins.shape[0], spins.shape[1:], colour)
    words = random.bits(key, sites, ensemble.num_draws, replicas=replicas)
    pick = rule(spins, *packed.neighbours(ensemble.model.lattice, others, colour))
    return _drawn(pick, stretched_planes(words), expansions, settling_word(words))


class _Dynamics(NamedTuple):
    """What the updates of a sweep are made of."""

    rule: Rule
    expansions_fn: Callable[[Ising, int], list[BinaryExpansion]]
    move_fn: Callable[[Array, Array], Array]  # new words of the old ones and of those that are drawn


def _sweep(dynamics: _Dynamics, ensemble: _Ensemble, key: Array, state: PackedState):
    model = ensemble.model
    expansions = dynamics.expansions_fn(model, ensemble.num_planes)

    # A loop over the colours, not two calls: XLA on a CPU would otherwise recompute the first half-sweep inside every
    # use that the second makes of it.
    def update(carry, colour):
        spins, others = carry
        drawn = _half_sweep(dynamics.rule, expansions, ensemble, key, spins, others, colour)
        return (others, dynamics.move_fn(spins, drawn)), None

    spins, _ = lax.scan(update, state.spins, jnp.arange(2, dtype=jnp.uint32))
    is_finite = jnp.isfinite(jnp.asarray(model.coupling)) & jnp.isfinite(jnp.asarray(model.field))
    changed = [_changed_fraction(after, before) for after, before in zip(spins, state.spins, strict=True)]
    info = SpinInfo((changed[0] + changed[1]) / 2, Status.NOT_FINITE.when(~is_finite))  # of all chains together
    return state._replace(even=spins[0], odd=spins[1]), info


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
    return _sweep(_Dynamics(_of_count, heat_bath_expansions, lambda _, up: up), ensemble, key, state)


def _metropolis(ensemble: _Ensemble, key: Array, state: PackedState):
    return _sweep(_Dynamics(_of_spin_and_count, metropolis_expansions, jnp.bitwise_xor), ensemble, key, state)


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
    check_key("key", key)
    lattice, num_chains = ensemble.model.lattice, ensemble.num_chains
    num_words = num_chains // packed.LANES
    if spins is None:
        even, odd = _random_words(key, num_words, packed.compact_shape(lattice))
    else:
        spins = as_spins("spins", spins)
        check_shape("spins", spins, lattice.shape if spins.ndim == lattice.ndim else (num_chains, *lattice.shape))
        even, odd = _given_words(spins, num_words, lattice.ndim)
    return PackedState(even, odd, jnp.zeros((), jnp.uint32))


def _measure(ensemble: _Ensemble, fn: Callable, state: PackedState):
    of_words = _counted(ensemble, fn, state)
    return _unpacked(fn, state) if of_words is None else of_words


def _unpacked(fn: Callable, state: PackedState):
    words = packed.expand(*state.spins)
    values = lax.map(
        lambda lane: jax.vmap(fn)(packed.unpack_lane(words, lane)), jnp.arange(packed.LANES, dtype=jnp.uint32)
    )
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), values)


def _counted(ensemble: _Ensemble, fn: Callable, state: PackedState) -> Observables | Array | None:
    """What an Ising model of this lattice reports, or the magnetization, from the bits; None for other functions.

    The sums are the integers that `_unpacked` adds up, so the values are the same bit for bit.
    """
    func, args = getattr(fn, "func", fn), getattr(fn, "args", ())
    lattice = ensemble.model.lattice
    if func is magnetization and not args:
        return _magnetization(_lane_counts(state.even, state.odd), lattice.num_sites, jnp.float32)
    if func is not Ising.observables or len(args) != 1 or args[0].lattice != lattice:
        return None
    dtype = jnp.asarray(args[0].coupling).dtype
    values, missing = packed.neighbours(lattice, state.odd, jnp.uint32(0))
    aligned = [~(state.even ^ value) for value in values]
    aligned = [word if mask is None else word & ~mask for word, mask in zip(aligned, missing, strict=True)]
    digits, _ = packed.count_ones(aligned, [None] * len(aligned))  # every bond has one end of even parity
    counts = _lane_counts(state.even, state.odd, *digits)
    places = jnp.arange(len(digits), dtype=jnp.int32)
    satisfied = jnp.sum(counts[2:] << places[:, None], axis=0)
    num_bonds = int(np.sum(lattice.bonds_inside()))
    energy = -(2 * satisfied - num_bonds).astype(dtype) / lattice.num_sites
    return Observables(energy, _magnetization(counts, lattice.num_sites, dtype))


def _lane_counts(*words: Array) -> Array:
    """``[len(words), num_chains]`` int32 numbers of ones, one array of words after the other."""
    # A loop, as the words would otherwise be computed anew inside every use that the counting makes of them.
    return lax.map(packed.count_lanes, jnp.stack(words)).reshape(len(words), -1)


def _magnetization(counts: Array, num_sites: int, dtype) -> Array:
    return (2 * (counts[0] + counts[1]) - num_sites).astype(dtype) / num_sites


def _sampler(kernel: Callable, model: Ising, num_chains: int, num_draws: int) -> Sampler:
    check_model(model)
    if not isinstance(model, Ising):
        raise ValueError(f"model: expected models.Ising, got {type(model).__name__}; use samplers.heat_bath")
    num_chains, num_draws = as_count("num_chains", num_chains), as_count("num_draws", num_draws)
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
    return Sampler(Partial(_init, ensemble), counted(Partial(kernel, ensemble)), Partial(_measure, ensemble))


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
        chains or ``[num_chains, *shape]``; without it, chains start at random. ``measure`` gives one value a chain:
        ``model.observables`` and `jaxrg.models.magnetization` by counting bits, for the price of one or two sweeps, and
        any other function on spins that are unpacked, which costs what that function costs on so many spins.

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
