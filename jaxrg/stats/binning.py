"""Binning: errors of a stream of any length from a fixed number of bins, pooled over chains, with covariances."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Accumulator, PyTree
from jaxrg.checks import as_count
from jaxrg.stats._long_run import Reduced, long_run, reduce_chains
from jaxrg.stats._notation import described, written
from jaxrg.stats.autocorrelation import as_estimate
from jaxrg.stats.moments import next_value, zeros_as_floating
from jaxrg.sums import Double, add, add_double, double

MIN_BINS = 128  # of which half are always full


class _Bins(NamedTuple):
    """What is kept of one observable, as deviations from its first value so that an offset costs no digits."""

    origin: Array  # [...]
    means: Array  # [num_bins, ...] of the full bins
    pending: Double  # [...] sum of the bin that is being filled
    sum_1: Double  # [...] of all deviations
    sum_2: Double  # [...] of their squares


class BinningState(NamedTuple):
    """Bins of all observables of a stream."""

    count: Double  # [] samples
    size: Array  # [] uint32, samples a bin: a power of two
    num_full: Array  # [] int32, full bins
    num_pending: Array  # [] uint32, samples in the bin that is being filled
    leaves: PyTree  # `_Bins` in place of every observable


class BinningSummary(NamedTuple):
    """Mean and error of one observable; every field ``[...]``."""

    mean: Array
    error: Array
    error_of_error: Array
    tau_int: Array  # in samples, 1/2 + sum of rho
    tau_int_error: Array
    num_effective_samples: Array
    is_converged: Array  # whether the error can be trusted, as for `summary`

    def __str__(self) -> str:
        return written(self.mean, self.error)

    def __repr__(self) -> str:
        return described(self, self.mean)


def binning(num_bins: int = 256) -> Accumulator:
    r"""Errors from the scatter of bins, half to all of ``num_bins`` of them whatever the length of the stream.

    .. math:: \bar x_b = \frac1B \sum_{i \in b} x_i, \qquad \sigma^2 = \frac{C}{N}, \qquad
        \tau_\mathrm{int} = \frac{C}{2 \operatorname{Var}(x)}

    When all bins are full, neighbours are joined and B doubles. C is the long-run variance of the bins' means, with the
    correlation that is left between them, as for `jaxrg.stats.summary`, which wants the whole series and is more
    precise for it: here the error is uncertain by a tenth.

    ``merge`` pools chains, bins of the same size around one mean: an error of all chains together, which also sees them
    disagree. `bin_means` gives the bins as series ``[chains, bins, ...]``: functions of several means, as the specific
    heat or Binder's cumulant, have their errors from `gamma_method`, `jackknife` or `thermodynamics` of these, with all
    covariances, where no trace was ever stored.

    Args:
        num_bins: even, at least 128; memory is that of so many samples a chain.

    Returns:
        An accumulator whose summary is a ``BinningSummary`` for every observable. The same object for the same number
        of bins, so that passing it to a jitted function does not recompile.

    Raises:
        ValueError: ``num_bins`` odd or below 128.

    Example:
        >>> bins = binning()
        >>> white = jax.random.normal(jax.random.key(0), (4096,))
        >>> state, _ = jax.lax.scan(lambda s, x: (bins.update(s, x), None), bins.init(0.0), white)
        >>> bool(abs(bins.summary(state).error * 64 - 1) < 0.2), bool(bins.summary(state).is_converged)
        (True, True)

    Reference:
        Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989).
    """
    if as_count("num_bins", num_bins, minimum=MIN_BINS) % 2:
        raise ValueError(f"num_bins: expected an even number, got {num_bins}")
    return _binning(int(num_bins))


@functools.cache
def _binning(num_bins: int) -> Accumulator:
    start = Partial(functools.partial(_init, num_bins))
    return Accumulator(start, Partial(_update), Partial(_merge), Partial(_summary))


def bin_means(states: BinningState) -> PyTree:
    """The bins of a stream as series for the estimators of this room, in half as many groups as there are bins.

    A run that stores no trace has its errors of functions of several means from these::

        sampler = samplers.accumulate(chain, stats.binning(), lambda s: stats.thermodynamic_moments(observe(s)))
        state = samplers.warm_up(key, sampler, sampler.init(start), num_steps)
        stats.thermodynamics(stats.bin_means(state.sums), coupling=coupling, num_sites=num_sites)

    Their ``tau_int`` is in units of groups.

    Args:
        states: of `binning`, one, or stacked ``[chains, ...]`` as `jaxrg.samplers.accumulate` leaves them.

    Returns:
        The pytree of observables, every leaf ``[chains, num_bins / 2, ...]``.

    Raises:
        ValueError: what is no state of `binning`.
    """
    if not isinstance(states, BinningState) or states.size.ndim > 1:
        raise ValueError(f"states: expected those of binning(), [] or [chains], got a {type(states).__name__}")
    return _bin_means(states)


@jax.jit
def _bin_means(states: BinningState) -> PyTree:
    def series(state: BinningState) -> PyTree:
        return jax.tree.map(
            lambda leaf: leaf.origin[None] + _groups(leaf, state.num_full), state.leaves, is_leaf=_is_bins
        )

    if states.size.ndim == 0:
        return jax.tree.map(lambda leaf: leaf[None], series(states))
    return jax.vmap(series)(states)


def _init(num_bins: int, example: PyTree) -> BinningState:
    def init(zero: Array) -> _Bins:
        return _Bins(zero, jnp.zeros((num_bins, *zero.shape), zero.dtype), *(double(zero),) * 3)

    zeros = zeros_as_floating(example)
    dtype = jnp.result_type(*jax.tree.leaves(zeros))
    return BinningState(
        double(jnp.zeros((), dtype)), jnp.uint32(1), jnp.int32(0), jnp.uint32(0), jax.tree.map(init, zeros)
    )


def _update(state: BinningState, value: PyTree) -> BinningState:
    is_first = state.count.high == 0
    pending = state.num_pending + 1
    is_full = pending == state.size

    def update(leaf: Array, old: _Bins) -> _Bins:
        x = next_value("value", leaf, old.origin)
        origin = jnp.where(is_first, x, old.origin)
        deviation = x - origin
        total = add(old.pending, deviation)
        mean = total.value / state.size.astype(x.dtype)
        means = old.means.at[state.num_full].set(jnp.where(is_full, mean, old.means[state.num_full]))
        kept = jax.tree.map(lambda part: jnp.where(is_full, 0, part), total)
        return _Bins(origin, means, kept, add(old.sum_1, deviation), add(old.sum_2, jnp.square(deviation)))

    leaves = jax.tree.map(update, value, state.leaves)
    count = add(state.count, jnp.ones_like(state.count.high))
    num_full = state.num_full + is_full.astype(jnp.int32)
    new = BinningState(count, state.size, num_full, jnp.where(is_full, jnp.uint32(0), pending), leaves)
    return jax.lax.cond(num_full == _num_bins(new), _join, lambda same: same, new)


def _num_bins(state: BinningState) -> int:
    return jax.tree.leaves(state.leaves, is_leaf=_is_bins)[0].means.shape[0]


def _join(state: BinningState) -> BinningState:
    """Neighbouring bins as one; an odd one out is left aside."""

    def join(leaf: _Bins) -> _Bins:
        halves = (leaf.means[0::2] + leaf.means[1::2]) / 2
        return leaf._replace(means=jnp.concatenate([halves, jnp.zeros_like(halves)]))

    leaves = jax.tree.map(join, state.leaves, is_leaf=_is_bins)
    return state._replace(size=state.size * 2, num_full=state.num_full // 2, leaves=leaves)


def _merge(left: BinningState, right: BinningState) -> BinningState:
    def coarser(state: BinningState, size: Array) -> BinningState:
        return jax.lax.while_loop(lambda state: state.size < size, _join, state)

    size = jnp.maximum(left.size, right.size)
    a, b = coarser(left, size), coarser(right, size)
    num_bins, num_full = _num_bins(a), a.num_full + b.num_full
    is_over = num_full >= num_bins
    places = jnp.arange(2 * num_bins, dtype=jnp.int32)
    is_left = places < a.num_full

    def merge(x: _Bins, y: _Bins) -> _Bins:
        shift = y.origin - x.origin
        count = b.count.value.astype(shift.dtype)
        of_x = x.means[jnp.minimum(places, num_bins - 1)]
        of_y = y.means[jnp.clip(places - a.num_full, 0, num_bins - 1)] + shift[None]
        both = jnp.where(_beside(is_left, of_x), of_x, of_y)
        joined = (both[0::2] + both[1::2]) / 2
        sum_1 = add(add_double(x.sum_1, y.sum_1), count * shift)
        sum_2 = add(add_double(x.sum_2, y.sum_2), shift * (2 * y.sum_1.value + count * shift))
        return _Bins(x.origin, jnp.where(is_over, joined, both[:num_bins]), x.pending, sum_1, sum_2)

    leaves = jax.tree.map(merge, a.leaves, b.leaves, is_leaf=_is_bins)
    merged = BinningState(
        add_double(a.count, b.count),
        jnp.where(is_over, 2 * size, size),
        jnp.where(is_over, num_full // 2, num_full),
        a.num_pending,
        leaves,
    )
    return jax.tree.map(lambda x, y: jnp.where(left.count.high == 0, x, y), right, merged)


def _beside(by_bin: Array, like: Array) -> Array:
    """``[bins]`` with axes to stand beside ``[bins, ...]``."""
    return by_bin.reshape((-1,) + (1,) * (like.ndim - 1))


def _groups(leaf: _Bins, num_full: Array) -> Array:
    """``[num_bins / 2, ...]`` means of the full bins in groups of equal length, fractions of a bin included."""
    num_bins = leaf.means.shape[0]
    num_groups = num_bins // 2
    is_full = _beside(jnp.arange(num_bins, dtype=jnp.int32) < num_full, leaf.means)
    sums = jnp.cumsum(jnp.where(is_full, leaf.means, 0), axis=0)
    sums = jnp.concatenate([jnp.zeros_like(sums[:1]), sums])
    length = num_full.astype(sums.dtype) / num_groups
    ends = length * jnp.arange(num_groups + 1, dtype=sums.dtype)
    below = jnp.clip(jnp.floor(ends).astype(jnp.int32), 0, num_bins - 1)
    part = _beside(ends - below.astype(sums.dtype), sums)
    at_ends = sums[below] + part * (sums[below + 1] - sums[below])
    return jnp.diff(at_ends, axis=0) / length


def _summary(state: BinningState) -> PyTree:
    if not isinstance(state, BinningState) or state.size.ndim > 1:
        raise ValueError(f"state: expected one of binning(), [] or [chains], got a {type(state).__name__}")
    return _summarize(state) if state.size.ndim == 0 else _summarize_chains(state)


@jax.jit
def _summarize(state: BinningState) -> PyTree:
    leaves, structure = jax.tree.flatten(state.leaves, is_leaf=_is_bins)
    parts = [_reduced(leaf, state) for leaf in leaves]
    count = state.count.value
    length = state.num_full.astype(count.dtype) * state.size.astype(count.dtype) / (_num_bins(state) // 2)
    together = jax.tree.map(lambda *part: jnp.concatenate(part), *(reduced for reduced, _ in parts))
    found = long_run(together, count, length, 0.0)

    results, start = [], 0
    for leaf, (_, scale) in zip(leaves, parts, strict=True):
        stop = start + leaf.origin.size
        one = jax.tree.map(lambda field, a=start, b=stop, like=leaf.origin: field[a:b].reshape(like.shape), found)
        start = stop
        mean = jnp.where(count == 0, jnp.nan, leaf.origin + leaf.sum_1.value / count)
        _, error, error_of_error, tau, tau_error, *_, good = as_estimate(mean, one, scale, count)
        results.append(BinningSummary(mean, error, error_of_error, tau, tau_error, count / (2 * tau), good))
    return jax.tree.unflatten(structure, results)


_summarize_chains = jax.jit(jax.vmap(_summarize))  # each by itself; `merge_chains` pools them


def _reduced(leaf: _Bins, state: BinningState) -> tuple[Reduced, Array]:
    count = state.count.value.astype(leaf.origin.dtype)
    offset = leaf.sum_1.value / count
    spread = leaf.sum_2.value / count - jnp.square(offset)
    variance = jnp.where(leaf.sum_2.value == 0, 0, jnp.maximum(spread, 0))
    scale = jnp.where(variance == 0, 1, jnp.sqrt(variance))
    groups = (_groups(leaf, state.num_full) - offset[None]) / scale[None]
    reduced = reduce_chains(groups[None])
    ones = jnp.where(variance == 0, variance, 1)  # NaN stays NaN
    return reduced._replace(variance=jnp.where(jnp.isnan(variance), jnp.nan, ones).ravel()), scale


def _is_bins(node: PyTree) -> bool:
    return isinstance(node, _Bins)
