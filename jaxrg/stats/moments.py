"""Streaming accumulators: statistics of a chain on the device, in constant memory, inside ``lax.scan``."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Accumulator, PyTree
from jaxrg.checks import as_floating
from jaxrg.sums import Double, add, add_double, double, subtract


class Moments(NamedTuple):
    """Moments of one observable; ``central_k`` is the mean of ``(x - mean)^k``. NaN where no sample came."""

    count: Array  # [], a float: exact to 2^24 in float32, to 2^48 inside the state
    mean: Array  # [...]
    central_2: Array  # [...]
    central_3: Array  # [...]
    central_4: Array  # [...]

    @property
    def variance(self) -> Array:
        """Unbiased for independent samples; NaN for a single one."""
        return self.central_2 * (self.count / (self.count - 1))

    @property
    def skewness(self) -> Array:
        """Third standardised moment."""
        return self.central_3 / self.central_2**1.5

    @property
    def excess_kurtosis(self) -> Array:
        """Fourth standardised moment minus the 3 of a Gaussian."""
        return self.central_4 / self.central_2**2 - 3


class MomentsState(NamedTuple):
    """Running sums of one observable."""

    count: Double  # []
    mean: Double  # [...]
    sum_2: Double  # [...], of (x - mean)^2
    sum_3: Double  # [...]
    sum_4: Double  # [...]


def streaming_moments() -> Accumulator:
    r"""Count, mean and central moments up to the fourth of a stream.

    .. math:: \delta = x - \bar x, \qquad \bar x \to \bar x + \frac{\delta}{n}, \qquad
        M_2 \to M_2 + \frac{n-1}{n} \delta^2

    and so on (Pebay): the central sums are updated directly, so nothing cancels when the mean is large, and each is a
    pair of floats, so nothing stalls. In float32 the moments are good to about 1e-6 of their natural scale
    :math:`\sigma^k` up to the 2^48 values the count can hold.

    Example:
        >>> moments = streaming_moments()
        >>> state = moments.init(0.0)
        >>> state, _ = jax.lax.scan(lambda s, x: (moments.update(s, x), None), state, jnp.arange(5.0))
        >>> float(moments.summary(state).mean), float(moments.summary(state).variance)
        (2.0, 2.5)

    Reference:
        Pebay, Sandia report SAND2008-6212 (2008).
    """
    return Accumulator(Partial(_init), Partial(_update), Partial(_merge), Partial(_summary))


def merge_chains(accumulator: Accumulator, states: PyTree) -> PyTree:
    """One state from the states of many chains, stacked along a leading axis.

    Args:
        accumulator: the accumulator that made the states, under ``vmap`` over chains.
        states: pytree with a leading axis ``num_chains`` on every leaf.

    Raises:
        ValueError: no accumulator, no chains, or a single state without an axis of chains.
    """
    leaves = jax.tree.leaves(states)
    if not isinstance(accumulator, Accumulator):
        raise ValueError(f"accumulator: expected one such as binning(), got a {type(accumulator).__name__}")
    shapes = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(shapes) != 1 or () in shapes or (0,) in shapes:
        raise ValueError(f"states: expected a leading axis of chains, one or more, on every leaf, got {sorted(shapes)}")
    return _merge_chains(accumulator, states)


@jax.jit
def _merge_chains(accumulator: Accumulator, states: PyTree) -> PyTree:
    first, others = (jax.tree.map(lambda leaf, part=part: leaf[part], states) for part in (0, slice(1, None)))
    return jax.lax.scan(lambda merged, state: (accumulator.merge(merged, state), None), first, others)[0]


def zeros_as_floating(example: PyTree) -> PyTree:
    """Zeros of the shapes of an example of arrays, numbers or ``jax.ShapeDtypeStruct``; integers become floats."""

    def zeros(leaf: PyTree) -> Array:
        like = leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf)
        return as_floating("example", jnp.zeros(like.shape, like.dtype))

    return jax.tree.map(zeros, example)


def next_value(name: str, value: Array, like: Array) -> Array:
    """A value of a stream in the dtype of its state; integers become floats.

    Raises:
        ValueError: a shape or floating dtype that differs from the example's.
    """
    array = jnp.asarray(value)
    if array.shape != like.shape:
        raise ValueError(f"{name}: expected shape {like.shape}, as the example had, got {array.shape}")
    if jnp.issubdtype(array.dtype, jnp.floating) and array.dtype != like.dtype:
        raise ValueError(f"{name}: expected dtype {like.dtype}, as the example had, got {array.dtype}")
    return as_floating(name, array).astype(like.dtype)


def _init(example: PyTree) -> PyTree:
    def init(zero: Array) -> MomentsState:
        return MomentsState(double(jnp.zeros((), zero.dtype)), *(double(zero),) * 4)

    return jax.tree.map(init, zeros_as_floating(example))


def _update(state: PyTree, value: PyTree) -> PyTree:
    def update(leaf: Array, old: MomentsState) -> MomentsState:
        x = next_value("value", leaf, old.mean.high)
        count = add(old.count, jnp.ones_like(old.count.high))
        n = count.value
        delta = subtract(double(x), old.mean)
        step = delta / n
        term = delta * step * (n - 1)
        sum_2, sum_3 = old.sum_2.value, old.sum_3.value
        # Two factors of step go first: n^2 step^2 is of the order of delta^2, n^2 alone need not fit.
        shape = (n * step) ** 2 - 3 * n * step**2 + 3 * step**2
        return MomentsState(
            count,
            add(old.mean, step),
            add(old.sum_2, term),
            add(old.sum_3, term * step * (n - 2) - 3 * step * sum_2),
            add(old.sum_4, term * shape + 6 * step**2 * sum_2 - 4 * step * sum_3),
        )

    return jax.tree.map(update, value, state)


def _merge(left: PyTree, right: PyTree) -> PyTree:
    return jax.tree.map(_merge_leaf, left, right, is_leaf=_is_state)


def _merge_leaf(a: MomentsState, b: MomentsState) -> MomentsState:
    count = add_double(a.count, b.count)
    total = jnp.maximum(count.value, 1)  # two empty streams merge to an empty one
    p, q = a.count.value / total, b.count.value / total
    n = count.value
    delta = subtract(b.mean, a.mean)
    a_2, b_2 = a.sum_2.value, b.sum_2.value
    cross_2 = n * p * q * delta**2
    cross_3 = cross_2 * (p - q) * delta + 3 * delta * (p * b_2 - q * a_2)
    cross_4 = cross_2 * (p * p - p * q + q * q) * delta**2 + 6 * delta**2 * (p * p * b_2 + q * q * a_2)
    cross_4 = cross_4 + 4 * delta * (p * b.sum_3.value - q * a.sum_3.value)
    return MomentsState(
        count,
        add(a.mean, q * delta),
        add(add_double(a.sum_2, b.sum_2), cross_2),
        add(add_double(a.sum_3, b.sum_3), cross_3),
        add(add_double(a.sum_4, b.sum_4), cross_4),
    )


@jax.jit
def _summary(state: PyTree) -> PyTree:
    def summarize(leaf: MomentsState) -> Moments:
        n = leaf.count.value
        mean = jnp.where(n == 0, jnp.nan, leaf.mean.value)
        return Moments(n, mean, leaf.sum_2.value / n, leaf.sum_3.value / n, leaf.sum_4.value / n)

    return jax.tree.map(summarize, state, is_leaf=_is_state)


def _is_state(node: PyTree) -> bool:
    return isinstance(node, MomentsState)
