r"""What noise in a game's values does to its interactions, order by order: the floor below which they mean nothing.

An interaction is a sum of 2**|S| values with signs, so independent noise of variance σ² in the values has variance
2**|S| σ² in the interaction, AND and OR alike, and exactly: the Möbius transform is linear. For the highest orders the
floor passes the usual salience threshold long before the values themselves look noisy.
"""

import functools
import math
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating, as_floating_alike, as_table, check_shape
from jaxrg.explain.evidence import as_fraction
from jaxrg.interactions.dividends import harsanyi, harsanyi_or
from jaxrg.interactions.orders import sum_by_order
from jaxrg.interactions.view import SALIENT_FRACTION
from jaxrg.tables import subset_sizes
from jaxrg.transforms import num_bits


class MeasuredNoise(NamedTuple):
    """Two evaluations of one game compared: what their difference is in the values and in each order."""

    variance: Array  # [...] mean squared difference of the values, less its mean: σ² of one evaluation
    and_by_order: Array  # [..., n + 1] root mean square difference of AND interactions
    or_by_order: Array  # [..., n + 1] the same of OR interactions
    predicted: Array  # [..., n + 1] of independent noise of this variance


class NoiseFloor(NamedTuple):
    """Noise of the interactions by order, beside the threshold of salience."""

    standard_deviation: Array  # [n + 1] of one AND or OR interaction of this order; entry 0 is that of v(∅)
    rounding: Array  # [n + 1] root mean square that the arithmetic of the transform itself may add
    largest: Array  # [n + 1] median of the largest of all C(n, k) interactions that are pure noise
    median_strength: Array  # [n + 1] of the measured |I|
    threshold: Array  # salience threshold τ
    is_below: Array  # bool[n + 1] where the largest noise reaches τ: salience means nothing at this order


def noise_by_order(variance: ArrayLike, num_players: int) -> Array:
    r"""Standard deviation of an interaction of each order from independent noise in the values.

    .. math:: \mathrm{Var}\, I(S) = \sum_{T \subseteq S} \mathrm{Var}\, v(T) = 2^{|S|} \sigma^2

    ``variance[...]`` is σ²; the result is ``[..., n + 1]`` for the orders 0 ... n.

    Example:
        >>> noise_by_order(4.0, 2).tolist()
        [2.0, 2.8284270763397217, 4.0]

    Reference:
        The formula is elementary; noise growing with the order: Ren, Zhang, Xu, Xin, Liu & Zhang, NeurIPS 2024,
        arXiv:2407.19198; Zhou et al., AAAI 2024, arXiv:2302.13091.
    """
    return _noise_by_order(as_floating("variance", variance), as_count("num_players", num_players, minimum=0))


@functools.partial(jax.jit, static_argnames="num_players")
def _noise_by_order(variance: Array, num_players: int) -> Array:
    sigma = jnp.sqrt(variance)
    growth = jnp.asarray(2.0 ** (0.5 * np.arange(num_players + 1)), sigma.dtype)
    return sigma[..., None] * growth.reshape((1,) * sigma.ndim + (-1,))


def _mean_by_order(table: Array) -> Array:
    """Mean over the sets of each order, ``[..., n + 1]`` from ``[..., 2**n]``."""
    n = num_bits(table)
    counts = jnp.asarray([math.comb(n, k) for k in range(n + 1)], table.dtype)
    return sum_by_order(table) / counts.reshape((1,) * (table.ndim - 1) + (-1,))


def rounding_by_order(values: ArrayLike) -> Array:
    r"""Root mean square rounding error of `interactions.harsanyi` of this table, in its own precision, for each order.

    The variances of independent rounding errors, carried through the butterflies: a stored number x has one of
    :math:`u^2 x^2 / 6` (uniform in half a unit of its last place, u the unit roundoff, averaged over mantissas), and
    each difference adds that of its operands and its own. An estimate, not a bound; an upper one for smooth games,
    where many differences are exact. For OR interactions give the table with its last axis flipped.

    ``[..., n + 1]`` of values ``[..., 2**n]``.
    """
    values = as_table("values", values)
    return _rounding_by_order(values)


@jax.jit
def _rounding_by_order(values: Array) -> Array:
    shape = values.shape
    unit = 0.5 * float(jnp.finfo(values.dtype).eps)
    variance = jnp.square(values)  # in units of u^2 / 6
    for bit in range(num_bits(values)):
        pairs = values.reshape(*shape[:-1], -1, 2, 2**bit)
        spread = variance.reshape(pairs.shape)
        difference = pairs[..., 1, :] - pairs[..., 0, :]
        grown = spread[..., 1, :] + spread[..., 0, :] + jnp.square(difference)
        values = jnp.stack([pairs[..., 0, :], difference], axis=-2).reshape(shape)
        variance = jnp.stack([spread[..., 0, :], grown], axis=-2).reshape(shape)
    return unit * jnp.sqrt(_mean_by_order(variance) / 6)


def measured_noise(values: ArrayLike, reference: ArrayLike) -> MeasuredNoise:
    r"""The noise of a network's evaluation, measured: the same game in float32 and in float64.

    A difference that is the same for every coalition has no interactions and is left out. Real errors are not
    independent, so ``predicted`` is compared with what is there, not put in its place: below it the errors of a set's
    subsets cancel, above it they conspire. Of two evaluations that are both noisy, as with two seeds, each has half the
    variance.

    Args:
        values: ``[..., 2**n]``, of the noisy evaluation.
        reference: the same game without noise; in float64, so that the transform adds nothing.
    """
    values, reference = as_floating_alike(values=values, reference=reference)
    as_table("values", values)
    check_shape("reference", reference, values.shape)
    return _measured_noise(values, reference)


@jax.jit
def _measured_noise(values: Array, reference: Array) -> MeasuredNoise:
    difference = values - reference
    difference = difference - jnp.mean(difference, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(difference), axis=-1)
    by_and, by_or = (jnp.sqrt(_mean_by_order(jnp.square(fn(difference)))) for fn in (harsanyi, harsanyi_or))
    return MeasuredNoise(variance, by_and, by_or, _noise_by_order(variance, num_bits(values)))


def noise_floor(
    interactions: ArrayLike,
    variance: ArrayLike,
    *,
    rounding: ArrayLike | None = None,
    fraction: ArrayLike = SALIENT_FRACTION,
) -> NoiseFloor:
    r"""The noise of each order beside the threshold of `interactions.is_salient`,
    :math:`\tau = 0.05 \max_{S \ne \emptyset} |I(S)|`.

    Of m = C(n, k) interactions that are nothing but Gaussian noise, the largest has the median
    :math:`\sigma_k \Phi^{-1}\bigl((1 + 2^{-1/m}) / 2\bigr)`, taken as independent, which they nearly are. Where it
    reaches τ, noise alone makes salient interactions.

    Args:
        interactions: AND or OR table ``[2**n]`` of one game, or absolute values averaged over games.
        variance: σ² of the values, as from `measured_noise`.
        rounding: ``[n + 1]`` from `rounding_by_order`; none by default.
        fraction: of the largest strength.
    """
    table = as_table("interactions", interactions)
    if table.ndim != 1:
        raise ValueError(f"interactions: expected one table [2**n], got shape {tuple(table.shape)}")
    noise = as_floating("variance", variance)
    check_shape("variance", noise, ())
    of_rounding = as_floating("rounding", np.zeros(num_bits(table) + 1, np.float32) if rounding is None else rounding)
    check_shape("rounding", of_rounding, (num_bits(table) + 1,))
    return _noise_floor(table, noise, of_rounding, as_fraction(fraction))


@jax.jit
def _noise_floor(interactions: Array, variance: Array, rounding: Array, fraction: Array) -> NoiseFloor:
    n, dtype = num_bits(interactions), interactions.dtype
    counts = [math.comb(n, k) for k in range(n + 1)]
    strength, sizes = jnp.abs(interactions), subset_sizes(n)
    deviation, rounding = _noise_by_order(variance.astype(dtype), n), rounding.astype(dtype)
    factor = jnp.asarray([NormalDist().inv_cdf(0.5 * (1 + 2 ** (-1 / count))) for count in counts], dtype)
    largest = factor * jnp.sqrt(jnp.square(deviation) + jnp.square(rounding))
    ranked = strength[jnp.lexsort((strength, sizes))]  # by order, and within it by strength
    starts = np.cumsum([0, *counts[:-1]])
    lower, upper = (starts + [(count - odd) // 2 for count in counts] for odd in (1, 0))
    threshold = fraction.astype(dtype) * jnp.max(strength.at[0].set(0))
    has_nan = sum_by_order(jnp.isnan(strength).astype(dtype)) > 0  # sorted last, they would not be seen in a median
    return NoiseFloor(
        standard_deviation=deviation,
        rounding=rounding,
        largest=largest,
        median_strength=jnp.where(has_nan, jnp.nan, 0.5 * (ranked[lower] + ranked[upper])),
        threshold=threshold,
        is_below=~(largest < threshold),  # also where either is NaN
    )
