"""Multi-spin coded Ising dynamics: 32 chains, or 32 strips of one, in the bits of a word, updated by word operations.

A sweep is two half-sweeps, each one fused kernel: neighbours are counted by full adders, every possible count has its
threshold, and one set of random words decides all 32 spins of a word. Random words are functions of (key, site, word of
chains), so a trajectory is bit for bit the same however the chains are spread over devices.
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
from jaxrg.checks import as_count, as_spins, check_function, check_key, check_shape, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.lattice import Lattice
from jaxrg.models import Glass, Ising, Potts, pytree
from jaxrg.random import BinaryExpansion
from jaxrg.samplers import packed, realisations
from jaxrg.samplers.bernoulli import (
    acceptance_expansion,
    bernoulli_planes,
    logistic_expansion,
    settling_word,
    stretched_planes,
)
from jaxrg.samplers.kernels import counted
from jaxrg.samplers.multispin_states import potts_metropolis
from jaxrg.samplers.packed_measures import PackedState, measure_packed
from jaxrg.samplers.spins import SpinInfo, check_model

Pick: TypeAlias = Callable[[Sequence[Sequence[Array]]], Array]
"""``words = pick(rows)``: for each lane the entry of a row that its neighbours stand for; see `packed.choose`."""

Rule: TypeAlias = Callable[[Array, list[Array], list], Pick]
"""``pick = rule(spins, values, missing)`` of words of spins and those of `packed.neighbours`."""

_MAX_SITES = 2**30  # of one lattice
_MAX_UNROLLED = 250  # comparisons of a digit with a probability; more are done in a loop


@pytree(data_fields=("coupling", "field", "signs", "generator"), meta_fields=("layout", "num_draws"))
@dataclasses.dataclass(frozen=True)
class _Ensemble:
    """The couplings of packed chains, and the choices made for them."""

    coupling: Array
    field: (
        Array | None
    )  # None where it is seen to be zero: half of the comparisons are then mirror images of the others
    signs: Array | None  # [2, 2d, 1 or num_words, *compact shape] uint32 of a glass, see `realisations.sign_words`
    generator: Partial  # words of sites, as `random.bits`
    layout: packed.Layout
    num_draws: int  # random words for each word of spins

    @property
    def lattice(self) -> Lattice:
        return self.layout.lattice

    @property
    def num_planes(self) -> int:
        return self.num_draws + self.num_draws // 2


def heat_bath_expansions(model: Ising | _Ensemble, num_planes: int) -> list[BinaryExpansion]:
    r"""Digits of :math:`P(s=+1) = 1/(1+e^{-2(Kn+h)})` for every number of up neighbours.

    Returns:
        One expansion ``[2d + 1]`` for n = -2d, -2d + 2, ..., 2d; on lattices with an open side a second one for n one
        higher, as sites on its boundary can have.
    """
    return [logistic_expansion(2 * (n + _field(model)), num_planes=num_planes) for n in _coupled_sums(model)]


def metropolis_expansions(model: Ising | _Ensemble, num_planes: int) -> list[BinaryExpansion]:
    r"""Digits of :math:`\min(1, e^{-2(Km \pm h)})` for every number of aligned neighbours, m their sum times the spin.

    Returns:
        As ``heat_bath_expansions``, each with ``[2 (2d + 1)]`` entries: spins up first, then spins down.
    """
    return [
        acceptance_expansion(jnp.concatenate([2 * (m + _field(model)), 2 * (m - _field(model))]), num_planes=num_planes)
        for m in _coupled_sums(model)
    ]


def _field(model: Ising | _Ensemble) -> Array:
    return jnp.asarray(0.0 if model.field is None else model.field, jnp.asarray(model.coupling).dtype)


def _coupled_sums(model: Ising | _Ensemble) -> list[Array]:
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


class _Dynamics(NamedTuple):
    """What the updates of a sweep are made of."""

    rule: Rule
    expansions_fn: Callable[[Ising | _Ensemble, int], list[BinaryExpansion]]
    move_fn: Callable[[Array, Array], Array]  # new words of the old ones and of those that are drawn


def _half_sweep(decide: Callable, ensemble: _Ensemble, key: Array, spins: Array, others: Array, colour: int) -> Array:
    """What is drawn for the words of one colour, given those of the other."""
    parity, key = packed.opaque(colour, key)
    sites, replicas = packed.site_indices(spins.shape[0], spins.shape[1:], parity)
    words = ensemble.generator(key, sites, ensemble.num_draws, replicas=replicas)
    values, missing = packed.neighbours(ensemble.layout, others, parity)
    if ensemble.signs is not None:
        values = [value ^ signs for value, signs in zip(values, ensemble.signs[colour], strict=True)]
    return decide(spins, values, missing, stretched_planes(words), settling_word(words))


def _by_rule(dynamics: _Dynamics, expansions: list[BinaryExpansion]) -> Callable:
    def decide(spins, values, missing, planes, settle):
        return dynamics.move_fn(spins, _drawn(dynamics.rule(spins, values, missing), planes, expansions, settle))

    return decide


def _mirrored(dynamics: _Dynamics, expansions: list[BinaryExpansion]) -> Callable:
    """Bit for bit what the rule of `_of_count` draws in no field, of half as many comparisons.

    With P(+1 | n) = 1 - P(+1 | -n) exactly, u < P(+1 | n) says that 1 - u is not below P(+1 | -n). Where most
    neighbours are up, random number and outcome are turned over; at n = 0 the leading digit decides.
    """

    def decide(spins, values, missing, planes, settle):
        half = len(values) // 2
        digits, _ = packed.count_ones(values, missing)
        zeros, ones = jnp.zeros_like(spins), jnp.full_like(spins, 0xFFFFFFFF)
        is_up = packed.choose(digits, None, [[zeros] * (half + 1) + [ones] * half])
        below = jax.tree.map(lambda part: part[:half], expansions[0])
        rows = [*bernoulli_planes(planes, below, settle, mirrored=is_up), planes[-1]]
        return is_up ^ packed.choose(digits, None, [rows + rows[-2::-1]])

    return decide


def _sweep(decisions: Callable, dynamics: _Dynamics, ensemble: _Ensemble, key: Array, spins: tuple[Array, Array]):
    even, odd = spins
    decide = decisions(dynamics, dynamics.expansions_fn(ensemble, ensemble.num_planes))
    # Barriers, as XLA on a CPU would otherwise compute a half-sweep anew inside every use that is made of it.
    even = lax.optimization_barrier(_half_sweep(decide, ensemble, key, even, odd, 0))
    odd = lax.optimization_barrier(_half_sweep(decide, ensemble, key, odd, even, 1))
    return even, odd


def _swept(ensemble: _Ensemble, state: PackedState, spins: tuple[Array, Array]) -> tuple[PackedState, SpinInfo]:
    is_finite = jnp.isfinite(jnp.asarray(ensemble.coupling)) & jnp.isfinite(_field(ensemble))
    changed = [packed.fraction_of_ones(after ^ before) for after, before in zip(spins, state.spins, strict=True)]
    info = SpinInfo((changed[0] + changed[1]) / 2, Status.NOT_FINITE.when(~is_finite))  # of all chains together
    return state._replace(even=spins[0], odd=spins[1]), info


def _heat_bath(ensemble: _Ensemble, key: Array, state: PackedState) -> tuple[PackedState, SpinInfo]:
    dynamics = _Dynamics(_of_count, heat_bath_expansions, lambda _, up: up)
    is_symmetric = ensemble.field is None and all(ensemble.lattice.periodic)
    decisions = _mirrored if is_symmetric else _by_rule
    return _swept(ensemble, state, _sweep(decisions, dynamics, ensemble, key, state.spins))


def _metropolis(ensemble: _Ensemble, key: Array, state: PackedState) -> tuple[PackedState, SpinInfo]:
    dynamics = _Dynamics(_of_spin_and_count, metropolis_expansions, jnp.bitwise_xor)
    return _swept(ensemble, state, _sweep(_by_rule, dynamics, ensemble, key, state.spins))


# Jitted for memory: op by op, the generator would hold a dozen arrays of the size of the state.
@functools.partial(jax.jit, static_argnums=(1, 2))
def _random_words(key: Array, num_words: int, shape: tuple[int, ...]) -> tuple[Array, Array]:
    def of_colour(colour: int) -> Array:
        sites, replicas = packed.site_indices(num_words, shape, jnp.uint32(colour))
        return random.bits(key, sites, 1, replicas=replicas)[0]

    return of_colour(0), of_colour(1)


@functools.partial(jax.jit, static_argnums=1)
def _given_words(spins: Array, layout: packed.Layout) -> tuple[Array, Array]:
    return packed.compact(layout.pack(spins))


def _init(ensemble: _Ensemble, key: Array, spins: Array | None = None) -> PackedState:
    check_key("key", key)
    layout = ensemble.layout
    if spins is None:
        even, odd = _random_words(key, layout.num_words, layout.compact_shape)
    else:
        spins, shape = as_spins("spins", spins), layout.lattice.shape
        check_shape("spins", spins, shape if spins.ndim == len(shape) else (layout.num_chains, *shape))
        even, odd = _given_words(spins, layout)
    return PackedState(even, odd, jnp.zeros((), jnp.uint32))


def _sampler(
    kernel: Callable, model: Ising | Glass | Potts, num_chains: int, num_draws: int, generator: Callable
) -> Sampler:
    is_metropolis = kernel is _metropolis
    kinds = (Ising, Glass, Potts) if is_metropolis else (Ising, Glass)
    plain = "samplers.metropolis" if is_metropolis else "samplers.heat_bath"
    if not isinstance(model, kinds):
        check_model(model)
        names = ", ".join(f"models.{kind.__name__}" for kind in kinds)
        raise ValueError(f"model: expected one of {names}, got {kind_of(model)}; use {plain}")
    kind = next(kind for kind in kinds if isinstance(model, kind))
    if any(getattr(type(model), name) is not getattr(kind, name) for name in ("hamiltonian", "local_field")):
        raise ValueError(
            f"model: expected the Hamiltonian of models.{kind.__name__}, got {kind_of(model)} with its own; use {plain}"
        )
    num_chains, num_draws = as_count("num_chains", num_chains), as_count("num_draws", num_draws)
    if num_draws not in (4, 8, 12, 16):
        raise ValueError(f"num_draws: expected 4, 8, 12 or 16, got {num_draws!r}")
    check_function("generator", generator, of="a key, sites, a number of words, and replicas")
    if model.lattice.num_sites > _MAX_SITES:
        raise ValueError(f"lattice: expected at most 2^30 sites, which an int32 counts, got {model.lattice.num_sites}")
    if model.lattice.num_sites * model.lattice.ndim >= 2**32:
        raise ValueError(f"lattice: expected fewer than 2^32 bonds, got {model.lattice.shape}")
    layout, signs = packed.Layout(model.lattice, num_chains), None
    if isinstance(model, Glass):
        model, signs = realisations.as_signs(model, layout)
    for name in ("coupling",) if isinstance(model, Potts) else ("coupling", "field"):
        shape = jnp.shape(getattr(model, name))
        if shape != ():
            raise ValueError(f"{name}: expected a scalar, got shape {shape}; use {plain}")
    if isinstance(model, Potts):
        return potts_metropolis(model, layout, num_draws, generator)
    is_free = not is_traced(model.field) and not np.any(np.asarray(model.field))
    field = None if is_free else jnp.asarray(model.field)
    ensemble = _Ensemble(jnp.asarray(model.coupling), field, signs, as_partial(generator), layout, num_draws)
    return Sampler(Partial(_init, ensemble), counted(Partial(kernel, ensemble)), Partial(measure_packed, layout))


def multispin_heat_bath(
    model: Ising | Glass, *, num_chains: int, num_draws: int = 8, generator: Callable = random.bits
) -> Sampler:
    r"""Heat bath in words of 32 bits: the fastest way to many independent samples, or to one of a very large lattice.

    .. math:: P(s_x = +1 \mid \text{rest}) = \frac{1}{1 + e^{-2(K n_x + h)}}

    A multiple of 32 chains is packed one chain a bit. Any other number is packed one chain a word, each cut into 32
    strips along its first side: a single lattice of 2^30 spins is 128 MiB, and a sweep costs little more a spin.

    A step is one sweep of every chain, even sites and then odd sites. It leaves P invariant and is irreducible; as an
    ordered sweep it keeps balance but not detailed balance. Probabilities are exact to 2^-(B + 32), with B = 1.5 times
    ``num_draws`` binary digits compared lane by lane. Spins of different words are drawn independently; two of one word
    are but for the fraction 2^-2B of updates in which both are undecided by their B digits (`bernoulli_planes`).

    Where the field is seen to be zero, half of the comparisons are saved, with the same trajectory bit for bit; a
    sampler of another field is then another program. Of the vectors of 512 bits that some CPUs have, XLA takes half;
    `run` and `warm_up` ask for all. A program of your own that steps it wants
    ``jax.jit(..., compiler_options={"xla_cpu_prefer_vector_width": "512"})``.

    Args:
        model: `jaxrg.models.Ising` with scalar coupling (either sign) and field, on a hypercubic lattice with even
            periodic sides, open sides of any length, and an even last side. Or a ±J `jaxrg.models.Glass`: one for all
            chains, or a stack with a realisation for every chain, ``jax.vmap(lambda key: plus_minus_glass(key, lattice,
            K))(keys)``, of one coupling and field.
        num_chains: a multiple of 32; or any number, for a first side that is a multiple of 64.
        num_draws: random words that each word of spins consumes: 4, 8, 12 or 16. The default, B = 12, leaves a
            correlation below 1e-6 in common events and of 2e-4 in the coincidence of events rarer than that.
        generator: ``words = generator(key, sites, num_words, replicas=replicas)``, as `jaxrg.random.bits`, or
            `jaxrg.random.light_bits`, which makes it 1.2 times as fast and tells what it does not claim.

    Returns:
        A sampler with `PackedState` and `SpinInfo`. ``init(key, spins)`` takes one configuration ``[*shape]`` for all
        chains or ``[num_chains, *shape]``; without it, chains start at random. ``measure`` gives one value a chain: of
        an Ising model ``model.observables`` and `jaxrg.models.magnetization` by counting bits, for the price of one or
        two sweeps, and any other function on spins that are unpacked, which costs what that function costs on so many
        spins. A method of a stack of glasses is given the glass of each chain.

    Raises:
        ValueError: another model or lattice, couplings that are not scalar, bonds that are not ±1, or counts out of
            range.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.3)
        >>> sampler = samplers.thin(multispin_heat_bath(ising, num_chains=64), 10)
        >>> state = sampler.init(jax.random.key(0))
        >>> samplers.run(jax.random.key(1), sampler, state, 20, observe=ising.observables).trace.energy.shape
        (64, 20)
        >>> large = models.Ising(lattice.hypercubic((256, 256)), 0.3)
        >>> [part.shape for part in multispin_heat_bath(large, num_chains=1).init(jax.random.key(0)).spins]
        [(1, 8, 128), (1, 8, 128)]

    Reference:
        Jacobs & Rebbi, J. Comput. Phys. 41, 203 (1981); Block, Virnau & Preis, Comput. Phys. Commun. 181, 1549 (2010).
    """
    return _sampler(_heat_bath, model, num_chains, num_draws, generator)


def multispin_metropolis(
    model: Ising | Glass | Potts, *, num_chains: int, num_draws: int = 8, generator: Callable = random.bits
) -> Sampler:
    r"""Metropolis in words of 32 bits, packed as those of `multispin_heat_bath`.

    .. math:: P(s_x \to -s_x) = \min(1, e^{-2 s_x (K n_x + h)}), \qquad
        P(s_x \to s'_x) = \min(1, e^{-K (n_{s_x} - n_{s'_x})})

    the second of a Potts model, with :math:`n_s` neighbours in state s. Of two states the other one is proposed, of
    three one of the two others, of four any, the old one too. A Potts model takes two bits a site, and one or two more
    random words.

    Every spin is proposed once a sweep, even sites and then odd sites. Moves with :math:`\Delta H \le 0` are always
    accepted, so the ordered sweep of two values can be reducible: at zero coupling every spin flips in every sweep, and
    on small or special lattices there are states it never reaches (19 closed classes on a 4 x 4 torus). On large
    lattices at a finite temperature it is sound. Use `multispin_heat_bath` unless its dynamics is not wanted, or
    `samplers.random_scan_metropolis`.

    Args:
        model: as for `multispin_heat_bath`; or a `jaxrg.models.Potts` of two, three or four states without field, on
            such a lattice.
        num_chains: as for `multispin_heat_bath`.
        num_draws: as for `multispin_heat_bath`.
        generator: as for `multispin_heat_bath`.

    Returns:
        A sampler with `PackedState` and `SpinInfo`. Of a Potts model, too, ``model.observables`` is counted by bits.

    Raises:
        ValueError: as for `multispin_heat_bath`; a Potts model of more states, or in a field.

    Reference:
        Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
    """
    return _sampler(_metropolis, model, num_chains, num_draws, generator)
