"""Rational-quadratic spline couplings on an interval with straight tails, and on the circle."""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial, register_static

from jaxrg.base import Bijector
from jaxrg.checks import as_count, as_floating, check_number
from jaxrg.flows.bijectors.couplings import coupling

MIN_SHARE = (
    1e-3  # of a bin in the interval: slopes of bins stay between 1e-3 and 1e3, which float32 can go back through
)
LOG_SLOPE_BOUND = math.log(1e2)  # of the slopes at the knots, for the same reason
MAX_BINS = 500  # half the interval is shared out among the bins by then


@register_static
@dataclasses.dataclass(frozen=True)
class Bins:
    """Number of bins, and whether the ends of the interval are one point; static."""

    num_bins: int
    is_circular: bool


def spline_coupling(
    event_shape: Sequence[int],
    mask: Any,
    conditioner: Any,
    *,
    num_bins: int = 8,
    bound: Array | float = 4.0,
    condition_shape: Sequence[int] | None = None,
) -> Bijector:
    r"""Features go through monotone rational-quadratic splines whose knots the others determine.

    Between knots :math:`(x_k, y_k)` with slopes :math:`d_k`, with :math:`\xi = (x - x_k)/w_k, s = h_k/w_k`,

    .. math:: y = y_k + h_k \frac{s \xi^2 + d_k \xi (1-\xi)}{s + (d_k + d_{k+1} - 2s)\, \xi (1-\xi)}

    on :math:`[-b, b]`, and y = x outside. No input or parameter that is a number gives NaN, nor do gradients: bins
    have at least 1e-3 of the interval, knots slopes from 0.01 to 100. Zero outputs of the conditioner are the identity.

    Args:
        event_shape: shape of the event; more axes after it are lanes.
        mask: booleans of the event's leading axes, True for the features that stay, as for `affine_coupling`.
        conditioner: as for `affine_coupling`, with ``(3 * num_bins - 1) * changed`` outputs: widths, heights, slopes.
        num_bins: from 1 to 500.
        bound: b > 0.
        condition_shape: as for `affine_coupling`.

    Raises:
        ValueError: shapes that do not fit, a mask of one kind only, no conditioner, counts or b out of range.

    Reference:
        Durkan et al., NeurIPS 2019, arXiv:1906.04032.
    """
    bins = Bins(_as_bins(num_bins), is_circular=False)
    check_number("bound", bound, above=0.0)
    half = as_floating("bound", bound)
    maps = Partial(_forward, bins, half), Partial(_inverse, bins, half)
    return coupling(event_shape, mask, conditioner, condition_shape, *maps, 3 * bins.num_bins - 1)


def circular_spline_coupling(
    event_shape: Sequence[int],
    mask: Any,
    conditioner: Any,
    *,
    num_bins: int = 8,
    condition_shape: Sequence[int] | None = None,
) -> Bijector:
    r"""Angles in :math:`[-\pi, \pi)` go through periodic splines and turns that the other angles determine.

    As `spline_coupling`, with one slope at :math:`\pm\pi`, and a turn after the spline, modulo :math:`2\pi`. The
    conditioner sees the cosines of the angles that stay, then their sines, then the condition.

    Args:
        event_shape: shape of the event; more axes after it are lanes.
        mask: booleans of the event's leading axes, True for the angles that stay.
        conditioner: as for `affine_coupling`, with ``(3 * num_bins + 1) * changed`` outputs: widths, heights, slopes
            and turns, of ``2 * kept`` inputs.
        num_bins: from 1 to 500.
        condition_shape: as for `affine_coupling`.

    Raises:
        ValueError: as `spline_coupling`.

    Reference:
        Rezende et al., ICML 2020, arXiv:2002.02428.
    """
    bins = Bins(_as_bins(num_bins), is_circular=True)
    maps = Partial(_turn_forward, bins), Partial(_turn_inverse, bins)
    return coupling(
        event_shape, mask, conditioner, condition_shape, *maps, 3 * bins.num_bins + 1, encode=cosines_and_sines
    )


def _as_bins(num_bins: int) -> int:
    count = as_count("num_bins", num_bins)
    if count > MAX_BINS:
        raise ValueError(f"num_bins: expected at most {MAX_BINS}, got {count}")
    return count


def cosines_and_sines(angles: Array) -> Array:
    """``[2 * features, ...]`` what a function of angles has to look at in order to be periodic."""
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)])


def wrap(angles: Array) -> Array:
    r"""Angles between :math:`-\pi` and :math:`\pi`."""
    return _clipped(angles - 2 * math.pi * jnp.floor((angles + math.pi) / (2 * math.pi)), -math.pi, math.pi)


def _clipped(values: Array, low: float, high: float) -> Array:
    """Values without what rounding added beyond both ends, with the derivative of values that were not clipped.

    That of `jax.numpy.clip` is one half at the ends, which are exact knots.
    """
    return values + jax.lax.stop_gradient(jnp.clip(values, low, high) - values)


class Piece(NamedTuple):
    """The bin a value is in."""

    left: Array
    width: Array
    bottom: Array
    height: Array
    slopes: tuple[Array, ...]


def _piece(bins: Bins, half: Array, values: Array, outputs: Array, *, is_inverse: bool) -> Piece:
    """The bin of every value, by comparisons with all knots: lanes stay side by side, nothing is gathered.

    The barriers keep XLA on CPUs from computing all exponentials, and backwards the spline, once for every bin.
    """
    num_bins, barrier = bins.num_bins, jax.lax.optimization_barrier
    logits, slopes = outputs[: 2 * num_bins].reshape(2, num_bins, *values.shape), outputs[2 * num_bins :]
    largest = functools.reduce(jnp.maximum, list(jnp.moveaxis(jax.lax.stop_gradient(logits), 1, 0)))
    widths, heights = barrier(jnp.exp(logits - barrier(largest)[:, None]))
    everything = jnp.full(values.shape, num_bins, jnp.int32)
    total_width, total_height = barrier([_sum(operator.lt, part, everything) for part in (widths, heights)])
    searched = (heights, total_height) if is_inverse else (widths, total_width)
    number = barrier(_number(*jax.lax.stop_gradient((*searched, (values + half) / (2 * half)))))
    left, bottom = (_sum(operator.lt, part, number) for part in (widths, heights))
    width, height = (_sum(operator.eq, part, number) for part in (widths, heights))
    # Straight tails have slope one, whose logarithm is what is found where there is no knot.
    knots = (number, (number + 1) % num_bins) if bins.is_circular else (number - 1, number)
    found = (left, bottom, width, height, *(_sum(operator.eq, slopes, knot) for knot in knots))
    left, bottom, width, height, *logs = barrier(found)
    first = MIN_SHARE * number.astype(values.dtype)
    share = 1 - MIN_SHARE * num_bins
    return Piece(
        half * (2 * (first + share * left / total_width) - 1),
        2 * half * (MIN_SHARE + share * width / total_width),
        half * (2 * (first + share * bottom / total_height) - 1),
        2 * half * (MIN_SHARE + share * height / total_height),
        tuple(jnp.exp(LOG_SLOPE_BOUND * jnp.tanh(log / LOG_SLOPE_BOUND)) for log in logs),
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _sum(compare: Callable, parts: Array, number: Array) -> Array:
    """Sum of the rows whose index compares so with a number, term by term: a reduction of XLA's is slower here."""
    terms = [jnp.where(compare(index, number), part, 0) for index, part in enumerate(parts)]
    return functools.reduce(jnp.add, terms, jnp.zeros(number.shape, parts.dtype))


@_sum.defjvp
def _sum_jvp(compare: Callable, primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    """The same, in a form whose transpose is one selection instead of one padded array for every row."""
    (parts, number), (moved, _) = primals, tangents
    index = jnp.arange(parts.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * number.ndim)
    return _sum(compare, parts, number), jnp.sum(jnp.where(compare(index, number[None]), moved, 0), axis=0)


def _number(weights: Array, total: Array, share: Array) -> Array:
    """In which of the bins with these weights a share of the interval lies, from 0."""
    number, knot, scaled = jnp.zeros(share.shape, jnp.int32), jnp.zeros_like(share), share * total
    for index, weight in enumerate(weights[:-1]):
        knot = knot + weight
        reached = (1 - MIN_SHARE * weights.shape[0]) * knot + MIN_SHARE * (index + 1) * total
        number = number + (scaled >= reached).astype(jnp.int32)
    return number


def _along(piece: Piece, along: Array) -> tuple[Array, Array]:
    """Value over the bottom of the piece and log-derivative, at a share of its width; sums of positive numbers."""
    slope = piece.height / piece.width
    left, right = piece.slopes
    bulge = along * (1 - along)
    below = slope * (1 - 2 * bulge) + (left + right) * bulge
    value = piece.height * (slope * along**2 + left * bulge) / below
    above = right * along**2 + 2 * slope * bulge + left * (1 - along) ** 2
    return value, 2 * jnp.log(slope / below) + jnp.log(above)


def _forward(bins: Bins, half: Array, values: Array, outputs: Array) -> tuple[Array, Array]:
    half = half.astype(values.dtype)
    inner = jnp.where(jnp.abs(values) <= half, values, 0)
    piece = _piece(bins, half, inner, outputs, is_inverse=False)
    over, log_slope = _along(piece, (inner - piece.left) / piece.width)
    return _with_tails(half, values, piece.bottom + over, log_slope)


def _inverse(bins: Bins, half: Array, values: Array, outputs: Array) -> tuple[Array, Array]:
    half = half.astype(values.dtype)
    inner = jnp.where(jnp.abs(values) <= half, values, 0)
    piece = _piece(bins, half, inner, outputs, is_inverse=True)
    along = _solve(piece, inner - piece.bottom)
    _, log_slope = _along(piece, along)
    return _with_tails(half, values, piece.left + piece.width * along, -log_slope)


def _solve(piece: Piece, over: Array) -> Array:
    """Share of the width at which the piece reaches a value: the root of a quadratic without cancellation.

    The root is polished by a step of Newton's, which takes back what the discriminant lost in rounding.
    """
    slope = piece.height / piece.width
    left, right = piece.slopes
    excess = over * (left + right - 2 * slope)
    a = piece.height * (slope - left) + excess
    b = piece.height * left - excess
    c = -slope * over
    tiny = jnp.finfo(over.dtype).tiny
    root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, tiny))
    half = -0.5 * (b + jnp.where(b >= 0, root, -root))
    is_small = b >= 0
    along = jnp.where(is_small, c / jnp.where(is_small, half, -1), half / jnp.where(is_small | (a == 0), 1, a))
    along = _clipped(along, 0, 1)
    value, log_slope = _along(piece, along)
    return _clipped(along - (value - over) / (piece.width * jnp.exp(log_slope)), 0, 1)


def _with_tails(half: Array, values: Array, inside: Array, log_slope: Array) -> tuple[Array, Array]:
    is_inside = jnp.abs(values) <= half
    log_det = jnp.where(is_inside, log_slope, jnp.where(jnp.isnan(values), values, 0))
    return jnp.where(is_inside, inside, values), log_det


def _turn_forward(bins: Bins, values: Array, outputs: Array) -> tuple[Array, Array]:
    values, log_det = _forward(bins, jnp.asarray(math.pi, values.dtype), wrap(values), outputs[:-1])
    return wrap(values + wrap(outputs[-1])), log_det


def _turn_inverse(bins: Bins, values: Array, outputs: Array) -> tuple[Array, Array]:
    return _inverse(bins, jnp.asarray(math.pi, values.dtype), wrap(wrap(values) - wrap(outputs[-1])), outputs[:-1])
