"""Parallel tempering: a configuration of every machine of a ladder, moved by block Gibbs and swapped by neighbours."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg import random
from jaxrg.base import Sampler, Status
from jaxrg.checks import as_count, as_floating, check_key
from jaxrg.rbm.energy import RBM, as_units
from jaxrg.rbm.gibbs import gibbs_sampler, sample_hidden, sample_visible
from jaxrg.rbm.tempering.ladders import as_ladder, neighbour_differences
from jaxrg.samplers import from_kernel
from jaxrg.samplers.walkers import Walkers, at_home, swap_places, tried_pairs, walk


class TemperedState(NamedTuple):
    """A configuration of both layers at every machine, and the walkers that carry them up and down the ladder."""

    visible: Array  # [num_machines, num_visible]
    hidden: Array  # [num_machines, num_hidden], drawn from p(h | v)
    walkers: Array  # [num_machines] int32: which walker is at each machine
    ends: Array  # [num_machines] int8, by walker: 1 where it has been at the first machine, 2 where at the last since
    round_trips: Array  # [] int32: from the first machine to the last and back, of all walkers
    sign: Array  # [] int8: of the last magnetisation at the last machine that was not zero
    step: Array  # [] uint32, steps taken


class TemperedInfo(NamedTuple):
    """One step of the whole ladder; a leading axis of one chain is put before all fields."""

    acceptance: Array  # [] float32: share of visible units of the last machine that changed
    swap_acceptance: Array  # [num_machines - 1] probability of a swap of neighbours, tried or not
    is_swapped: Array  # [num_machines - 1] bool
    work: Array  # [num_machines - 1] H of the next machine minus H of this one, of this one's layer
    reverse_work: Array  # [num_machines - 1] H of this machine minus H of the next one, of the next one's layer
    round_trips: Array  # [] int32: round trips that ended in this step
    has_tunnelled: Array  # [] bool: whether the magnetisation at the last machine changed its sign
    status: Array  # [] uint32 `Status`


def swap_probability(work: Array, reverse_work: Array) -> Array:
    r"""Metropolis probability that two neighbours exchange their visible layers, :math:`\min(1, e^{-W-W'})`."""
    return jnp.exp(jnp.minimum(-work - reverse_work, 0))


@functools.partial(jax.jit, inline=True)
def step_ladder(machines: RBM, key: Array, state: TemperedState) -> tuple[TemperedState, TemperedInfo]:
    r"""v from p(v | h) everywhere, swaps of v by the marginals, then h from p(h | v).

    A swap by the marginals knows nothing of h, so h is drawn anew after it: to keep the old one would leave another
    distribution invariant.
    """
    visible_key, swap_key, hidden_key = jax.random.split(key, 3)
    num_machines = machines.weights.shape[0]
    visible = jax.vmap(sample_visible)(jax.random.split(visible_key, num_machines), machines, state.hidden)
    below, above = neighbour_differences(machines, visible)
    probability = swap_probability(below, -above)
    pairs = jnp.arange(num_machines - 1, dtype=jnp.uint32)
    is_swapped = tried_pairs(num_machines, state.step) & random.bernoulli(swap_key, pairs, probability)
    places = swap_places(is_swapped)
    visible = visible[places]
    hidden = jax.vmap(sample_hidden)(jax.random.split(hidden_key, num_machines), machines, visible)

    walkers, num_ended = walk(Walkers(state.walkers, state.ends), places)
    sign = sign_of(visible[-1])
    info = TemperedInfo(
        acceptance=jnp.mean(visible[-1] != state.visible[-1], dtype=jnp.float32),
        swap_acceptance=probability,
        is_swapped=is_swapped,
        work=below,
        reverse_work=-above,
        round_trips=num_ended,
        has_tunnelled=sign * state.sign < 0,
        status=Status.NOT_FINITE.when(~jnp.all(jnp.isfinite(below) & jnp.isfinite(above))),
    )
    state = TemperedState(
        visible=visible,
        hidden=hidden,
        walkers=walkers.walker,
        ends=walkers.ends,
        round_trips=state.round_trips + num_ended,
        sign=jnp.where(sign == 0, state.sign, sign),
        step=state.step,
    )
    return state, info


def sign_of(visible: Array) -> Array:
    """[] int8: of the magnetisation of spins; units of one sign do not tunnel."""
    return jnp.sign(jnp.sum(visible.astype(jnp.float32))).astype(jnp.int8)


def tempered_gibbs_sampler(machines: RBM | Sequence[RBM]) -> Sampler:
    r"""Parallel tempering of machines of one shape, as a Markov chain for `jaxrg.samplers.run`.

    .. math:: \pi(v_1, h_1, \dots, v_R, h_R) = \prod_r P_r(v_r, h_r), \qquad
        p_\mathrm{swap} = \min\Big(1, \frac{P_r(v_{r+1}) P_{r+1}(v_r)}{P_r(v_r) P_{r+1}(v_{r+1})}\Big)

    A step draws v from p(v | h) at every machine, swaps visible layers of neighbours, even and odd pairs in turn, by
    the probabilities of the visible layers alone, and draws h from p(h | v). Each part leaves the product invariant.
    From independent units to a machine by `tempered` this is tempering in temperature; with checkpoints of a training
    it is trajectory tempering.

    Args:
        machines: ``[num_machines, ...]``, an `RBM` with a leading axis as `tempered` and `choose_machines` make it, or
            a list; the last is the one to sample. They are leaves of the sampler: others of this shape do not
            recompile.

    Returns:
        A sampler with `TemperedState` and `TemperedInfo`; it measures the visible layer of the last machine. ``spins``
        of its ``init`` are a visible layer for all machines. `jaxrg.samplers.replicas` runs many ladders.

    Raises:
        ValueError: fewer than two machines, some of other shapes, or NaN or infinite parameters.

    Example:
        >>> from jaxrg import rbm, samplers
        >>> machine = rbm.init(jax.random.key(0), 9, 4, scale=0.5)
        >>> ladder = rbm.tempering.tempered(machine, rbm.tempering.independent_units(machine), [0.0, 0.5, 1.0])
        >>> sampler = tempered_gibbs_sampler(ladder)
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(2)), 50, observe=jnp.mean)
        >>> run.trace.shape, run.info.swap_acceptance.shape, run.state.hidden.shape
        ((1, 50), (1, 50, 2), (3, 4))

    Reference:
        Hukushima & Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996); for even and odd pairs in turn Syed, Bouchard-Côté,
        Deligiannidis & Doucet, J. R. Stat. Soc. B 84, 321 (2022); along the trajectory of a training Béreux et al.,
        arXiv:2405.15376.
    """
    ladder = as_ladder("machines", machines)
    return from_kernel(Partial(_init, ladder), Partial(step_ladder, ladder), _measure)


def _init(machines: RBM, key: Array, spins: Array | None = None) -> TemperedState:
    check_key("key", key)
    num_visible = machines.visible_bias.shape[1] // machines.visible_units.num_features
    spins = None if spins is None else as_units("spins", spins, (num_visible,), machines.visible_units)
    return _start(machines, key, spins)


@jax.jit
def _start(machines: RBM, key: Array, spins: Array | None) -> TemperedState:
    num_machines = machines.weights.shape[0]

    def one(key: Array, machine: RBM):
        return gibbs_sampler(machine).init(key, spins)

    start = jax.vmap(one)(jax.random.split(key, num_machines), machines)
    return starting_state(start.visible, start.hidden)


def starting_state(visible: Array, hidden: Array) -> TemperedState:
    """A ladder with these layers, from which nobody has walked yet."""
    walkers = at_home(visible.shape[0])
    return TemperedState(
        visible=visible,
        hidden=hidden,
        walkers=walkers.walker,
        ends=walkers.ends,
        round_trips=jnp.int32(0),
        sign=sign_of(visible[-1]),
        step=jnp.uint32(0),
    )


def _measure(fn: Callable, state: TemperedState):
    return fn(state.visible[-1])


def tempered_chains(key: Array, machines: RBM | Sequence[RBM], num_chains: int) -> TemperedState:
    """Ladders to start `tempered_gradient` from, ``[num_chains, ...]``, with random visible layers.

    Args:
        key: typed key.
        machines: ``[num_machines, ...]`` or a list, as the ladder of the gradient gives for the first machine.
        num_chains: ladders, each with one configuration of every machine.

    Raises:
        ValueError: no typed key, no machines of one shape, or ``num_chains`` no positive integer.

    Example:
        >>> from jaxrg import rbm
        >>> machines = [rbm.init(jax.random.key(seed), 4, 2) for seed in range(3)]
        >>> tempered_chains(jax.random.key(3), machines, 10).hidden.shape
        (10, 3, 2)
    """
    check_key("key", key)
    return _chains(as_ladder("machines", machines), key, as_count("num_chains", num_chains))


@functools.partial(jax.jit, static_argnums=2)
def _chains(machines: RBM, key: Array, num_chains: int) -> TemperedState:
    return jax.vmap(lambda key: _start(machines, key, None))(jax.random.split(key, num_chains))


def tunnelling_rate(magnetization: Array) -> Array:
    """Changes of sign of the magnetisation a step: how often chains go from one phase to the other.

    Args:
        magnetization: ``[chains, samples]``; zeros keep the sign before them.

    Returns:
        Scalar, mean of all chains.

    Raises:
        ValueError: another shape, or fewer than two samples.

    Example:
        >>> float(tunnelling_rate(jnp.array([[0.5, 0.2, 0.0, -0.4, -0.5]])))
        0.25
    """
    array = as_floating("magnetization", magnetization)
    if array.ndim != 2 or array.shape[1] < 2 or not array.shape[0]:
        raise ValueError(f"magnetization: expected [chains, samples] with at least 2, got shape {array.shape}")
    return _tunnelling_rate(array)


@jax.jit
def _tunnelling_rate(magnetization: Array) -> Array:
    def one(sign: Array, value: Array) -> tuple[Array, Array]:
        new = jnp.sign(value)
        return jnp.where(new == 0, sign, new), new * sign < 0

    _, changes = jax.lax.scan(one, jnp.sign(magnetization[:, 0]), magnetization[:, 1:].T)
    rate = jnp.mean(changes.astype(magnetization.dtype))
    return jnp.where(jnp.any(jnp.isnan(magnetization)), jnp.nan, rate)
