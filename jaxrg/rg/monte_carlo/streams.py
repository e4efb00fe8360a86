"""Sums over the configurations of a sampler, bin by bin, of which none is kept."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Progress, PyTree, Sampler, Status
from jaxrg.checks import as_count, check_key
from jaxrg.progress import reporting
from jaxrg.samplers.kernels import check_sampler
from jaxrg.sums import Double, add, double

REPORTS = 16  # of progress, where bins are groups of chains
MEASURED = 0x4D43  # apart from the keys of the sampler's steps


def sums_of_bins(
    key: Array,
    sampler: Sampler,
    state: PyTree,
    num_steps: int,
    num_bins: int,
    values_of: Callable[[Array, Array], Array],
    sums_of: Callable[[Array, Array], PyTree],
    progress: Progress | bool | None,
) -> tuple[PyTree, np.ndarray, np.ndarray, PyTree]:
    """The last state, ``[num_bins]`` configurations of each bin, the centre, and sums ``[num_bins, ...]`` in float64.

    Args:
        key: typed key of the run; that of a batch is for what is random in what is measured.
        sampler: of one or many chains.
        state: where it starts.
        num_steps: a multiple of ``num_bins`` if the bins are stretches of time.
        num_bins: at least two: groups of chains, which are independent, where their number is a multiple of it.
        values_of: ``values_of(key, configurations)``, ``[num_chains, ...]`` of a batch ``[num_chains, *shape]``.
        sums_of: ``sums_of(center, values)``, a tree of sums over chains; the centre, ``[...]``, is the mean of the
            values at the start, near which sums lose no digits.
        progress: called with the parts done.

    Raises:
        ValueError: no key, no sampler, or steps that do not fill the bins.
        FloatingPointError: a step of the sampler failed.
    """
    check_key("key", key)
    check_sampler("sampler", sampler)
    count = as_count("num_bins", num_bins, minimum=2)
    total = as_count("num_steps", num_steps)
    num_chains, center = _center(key, sampler, state, values_of)
    chains = int(num_chains)
    groups = count if chains % count == 0 else 1  # of chains; else stretches of time
    if groups == 1 and total % count:
        raise ValueError(f"num_steps: expected a multiple of num_bins = {count} for {chains} chains, got {total}")
    stretches = count if groups == 1 else min(REPORTS, total)
    lengths = np.diff(np.linspace(0, total, stretches + 1).astype(np.int32))
    found = []
    with reporting(progress, "measuring") as report:
        for index, length in enumerate(lengths):
            state, sums, status = _bin(key, sampler, state, center, length, values_of, sums_of, groups)
            if int(status):
                raise FloatingPointError(f"measure: {Status(int(status)).message} in part {index + 1} of {stretches}")
            found.append(jax.tree.map(_on_host, sums, is_leaf=_is_double))
            report(index + 1, stretches, "")
    if groups == 1:
        together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
    else:
        together = jax.tree.map(lambda *leaves: np.sum(leaves, axis=0), *found)
    return state, np.full(count, total * chains // count), np.asarray(center, np.float64), together


def _is_double(node: Any) -> bool:
    return isinstance(node, Double)


def _on_host(pair: Double) -> np.ndarray:
    return np.asarray(pair.high, np.float64) + np.asarray(pair.low, np.float64)


def _values(key: Array, sampler: Sampler, state: PyTree, values_of: Callable) -> Array:
    configurations = sampler.measure(lambda configuration: configuration, state)
    return values_of(jax.random.fold_in(jax.random.fold_in(key, MEASURED), state.step), configurations)


@jax.jit
def _center(key: Array, sampler: Sampler, state: PyTree, values_of: Callable) -> tuple[Array, Array]:
    values = _values(key, sampler, state, values_of)
    return jnp.int32(len(values)), jnp.mean(values, axis=0)


@functools.partial(jax.jit, static_argnames="groups")
def _bin(
    key: Array,
    sampler: Sampler,
    state: PyTree,
    center: Array,
    num_steps: Array,
    values_of: Callable,
    sums_of: Callable,
    groups: int,
):
    """The state after so many steps, and sums ``[groups, ...]`` over equal groups of chains."""

    def sums(state: PyTree) -> PyTree:
        values = _values(key, sampler, state, values_of)
        return jax.vmap(sums_of, (None, 0))(center, values.reshape(groups, -1, *values.shape[1:]))

    def one_step(_, carry):
        state, totals, status = carry
        state, info = sampler.step(key, state)
        totals = jax.tree.map(add, totals, sums(state), is_leaf=_is_double)
        return state, totals, status | jnp.bitwise_or.reduce(info.status)

    nothing = jax.tree.map(lambda leaf: double(jnp.zeros(leaf.shape, leaf.dtype)), jax.eval_shape(sums, state))
    return jax.lax.fori_loop(0, num_steps, one_step, (state, nothing, jnp.uint32(0)))
