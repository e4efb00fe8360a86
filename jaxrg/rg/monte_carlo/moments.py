"""Means and covariances of the operators of all levels, bin by bin, of stored samples or of a stream without end."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import Progress, PyTree, Sampler, Status
from jaxrg.checks import as_array, as_count, check_key
from jaxrg.progress import reporting
from jaxrg.rg.monte_carlo.ladders import Ladder, as_ladder, values_of
from jaxrg.samplers.kernels import check_sampler
from jaxrg.sums import Double, add, double

MEASURED = 0x4D43  # apart from the keys of the sampler's steps


class Moments(NamedTuple):
    """Means and covariances of operators on all levels, about the mean of each bin; of NumPy, in float64.

    Attributes:
        counts: ``[num_bins]`` configurations.
        means: ``[num_bins, num_levels, num_operators]`` :math:`\\langle S_a^{(n)} \\rangle`.
        covariances: ``[num_bins, num_levels, num_operators, num_levels, num_operators]``
            :math:`\\langle S_a^{(n)} S_b^{(m)} \\rangle` less the product of means.
    """

    counts: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class Measured(NamedTuple):
    """What `measure` leaves behind."""

    state: PyTree  # of the sampler after the last step
    moments: Moments


class _Sums(NamedTuple):
    """Of deviations from a centre, compensated."""

    deviations: Double  # [num_levels * num_operators]
    products: Double  # [the same twice]


def _add(sums: _Sums, center: Array, values: Array) -> _Sums:
    """Values ``[n, num_levels, num_operators]`` more."""
    flat = values.reshape(values.shape[0], -1) - center[None]
    return _Sums(add(sums.deviations, jnp.sum(flat, axis=0)), add(sums.products, flat.T @ flat))


def _no_sums(center: Array) -> _Sums:
    size = center.size
    return _Sums(double(jnp.zeros_like(center)), double(jnp.zeros((size, size), center.dtype)))


def _finished(counts: np.ndarray, center: Array, sums: _Sums, depth: int) -> Moments:
    """From sums ``[num_bins, ...]``."""
    deviations, products = (np.asarray(part.high, np.float64) + np.asarray(part.low, np.float64) for part in sums)
    shift = deviations / counts[:, None]
    covariances = products / counts[:, None, None] - shift[:, :, None] * shift[:, None, :]
    means = np.asarray(center, np.float64) + shift
    sides = (depth, center.size // depth)
    return Moments(counts, means.reshape(-1, *sides), covariances.reshape(-1, *sides, *sides))


def moments(key: Array, samples: Array, steps: Ladder, *, num_bins: int = 64) -> Moments:
    """Moments of stored configurations, in bins of consecutive ones.

    Args:
        key: typed key of ties and other chance.
        samples: ``[num_samples, *shape]``, spins ±1 as integers or fields as floats.
        steps: from `ladder`.
        num_bins: at least two, each of as many samples; those at the end that fill no bin are left out. Errors are the
            scatter of bins: take them longer than samples are correlated.

    Raises:
        ValueError: no key, no ladder, configurations of another shape, or fewer of them than bins.
    """
    check_key("key", key)
    as_ladder("steps", steps)
    count = as_count("num_bins", num_bins, minimum=2)
    array = as_array("samples", samples)
    if array.ndim < 2 or (steps.bases and array.shape[1:] != steps.bases[0].lattice.shape):
        shape = steps.bases[0].lattice.shape if steps.bases else "*shape"
        raise ValueError(f"samples: expected configurations [num_samples, {shape}], got {tuple(array.shape)}")
    if len(array) < count:
        raise ValueError(f"samples: expected at least num_bins = {count} configurations, got {len(array)}")
    if steps.bases and not (np.abs(np.asarray(array)) == 1).all():
        raise ValueError("samples: expected spins +1 or -1")
    spins = array.astype(jnp.int8) if steps.bases else array
    center, sums = _of_bins(key, spins, steps, count)
    return _finished(np.full(count, len(array) // count), center, sums, steps.depth)


@functools.partial(jax.jit, static_argnums=3)
def _of_bins(key: Array, samples: Array, steps: Ladder, num_bins: int) -> tuple[Array, _Sums]:
    size = len(samples) // num_bins
    keys = jax.random.split(key, num_bins)
    bins = samples[: num_bins * size].reshape(num_bins, size, *samples.shape[1:])

    def of_bin(carry: Array, one: tuple[Array, Array]) -> tuple[Array, Array]:
        return carry, values_of(steps, jax.random.split(one[0], size), one[1])

    _, values = jax.lax.scan(of_bin, jnp.zeros(()), (keys, bins))
    center = jnp.mean(values, axis=(0, 1)).reshape(-1)
    return center, jax.vmap(lambda of_one: _add(_no_sums(center), center, of_one))(values)


def measure(
    key: Array,
    sampler: Sampler,
    state: PyTree,
    num_steps: int,
    steps: Ladder,
    *,
    num_bins: int = 64,
    progress: Progress | bool | None = None,
) -> Measured:
    """Moments of the configurations of a sampler, after every step of all its chains; no configuration is kept.

    Args:
        key: typed key of the run and of ties.
        sampler: as for `jaxrg.samplers.run`; `jaxrg.samplers.thin` it to measure every k-th step, and give many chains
            at once, as `jaxrg.samplers.replicas` does: operators of 32 of them are counted together.
        state: from ``sampler.init`` or an earlier run, of a chain that has forgotten its start.
        num_steps: steps to take, a multiple of ``num_bins``.
        steps: from `ladder`.
        num_bins: at least two, one after the other in time and over all chains.
        progress: called as ``progress(bins done, num_bins, "")``, or True for a bar.

    Raises:
        ValueError: what `jaxrg.samplers.run` refuses, or steps that do not fill the bins.
        FloatingPointError: a step of the sampler failed.
    """
    check_key("key", key)
    check_sampler("sampler", sampler)
    as_ladder("steps", steps)
    count = as_count("num_bins", num_bins, minimum=2)
    if as_count("num_steps", num_steps) % count:
        raise ValueError(f"num_steps: expected a multiple of num_bins = {count}, got {num_steps}")
    num_chains, center = _center(key, sampler, state, steps)
    found = []
    with reporting(progress, "measuring") as report:
        for index in range(count):
            state, sums, status = _bin(key, sampler, state, steps, center, np.int32(num_steps // count))
            if int(status):
                raise FloatingPointError(f"measure: {Status(int(status)).message} in bin {index}")
            found.append(jax.tree.map(np.asarray, sums))
            report(index + 1, count, "")
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    counts = np.full(count, num_steps // count * int(num_chains))
    return Measured(state, _finished(counts, center, together, steps.depth))


def _observed(key: Array, sampler: Sampler, state: PyTree, steps: Ladder) -> Array:
    """``[num_chains, num_levels, num_operators]`` of the configurations of a state."""
    configurations = sampler.measure(lambda configuration: configuration, state)
    step_key = jax.random.fold_in(jax.random.fold_in(key, MEASURED), state.step)
    return values_of(steps, jax.random.split(step_key, len(configurations)), configurations)


@jax.jit
def _center(key: Array, sampler: Sampler, state: PyTree, steps: Ladder) -> tuple[Array, Array]:
    """Number of chains, and a point near the means."""
    values = _observed(key, sampler, state, steps)
    return jnp.int32(len(values)), jnp.mean(values, axis=0).reshape(-1)


@jax.jit
def _bin(key: Array, sampler: Sampler, state: PyTree, steps: Ladder, center: Array, num_steps: Array):
    def one_step(_, carry):
        state, sums, status = carry
        state, info = sampler.step(key, state)
        sums = _add(sums, center, _observed(key, sampler, state, steps))
        return state, sums, status | jnp.bitwise_or.reduce(info.status)

    return jax.lax.fori_loop(0, num_steps, one_step, (state, _no_sums(center), jnp.uint32(0)))
