"""Samplers made of samplers: every k-th step of one, one of several at random, and one with sums of its observables."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Accumulator, Observe, PyTree, Sampler
from jaxrg.checks import as_count, as_parameter, check_function, check_shape, is_traced, kind_of
from jaxrg.closures import as_partial
from jaxrg.samplers.derivatives import without_derivatives
from jaxrg.samplers.kernels import check_sampler


def thin(sampler: Sampler, num_steps: int) -> Sampler:
    """A sampler that takes ``num_steps`` steps of another for one of its own, so that a run observes only the last.

    ``run(key, thin(sampler, k), state, n)`` ends in the state of ``run(key, sampler, state, k * n)``, bit for bit.

    Args:
        sampler: any sampler; states are its states, and count its steps.
        num_steps: steps of it for one step.

    Returns:
        A sampler whose info is that of the last of the steps, with the ``status`` of all of them.

    Raises:
        ValueError: no sampler, or ``num_steps`` no positive integer.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.3)
        >>> sampler = thin(samplers.heat_bath(ising), 5)
        >>> run = samplers.run(
        ...     jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 20, observe=ising.observables
        ... )
        >>> int(run.state.step), run.trace.energy.shape
        (100, (1, 20))
    """
    check_sampler("sampler", sampler)
    return sampler._replace(step=Partial(_Stride(as_count("num_steps", num_steps)), sampler.step))


class _Stride(NamedTuple):
    """A step as a function that compares by its static length, so that a sampler thinned alike does not recompile."""

    num_steps: int

    def __call__(self, step: Callable, key: Array, state: PyTree) -> tuple[PyTree, PyTree]:
        state, infos = jax.lax.scan(lambda state, _: step(key, state), state, length=self.num_steps)
        info = jax.tree.map(lambda leaf: leaf[-1], infos)
        return state, info._replace(status=jnp.bitwise_or.reduce(infos.status, axis=0))


class MixtureInfo(NamedTuple):
    """Which sampler took a step."""

    chosen: Array  # [1] int32, its place among the samplers
    status: Array  # [1] uint32 `Status`


def mixture(samplers: Sequence[Sampler], probabilities: Array | Sequence[float]) -> Sampler:
    r"""A sampler that leaves each step to one of several, drawn at random.

    .. math:: P = \sum_a p_a P_a

    leaves invariant what all :math:`P_a` do, and is reversible if all of them are. Under ``vmap`` all of them are
    computed for every step.

    Args:
        samplers: samplers with states of one type, for the same distribution.
        probabilities: p, one for each sampler; traced, so that others do not recompile.

    Returns:
        A sampler with `MixtureInfo` that starts and measures as the first of the samplers does.

    Raises:
        ValueError: no samplers, states of different types, or values that are no distribution over the samplers.

    Example:
        >>> from jaxrg import lattice, models, samplers
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.44)
        >>> sampler = mixture([samplers.heat_bath(ising), samplers.wolff(ising)], [0.5, 0.5])
        >>> run = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 50)
        >>> sorted(set(run.info.chosen[0].tolist()))
        [0, 1]
    """
    if isinstance(samplers, Sampler) or not isinstance(samplers, Sequence) or not samplers:
        raise ValueError(f"samplers: expected a list of Samplers, at least one, got {kind_of(samplers)}")
    for sampler in samplers:
        check_sampler("samplers", sampler)
    weights = as_parameter("probabilities", probabilities)
    check_shape("probabilities", weights, (len(samplers),))
    if not is_traced(weights):
        host = np.asarray(weights, float)
        if np.any(host < 0) or abs(host.sum() - 1) > 1e-5:
            raise ValueError(f"probabilities: expected values >= 0 that sum to 1, got {host.tolist()}")
    starts = [jax.eval_shape(sampler.init, jax.random.key(0)) for sampler in samplers]
    for start in starts[1:]:
        if jax.tree.structure(start) != jax.tree.structure(starts[0]) or start != starts[0]:
            raise ValueError(f"samplers: expected states of one type, got {starts[0]} and {start}")
    first = samplers[0]
    return Sampler(first.init, Partial(_step_of_one, tuple(s.step for s in samplers), weights), first.measure)


def _step_of_one(steps: tuple[Callable, ...], weights: Array, key: Array, state: PyTree):
    weights = without_derivatives(weights)
    choice_key, step_key = jax.random.split(key)
    chosen = jax.random.categorical(jax.random.fold_in(choice_key, state.step), jnp.log(weights)).astype(jnp.int32)

    def taken_by(step: Callable):
        def take(state: PyTree) -> tuple[PyTree, Array]:
            state, info = step(step_key, state)
            return state, jnp.bitwise_or.reduce(info.status)  # the rest of the infos differs from sampler to sampler

        return take

    state, status = jax.lax.switch(chosen, [taken_by(step) for step in steps], state)
    return state, MixtureInfo(chosen[None], status[None])


class AccumulatorState(NamedTuple):
    """A chain and the sums of what was observed along it."""

    chain: PyTree  # state of the sampler
    sums: PyTree  # states of the accumulator, a leading axis num_chains on every leaf

    @property
    def step(self) -> Array:
        """Steps of the chain."""
        return self.chain.step


def accumulate(sampler: Sampler, accumulator: Accumulator, observe: Observe) -> Sampler:
    """A sampler that feeds an accumulator after every step, in place of a trace.

    A run still keeps one info a step, of a few bytes; ``thin(accumulate(...), k)`` feeds every step and keeps one info
    in k.

    The sums are part of the state, so a resumed run goes on with them. To leave the first steps out, take them with
    the bare sampler: ``state._replace(chain=run(key, sampler, state.chain, n).state)``.

    Args:
        sampler: any sampler; `thin` it to observe every k-th step.
        accumulator: such as `jaxrg.stats.streaming_moments`, one stream a chain; `jaxrg.stats.merge_chains` merges.
        observe: function of one configuration, such as ``model.observables``.

    Returns:
        A sampler with `AccumulatorState`. The sums may be differentiated by parameters that ``observe`` alone holds.

    Raises:
        ValueError: no sampler, no accumulator, or an ``observe`` that is no function.

    Example:
        >>> from jaxrg import lattice, models, samplers, stats
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.3)
        >>> moments = stats.streaming_moments()
        >>> sampler = accumulate(samplers.heat_bath(ising), moments, ising.observables)
        >>> state = samplers.warm_up(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 50)
        >>> float(moments.summary(stats.merge_chains(moments, state.sums)).energy.count)
        50.0
    """
    check_sampler("sampler", sampler)
    if not isinstance(accumulator, Accumulator):
        raise ValueError(f"accumulator: expected an Accumulator, got {kind_of(accumulator)}")
    check_function("observe", observe, of="one configuration")
    parts = (sampler, accumulator, as_partial(observe))
    return Sampler(Partial(_start_sums, *parts), Partial(_add_to_sums, *parts), Partial(_measure_chain, sampler))


def _start_sums(sampler: Sampler, accumulator: Accumulator, observe: Callable, key: Array, spins=None):
    chain = sampler.init(key, spins)
    values = jax.eval_shape(sampler.measure, observe, chain)
    num_chains = jax.tree.leaves(values)[0].shape[0]
    example = jax.tree.map(lambda value: jax.ShapeDtypeStruct(value.shape[1:], value.dtype), values)
    sums = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num_chains, *leaf.shape)), accumulator.init(example))
    return AccumulatorState(chain, sums)


def _add_to_sums(sampler: Sampler, accumulator: Accumulator, observe: Callable, key: Array, state: AccumulatorState):
    # What is observed may be differentiated, so the chain inside is closed here and not in the driver.
    step, chain = without_derivatives((sampler.step, state.chain))
    chain, info = step(key, chain)
    sums = jax.vmap(accumulator.update)(state.sums, sampler.measure(observe, chain))
    return AccumulatorState(chain, sums), info


def _measure_chain(sampler: Sampler, fn: Callable, state: AccumulatorState):
    return sampler.measure(fn, state.chain)
