"""Means and covariances of the operators of all levels, bin by bin, of stored samples or of a stream without end."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Progress, PyTree, Sampler
from jaxrg.checks import as_array, as_count, check_key
from jaxrg.rg.monte_carlo.ladders import Ladder, as_ladder, values_of
from jaxrg.rg.monte_carlo.streams import sums_of_bins


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
    """Of deviations from a centre."""

    deviations: Array  # [num_levels * num_operators]
    products: Array  # [the same twice]


def _sums(center: Array, values: Array) -> _Sums:
    """Of values ``[n, num_levels, num_operators]``."""
    flat = (values - center[None]).reshape(len(values), -1)
    return _Sums(jnp.sum(flat, axis=0), flat.T @ flat)


def _finished(counts: np.ndarray, center: np.ndarray, sums: _Sums) -> Moments:
    """From sums ``[num_bins, ...]``."""
    shift = np.asarray(sums.deviations, np.float64) / counts[:, None]
    covariances = np.asarray(sums.products, np.float64) / counts[:, None, None] - shift[:, :, None] * shift[:, None, :]
    means = np.asarray(center, np.float64) + shift.reshape(-1, *center.shape)
    return Moments(counts, means, covariances.reshape(-1, *center.shape, *center.shape))


def moments(key: Array, samples: Array | np.ndarray, steps: Ladder, *, num_bins: int = 64) -> Moments:
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
    return _finished(np.full(count, len(array) // count), center, sums)


@functools.partial(jax.jit, static_argnums=3)
def _of_bins(key: Array, samples: Array, steps: Ladder, num_bins: int) -> tuple[Array, _Sums]:
    size = len(samples) // num_bins
    keys = jax.random.split(key, num_bins)
    bins = samples[: num_bins * size].reshape(num_bins, size, *samples.shape[1:])

    def of_bin(carry: Array, one: tuple[Array, Array]) -> tuple[Array, Array]:
        return carry, values_of(steps, jax.random.split(one[0], size), one[1])

    _, values = jax.lax.scan(of_bin, jnp.zeros(()), (keys, bins))
    center = jnp.mean(values, axis=(0, 1))
    return center, jax.vmap(_sums, (None, 0))(center, values)


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
        num_steps: steps to take, a multiple of ``num_bins`` if the bins are stretches of time.
        steps: from `ladder`.
        num_bins: at least two: groups of chains, which are independent, where their number is a multiple of it; else
            stretches of time over all chains, for honest errors longer than samples are correlated.
        progress: called as ``progress(parts done, parts, "")``, or True for a bar.

    Raises:
        ValueError: what `jaxrg.samplers.run` refuses, or steps that do not fill the bins.
        FloatingPointError: a step of the sampler failed.
    """
    as_ladder("steps", steps)
    state, counts, center, sums = sums_of_bins(
        key, sampler, state, num_steps, num_bins, Partial(_batch_values, steps), Partial(_sums), progress
    )
    return Measured(state, _finished(counts, center, sums))


def _batch_values(steps: Ladder, key: Array, configurations: Array) -> Array:
    return values_of(steps, jax.random.split(key, len(configurations)), configurations)
