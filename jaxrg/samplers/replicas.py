"""Many chains of one sampler side by side, as one sampler."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import PyTree, Sampler
from jaxrg.checks import as_array, as_count, check_key, check_shape, is_traced
from jaxrg.samplers.fields import FieldState, as_field
from jaxrg.samplers.kernels import check_sampler


@functools.partial(jax.tree_util.register_dataclass, data_fields=["sampler"], meta_fields=["num_chains"])
@dataclasses.dataclass(frozen=True)
class _Copies:
    """A sampler, and how often it runs."""

    sampler: Sampler
    num_chains: int

    def keys(self, key: Array) -> Array:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(self.num_chains, dtype=jnp.uint32))


def replicas(sampler: Sampler, num_chains: int) -> Sampler:
    r"""A sampler of independent chains side by side, each with random numbers of its own.

    Chain c of a run with ``key`` is the chain that the sampler alone runs with ``fold_in(key, c)``. Traces are
    ``[num_chains, num_steps, ...]``, so that `jaxrg.stats` compares and pools the chains; `accumulate` and `thin` take
    the result, and a run shows its progress. For the Ising model on a checkerboard, `multispin_heat_bath` is faster.

    Args:
        sampler: any sampler whose states have a field ``step``; of one that runs chains of its own, each of the
            ``num_chains`` copies does.
        num_chains: copies.

    Returns:
        A sampler with the states of the given one, a leading axis of chains on all their fields but ``step``. ``init``
        takes one configuration ``[*shape]`` for all chains or ``[num_chains, *shape]``.

    Raises:
        ValueError: no sampler, ``num_chains`` no positive integer, or a sampler that sums: accumulate the replicas.

    Example:
        >>> from jaxrg import lattice, models, samplers, stats
        >>> ising = models.Ising(lattice.hypercubic((8, 8)), 0.44)
        >>> sampler = replicas(samplers.wolff(ising), 4)
        >>> state = sampler.init(jax.random.key(0))
        >>> state.spins.shape, int(state.step)
        ((4, 8, 8), 0)
        >>> samplers.run(jax.random.key(1), sampler, state, 20, observe=ising.observables).trace.energy.shape
        (4, 20)
    """
    check_sampler("sampler", sampler)
    copies = _Copies(sampler, as_count("num_chains", num_chains))
    start = jax.eval_shape(sampler.init, jax.random.key(0))
    if "step" not in getattr(start, "_fields", ()):
        raise ValueError(
            f"sampler: expected states with a field step, got {type(start).__name__}; to sum, accumulate the replicas"
        )
    return Sampler(Partial(_init, copies), Partial(_step, copies), Partial(_measure, copies))


def _axes(state: PyTree) -> PyTree:
    """The chains count their steps together."""
    return jax.tree.map(lambda _: 0, state)._replace(step=None)


def _merged(tree: PyTree) -> PyTree:
    """The axis of copies and that of the chains of each, as one."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


@jax.jit
def _start(copies: _Copies, key: Array, spins: PyTree | None) -> PyTree:
    state = jax.vmap(copies.sampler.init, (0, None if spins is None else 0))(copies.keys(key), spins)
    return state._replace(step=state.step[0])


def _init(copies: _Copies, key: Array, spins: PyTree | None = None) -> PyTree:
    check_key("key", key)
    return _start(copies, key, None if spins is None else _for_every_chain(copies, key, spins))


def _for_every_chain(copies: _Copies, key: Array, given: PyTree) -> PyTree:
    """The configurations of all chains from one for all of them or one for each."""
    sampler, start = copies.sampler, jax.eval_shape(copies.sampler.init, key)
    name, as_start = ("field", as_field) if isinstance(start, FieldState) else ("spins", as_array)
    given = as_start(name, given)
    like = jax.eval_shape(lambda state: sampler.measure(lambda configuration: configuration, state), start)
    if jax.tree.structure(given) != jax.tree.structure(like):
        raise ValueError(f"{name}: expected a tree {jax.tree.structure(like)}, got {jax.tree.structure(given)}")

    def for_every_chain(array: Array, wanted: jax.ShapeDtypeStruct) -> Array:
        one = wanted.shape[1:]
        if array.ndim == len(one):
            check_shape(name, array, one)
            array = jnp.broadcast_to(array, (copies.num_chains, *one))
        check_shape(name, array, (copies.num_chains, *one))
        return array

    chains = jax.tree.map(for_every_chain, given, like)
    if not is_traced(given):  # while the values, which only the sampler knows how to check, can be seen
        is_one = jax.tree.all(jax.tree.map(lambda array, chains: array.shape != chains.shape, given, chains))
        hosts = jax.tree.map(np.asarray, chains)
        for chain in range(1 if is_one else copies.num_chains):
            sampler.init(key, jax.tree.map(lambda host, chain=chain: host[chain], hosts))
    return chains


def _step(copies: _Copies, key: Array, state: PyTree) -> tuple[PyTree, PyTree]:
    state, info = jax.vmap(copies.sampler.step, (0, _axes(state)))(copies.keys(key), state)
    return state._replace(step=state.step[0]), _merged(info)


def _measure(copies: _Copies, fn: Callable, state: PyTree) -> PyTree:
    return _merged(jax.vmap(functools.partial(copies.sampler.measure, fn), (_axes(state),))(state))
