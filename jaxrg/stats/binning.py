"""Logarithmic binning: errors and autocorrelation times of a stream of any length in O(log N) memory."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Accumulator, PyTree
from jaxrg.checks import check_count
from jaxrg.stats.moments import next_value, zeros_as_floating
from jaxrg.sums import Double, add, add_double, double, subtract

MAX_LEVELS = 32  # the step counter has 32 bits; it may wrap, only its low bits are read
MIN_BINS = 16  # the error of the error is then 18 %


class BinningState(NamedTuple):
    """Bins of 2^level samples at every level, of one observable."""

    num_steps: Array  # [] uint32, modulo 2^32
    last: Array  # [num_levels, ...] mean of the latest full bin, the first half of a bin one level up
    count: Double  # [num_levels] full bins
    mean: Double  # [num_levels, ...] of the full bins
    sum_2: Double  # [num_levels, ...] of their squared deviations


class BinningSummary(NamedTuple):
    """Mean and error of one observable, at the chosen level and, with a leading level axis, at every level.

    ``is_converged`` is False where no level with 16 bins is long enough for the autocorrelations it shows, for a
    constant series (error 0, ``tau_int`` 1/2), and for one with a NaN. Levels with fewer than two bins are NaN.
    """

    mean: Array  # [...]
    error: Array  # [...]
    error_of_error: Array  # [...]
    tau_int: Array  # [...] 1/2 + sum of rho
    level: Array  # [...] int32
    is_converged: Array  # [...]
    error_by_level: Array  # [num_levels, ...]
    tau_int_by_level: Array  # [num_levels, ...]
    num_bins_by_level: Array  # [num_levels]


@functools.cache
def binning(num_levels: int = 24) -> Accumulator:
    r"""Errors from the scatter of bin averages, for bins of 1, 2, 4, ... samples.

    .. math::
        \sigma_\ell^2 = \frac{1}{n_\ell (n_\ell - 1)} \sum_{b=1}^{n_\ell} (\bar x_{\ell,b} - \bar x_\ell)^2, \qquad
        \tau_\ell = \frac12 \frac{\sigma_\ell^2}{\sigma_0^2}, \qquad B_\ell = 2^\ell

    The level reported is the first with :math:`B^3 > 8 N \tau_\ell^2`, where the bias of the squared error from bins
    too short, :math:`\tau/B`, has fallen to a quarter of its noise, :math:`\sqrt{2B/N}`. The Gamma method wants the
    whole series and is more precise for it: here the relative error of the error falls as N^(-1/3), there almost as
    N^(-1/2).

    ``merge`` pools the full bins of two chains around their common mean; bins of the right stream that are not full are
    left out, so merge at the end.

    Args:
        num_levels: largest bin plus one, as a power of two; 24 serve up to about 1e9 samples at ``tau_int`` of 1e4.

    Returns:
        An accumulator whose summary is a ``BinningSummary`` for every observable. The same object for the same number
        of levels, so that passing it to a jitted function does not recompile.

    Raises:
        ValueError: ``num_levels`` not in 2, ..., 32.

    Example:
        >>> bins = binning(num_levels=8)
        >>> white = jax.random.normal(jax.random.key(0), (4096,))
        >>> state, _ = jax.lax.scan(lambda s, x: (bins.update(s, x), None), bins.init(0.0), white)
        >>> bool(abs(bins.summary(state).error * 64 - 1) < 0.2)
        True

    Reference:
        Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989); for the level, Wolff, Comput. Phys. Commun. 156, 143
        (2004), and Lee et al., Phys. Rev. E 83, 066706 (2011).
    """
    check_count("num_levels", num_levels, minimum=2)
    if num_levels > MAX_LEVELS:
        raise ValueError(f"num_levels: expected at most {MAX_LEVELS}, got {num_levels}")

    def init(example: PyTree) -> PyTree:
        def init_leaf(zero: Array) -> BinningState:
            zeros = jnp.zeros((num_levels, *zero.shape), zero.dtype)
            count = double(jnp.zeros((num_levels,), zero.dtype))
            return BinningState(jnp.uint32(0), zeros, count, double(zeros), double(zeros))

        return jax.tree.map(init_leaf, zeros_as_floating(example))

    return Accumulator(Partial(init), Partial(_update), Partial(_merge), Partial(_summary))


def _update(state: PyTree, value: PyTree) -> PyTree:
    return jax.tree.map(_update_leaf, value, state)


def _update_leaf(value: Array, state: BinningState) -> BinningState:
    num_levels = state.last.shape[0]
    num_steps = state.num_steps + 1
    sizes = 1 << jnp.arange(num_levels, dtype=jnp.uint32)
    is_full = (num_steps & (sizes - 1)) == 0
    # A bin that ends here is this value and the latest bin of every smaller size; where none ends it is not used.
    weights = _beside(sizes.astype(state.last.dtype), state.last)
    x = next_value("value", value, state.last[0])[None]
    earlier = jnp.cumsum((state.last * weights)[:-1], axis=0)
    latest = jnp.concatenate([x, (x + earlier) / weights[1:]])

    count = add(state.count, is_full.astype(latest.dtype))
    is_full, n = _beside(is_full, latest), _beside(jnp.maximum(count.value, 1), latest)
    delta = jnp.where(is_full, subtract(double(latest), state.mean), 0)
    return BinningState(
        num_steps,
        jnp.where(is_full, latest, state.last),
        count,
        add(state.mean, delta / n),
        add(state.sum_2, delta * (delta / n) * (n - 1)),
    )


def _merge(left: PyTree, right: PyTree) -> PyTree:
    def merge(a: BinningState, b: BinningState) -> BinningState:
        count = add_double(a.count, b.count)
        share = _beside(b.count.value / jnp.maximum(count.value, 1), a.last)
        delta = subtract(b.mean, a.mean)
        between = _beside(a.count.value, a.last) * share * delta**2
        sum_2 = add(add_double(a.sum_2, b.sum_2), between)
        return BinningState(a.num_steps, a.last, count, add(a.mean, share * delta), sum_2)

    return jax.tree.map(merge, left, right, is_leaf=_is_state)


def _summary(state: PyTree) -> PyTree:
    return jax.tree.map(_summarize, state, is_leaf=_is_state)


@jax.jit
def _summarize(state: BinningState) -> BinningSummary:
    num_bins, sum_2 = state.count.value, state.sum_2.value
    n = _beside(num_bins, sum_2)
    error = jnp.sqrt(sum_2 / (n * (n - 1)))
    is_constant = error[0] == 0
    naive = jnp.where(is_constant, 1, error[0])
    tau_int = 0.5 * jnp.square(error / naive[None])
    tau_int = jnp.where(is_constant[None] & ~jnp.isnan(tau_int), 0.5, tau_int)

    levels = jnp.arange(num_bins.shape[0], dtype=jnp.int32)
    sizes = _beside(2.0 ** levels.astype(n.dtype), sum_2)
    is_long = (n >= MIN_BINS) & (sizes**3 > 8 * num_bins[0] * tau_int**2)
    has_level = jnp.any(is_long, axis=0)
    longest = jnp.maximum(jnp.sum(num_bins >= MIN_BINS, dtype=jnp.int32) - 1, 0)
    level = jnp.where(has_level, jnp.argmax(is_long, axis=0).astype(jnp.int32), longest)

    def chosen(by_level: Array) -> Array:
        return jnp.take_along_axis(by_level, level[None], axis=0)[0]

    mean = jnp.where(num_bins[0] == 0, jnp.nan, state.mean.value[0])
    error_of_error = error / jnp.sqrt(2 * (n - 1))
    is_converged = has_level & ~is_constant
    return BinningSummary(
        mean, chosen(error), chosen(error_of_error), chosen(tau_int), level, is_converged, error, tau_int, num_bins
    )


def _beside(by_level: Array, like: Array) -> Array:
    """``[num_levels]`` with axes to stand beside ``[num_levels, ...]``."""
    return by_level.reshape((-1,) + (1,) * (like.ndim - 1))


def _is_state(node: PyTree) -> bool:
    return isinstance(node, BinningState)
