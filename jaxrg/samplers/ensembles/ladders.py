"""Parallel tempering of any sampler: a configuration at every coupling of a ladder, swapped by neighbours."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Progress, PyTree, Sampler, Status
from jaxrg.checks import as_count, as_floating, check_function, check_key, is_traced
from jaxrg.closures import as_partial
from jaxrg.progress import reporting
from jaxrg.samplers.driver import run
from jaxrg.samplers.kernels import check_sampler, counted
from jaxrg.samplers.single_spin import heat_bath
from jaxrg.samplers.walkers import Walkers, at_home, swap_places, tried_pairs, walk

_LINEAR = 1e-3  # relative change of dH/dK along the ladder that rounding explains


class TemperingState(NamedTuple):
    """A configuration at every coupling."""

    chains: PyTree  # the states of the samplers, [num_couplings, ...]
    walkers: Walkers
    round_trips: Array  # [] int32 from the first coupling to the last and back, of all walkers
    step: Array  # [] uint32, steps taken


class TemperingInfo(NamedTuple):
    """One step of the whole ladder; a leading axis of one chain is put before all fields."""

    chains: PyTree  # the infos of the samplers, [num_couplings, ...]
    energy: Array  # [num_couplings] dH/dK of the configurations before the swap
    swap_acceptance: Array  # [num_couplings - 1] probability of a swap of neighbours, tried or not
    is_swapped: Array  # [num_couplings - 1] bool
    walker: Array  # [num_couplings] int32, which walker is at each coupling
    round_trips: Array  # [] int32: round trips that ended in this step
    status: Array  # [] uint32 `Status`


class Family(NamedTuple):
    """Models along a ladder, and their samplers; a pytree."""

    model: Any  # Partial, coupling -> model
    couplings: Array  # [num_couplings]
    samplers: Sampler  # leaves [num_couplings, ...]


def reduced_energy(family: Callable, couplings: PyTree, configuration: PyTree) -> Array:
    """[] H, or the action, of a model of a family."""
    model = family(couplings)
    return (model.hamiltonian if hasattr(model, "hamiltonian") else model.action)(configuration)


def energy_of(family: Callable, coupling: Array, configuration: Array) -> Array:
    """[] dH/dK, for H linear in K the energy that K multiplies."""

    def reduced(coupling: Array) -> Array:
        return reduced_energy(family, coupling, configuration)

    return jax.jvp(reduced, (coupling,), (jnp.ones_like(coupling),))[1]


def swap_probability(couplings: Array, energies: Array) -> Array:
    r"""``[num_couplings - 1]`` :math:`\min(1, e^{(K_{r+1} - K_r)(E_{r+1} - E_r)})` of a swap of neighbours."""
    return jnp.exp(jnp.minimum(jnp.diff(couplings) * jnp.diff(energies).astype(couplings.dtype), 0))


def _step(family: Family, key: Array, state: TemperingState) -> tuple[TemperingState, TemperingInfo]:
    size = family.couplings.size
    chain_key, swap_key = jax.random.split(key)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(chain_key, jnp.arange(size, dtype=jnp.uint32))
    chains, infos = jax.vmap(lambda sampler, key, chain: sampler.step(key, chain))(family.samplers, keys, state.chains)
    energies = _measured(family, functools.partial(_energies, family), chains)
    probability = swap_probability(family.couplings, energies)
    pairs = jnp.arange(size - 1, dtype=jnp.uint32)
    is_swapped = tried_pairs(size, state.step) & random.bernoulli(swap_key, pairs, probability)
    places = swap_places(is_swapped)
    walkers, num_ended = walk(state.walkers, places)
    status = jnp.bitwise_or.reduce(infos.status.reshape(-1))
    info = TemperingInfo(
        chains=jax.tree.map(lambda leaf: leaf.reshape(size, *leaf.shape[2:]), infos),
        energy=energies,
        swap_acceptance=probability,
        is_swapped=is_swapped,
        walker=walkers.walker,
        round_trips=num_ended,
        status=status | Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(energies))),
    )
    # The counters of the chains stay where they are: they say how many steps a coupling has made.
    moved = jax.tree.map(lambda leaf: leaf[places], chains)._replace(step=chains.step)
    return TemperingState(moved, walkers, state.round_trips + num_ended, state.step), info


def _measured(family: Family, fn: Callable, chains: PyTree) -> PyTree:
    """``fn(coupling, configuration)`` of every coupling's configuration, ``[num_couplings, ...]``."""

    def one(sampler: Sampler, coupling: Array, chain: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], sampler.measure(functools.partial(fn, coupling), chain))

    return jax.vmap(one)(family.samplers, family.couplings, chains)


def _energies(family: Family, coupling: Array, configuration: Array) -> Array:
    return energy_of(family.model, coupling, configuration)


def _measure(family: Family, fn: Callable, state: TemperingState) -> PyTree:
    return _measured(family, lambda _, configuration: fn(configuration), state.chains)


@jax.jit
def _start(family: Family, key: Array, spins: PyTree | None) -> TemperingState:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(family.couplings.size, dtype=jnp.uint32))
    chains = jax.vmap(lambda sampler, key: sampler.init(key, spins))(family.samplers, keys)
    return TemperingState(chains, at_home(family.couplings.size), jnp.int32(0), jnp.uint32(0))


def _init(family: Family, key: Array, spins: PyTree | None = None) -> TemperingState:
    check_key("key", key)
    return _start(family, key, spins)


def parallel_tempering(family: Callable, couplings: Array, *, sampler: Callable = heat_bath) -> Sampler:
    r"""Parallel tempering: a chain at every coupling of a ladder, and swaps of neighbours' configurations.

    .. math:: \pi(s_1, \dots, s_R) = \prod_r \frac{e^{-H(s_r; K_r)}}{Z(K_r)}, \qquad
        p_\mathrm{swap} = \min\big(1, e^{(K_{r+1} - K_r)(E_{r+1} - E_r)}\big), \quad E = \frac{\partial H}{\partial K}

    A step moves all chains, then swaps even pairs of neighbours and odd ones in turn. What is measured is that of every
    coupling, in order: traces are ``[num_couplings, num_steps, ...]``, so map an estimator over the first axis,
    ``jax.vmap(lambda x: stats.summary(x[None]))(trace.energy)``. Energies are totals, exact where the sum of a model's
    bonds is: for Ising spins up to 16 million of them in float32.

    Args:
        family: ``model = family(coupling)``, as ``lambda K: models.Ising(square, K)``; its Hamiltonian linear in K.
        couplings: ``[num_couplings]`` K in rising or falling order, at least two. They and what the family closes over
            are leaves: other ones do not recompile. `equal_acceptance` and `tempering_ladder` choose them.
        sampler: ``sampler(model)`` moves every chain, such as `heat_bath`, `wolff` or one of your own of single chains.

    Returns:
        A sampler with `TemperingState` and `TemperingInfo`. ``init`` takes one configuration for all couplings. Run
        many ladders by `replicas`.

    Raises:
        ValueError: no functions, fewer than two couplings, or some that neither rise nor fall, samplers of many chains,
            or a Hamiltonian that is not linear in the coupling.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> square = lattice.hypercubic((4, 4))
        >>> sampler = parallel_tempering(lambda K: models.Ising(square, K), jnp.array([0.3, 0.4, 0.5]))
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 50, observe=jnp.mean)
        >>> run.trace.shape, run.info.swap_acceptance.shape, run.state.chains.spins.shape
        ((3, 50), (1, 50, 2), (3, 4, 4))

    Reference:
        Hukushima & Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996); for even and odd pairs in turn Syed, Bouchard-Côté,
        Deligiannidis & Doucet, J. R. Stat. Soc. B 84, 321 (2022).
    """
    found = as_family(family, couplings, sampler)
    return Sampler(Partial(_init, found), counted(Partial(_step, found)), Partial(_measure, found))


def as_family(family: Callable, couplings: Any, sampler: Callable) -> Family:
    """Models linear in the couplings of a ladder and their samplers of one chain, or ValueError."""
    check_function("family", family, of="a coupling")
    check_function("sampler", sampler, of="a model")
    model, values = as_partial(family), _as_ladder(couplings)
    stack = _stacked(model, as_partial(sampler), values)
    check_sampler("sampler", stack)
    found = Family(model, values, stack)
    _check_single_and_linear(found)
    return found


@jax.jit
def _stacked(family: Callable, sampler: Callable, couplings: Array) -> Any:
    return jax.vmap(lambda coupling: sampler(family(coupling)))(couplings)


def _as_ladder(couplings: Any) -> Array:
    values = as_floating("couplings", couplings)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"couplings: expected a list of at least two numbers, got shape {values.shape}")
    if not is_traced(values):
        steps = np.diff(np.asarray(values))
        if not (np.all(steps > 0) or np.all(steps < 0)):
            raise ValueError(f"couplings: expected numbers that rise or fall, got {np.asarray(values).tolist()}")
    return values


def _check_single_and_linear(family: Family) -> None:
    def start() -> PyTree:
        state = _start(family, jax.random.key(0), None)
        return jax.vmap(_configuration)(family.samplers, state.chains)

    seen = jax.eval_shape(start)
    chains = {leaf.shape[1] for leaf in jax.tree.leaves(seen)}
    if chains != {1}:
        raise ValueError(f"sampler: expected samplers of one chain, got {chains.pop()} chains; run replicas of ladders")
    if is_traced(family):
        return
    first, last = np.asarray(_energies_at_ends(family))
    worst = np.argmax(np.abs(first - last))
    first, last = float(first[worst]), float(last[worst])
    if not abs(first - last) <= _LINEAR * max(abs(first), abs(last), 1):
        raise ValueError(
            f"family: expected a Hamiltonian linear in the coupling, got dH/dK = {first} at one end of the ladder and "
            f"{last} at the other for one configuration"
        )


def _configuration(sampler: Sampler, chain: PyTree) -> PyTree:
    return sampler.measure(lambda configuration: configuration, chain)


@jax.jit
def _energies_at_ends(family: Family) -> Array:
    """``[2, num_couplings]`` dH/dK of starting configurations at both ends of the ladder."""
    state = _start(family, jax.random.key(0), None)
    found = jax.tree.map(lambda leaf: leaf[:, 0], jax.vmap(_configuration)(family.samplers, state.chains))

    def at(coupling: Array) -> Array:
        return jax.vmap(functools.partial(energy_of, family.model, coupling))(found)

    return jnp.stack([at(family.couplings[0]), at(family.couplings[-1])])


def equal_acceptance(couplings: Array, swap_acceptance: Array) -> Array:
    r"""Couplings between the same ends at which all swaps are rejected equally often.

    .. math:: \Lambda(K_r) = \sum_{q < r} (1 - a_q), \qquad \Lambda(K'_r) = \frac{r}{R-1} \Lambda(K_{R-1})

    with the mean rejection rates of the old ladder interpolated between its couplings. Round trips are then most
    frequent for even and odd swaps in turn. A ladder with more or fewer couplings wants this applied a few times.

    Args:
        couplings: ``[num_couplings]`` of the run.
        swap_acceptance: ``[num_couplings - 1]`` or ``[..., num_couplings - 1]``, as ``run.info.swap_acceptance``, whose
            mean over the leading axes is taken.

    Returns:
        ``[num_couplings]``.

    Raises:
        ValueError: shapes that do not fit, or couplings that neither rise nor fall.

    Example:
        >>> round(float(equal_acceptance(jnp.array([0.0, 1.0, 2.0]), jnp.array([0.9, 0.7]))[1]), 3)
        1.333

    Reference:
        Syed, Bouchard-Côté, Deligiannidis & Doucet, J. R. Stat. Soc. B 84, 321 (2022).
    """
    values, acceptance = _as_ladder(couplings), as_floating("swap_acceptance", swap_acceptance)
    if acceptance.ndim < 1 or acceptance.shape[-1] != values.size - 1 or not acceptance.size:
        raise ValueError(
            f"swap_acceptance: expected [..., {values.size - 1}], one a pair of neighbours, got {acceptance.shape}"
        )
    return _equal_acceptance(values, acceptance.astype(values.dtype))


@jax.jit
def _equal_acceptance(couplings: Array, acceptance: Array) -> Array:
    rejection = 1 - jnp.mean(acceptance, axis=tuple(range(acceptance.ndim - 1)))
    rejection = jnp.maximum(rejection, 1e-3 * jnp.max(rejection) + 1e-12)  # no part of the ladder has length zero
    barrier = jnp.concatenate([jnp.zeros(1, couplings.dtype), jnp.cumsum(rejection)])
    wanted = jnp.linspace(0, 1, couplings.size, dtype=couplings.dtype) * barrier[-1]
    return jnp.interp(wanted, barrier, couplings).at[0].set(couplings[0]).at[-1].set(couplings[-1])


def tempering_ladder(
    key: Array,
    family: Callable,
    couplings: Array,
    *,
    sampler: Callable = heat_bath,
    num_rounds: int = 5,
    num_steps: int = 200,
    progress: Progress | bool | None = None,
) -> Array:
    """A ladder with the ends and the number of the given couplings whose swaps are accepted equally often.

    `equal_acceptance` after each of some runs, in which the number of steps doubles from ``num_steps`` on and the
    configurations go on. Measure with a new run: its couplings are then fixed, as detailed balance wants it.

    Args:
        key: typed key.
        family: as for `parallel_tempering`.
        couplings: ``[num_couplings]`` to start from.
        sampler: as for `parallel_tempering`.
        num_rounds: runs.
        num_steps: of the first run.
        progress: called as ``progress(rounds done, num_rounds, text)`` after every run, or True for a bar.

    Returns:
        ``[num_couplings]``.

    Raises:
        ValueError: what `parallel_tempering` refuses, no typed key, or counts that are no positive integers.

    Example:
        >>> from jaxrg import lattice, models
        >>> square = lattice.hypercubic((4, 4))
        >>> found = tempering_ladder(
        ...     jax.random.key(0), lambda K: models.Ising(square, K), [0.1, 0.2, 0.9], num_rounds=2, num_steps=50
        ... )
        >>> found.shape, bool(found[1] > 0.2)
        ((3,), True)
    """
    check_key("key", key)
    num_rounds, num_steps = as_count("num_rounds", num_rounds), as_count("num_steps", num_steps)
    ladder, state = _as_ladder(couplings), None
    with reporting(progress, "tempering") as report:
        for number in range(num_rounds):
            tempered = parallel_tempering(family, ladder, sampler=sampler)
            start_key, run_key = jax.random.split(jax.random.fold_in(key, number))
            state = tempered.init(start_key) if state is None else state
            state, _, info = run(run_key, tempered, state, num_steps * 2**number)
            acceptance = np.asarray(info.swap_acceptance).mean(axis=(0, 1))  # here: every number of steps would compile
            ladder = equal_acceptance(ladder, acceptance)
            report(number + 1, num_rounds, f"least acceptance {acceptance.min():.2f}")
    return ladder
