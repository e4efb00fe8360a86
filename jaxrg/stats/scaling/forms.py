"""The forms that finite-size scaling fits: powers of the size, curves that cross, curves that collapse onto one."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, is_traced
from jaxrg.stats.scaling.least_squares import Fit, as_data, least_squares

_GRID = 257  # places where a fitted difference is looked at for its sign
_HALVINGS = 40


class Crossing(NamedTuple):
    """Where two curves cross; nan where they do not once."""

    location: Array  # []
    error: Array  # [] its standard error
    num_crossings: Array  # [] int32 within the data
    fit: Fit  # of the difference of the curves, a polynomial in x taken to [-1, 1]


def power_law(x: ArrayLike, y: ArrayLike, errors: ArrayLike) -> Fit:
    r"""A power law through data of one sign, fitted to their logarithms.

    .. math:: \ln |y_i| = \ln |A| + p \ln x_i \pm \sigma_i / |y_i|

    Good for errors well below the values. Drop the smallest sizes until ``p_value`` is fair, or fit corrections to
    scaling with `least_squares`.

    Args:
        x: ``[n]`` above zero, as sizes L.
        y: ``[n]`` of one sign.
        errors: ``[n]`` standard errors of y.

    Returns:
        `Fit` with the parameters ``exponent`` and ``log_amplitude``.

    Raises:
        ValueError: fewer than two points, shapes that differ, x or errors not above zero, or y of both signs or zero.

    Example:
        >>> fit = power_law([8, 16, 32], [2.0, 8.0, 32.0], [0.02, 0.08, 0.32])
        >>> round(float(fit.params["exponent"]), 4), round(float(fit.errors["exponent"]), 4)
        (2.0, 0.0102)
    """
    x, y, errors = as_data(x=x, y=y, errors=errors)
    if x.ndim != 1 or x.size < 2:
        raise ValueError(f"x: expected two points or more, got shape {x.shape}")
    if not is_traced(x) and not np.all(np.asarray(x) > 0):
        raise ValueError(f"x: expected numbers above zero, got {np.asarray(x).min()}")
    if not is_traced(y) and not abs(np.sign(np.asarray(y)).sum()) == y.size:
        raise ValueError("y: expected numbers of one sign, none zero")
    start = {"exponent": np.zeros((), x.dtype), "log_amplitude": np.zeros((), x.dtype)}
    return least_squares(Partial(_power_residuals, x, y, errors), start)


def _power_residuals(x: Array, y: Array, errors: Array, params: dict[str, Array]) -> Array:
    expected = params["log_amplitude"] + params["exponent"] * jnp.log(x)
    return (jnp.log(jnp.abs(y)) - expected) * jnp.abs(y) / errors


def crossing(
    x: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    first_errors: ArrayLike,
    second_errors: ArrayLike,
    *,
    degree: int = 2,
) -> Crossing:
    r"""Where two measured curves cross, such as the Binder cumulants of two sizes.

    A polynomial is fitted to their difference; its error at the root, over its slope, is that of the crossing.

    .. math:: d(x) = \sum_{k=0}^{m} a_k u^k, \qquad d(x^*) = 0, \qquad \sigma_{x^*} = \sigma_d(x^*) / |d'(x^*)|

    Args:
        x: ``[n]`` where both were measured.
        first: ``[n]`` one curve.
        second: ``[n]`` the other, from independent runs.
        first_errors: ``[n]`` standard errors of the first.
        second_errors: ``[n]`` of the second.
        degree: m of the polynomial.

    Returns:
        `Crossing`.

    Raises:
        ValueError: fewer than degree + 1 points, one x for all, shapes that differ, or errors not above zero.

    Example:
        >>> x = jnp.linspace(0.0, 1.0, 5)
        >>> found = crossing(x, x, 2 * x - 0.5, jnp.full(5, 0.01), jnp.full(5, 0.01), degree=1)
        >>> round(float(found.location), 4), round(float(found.error), 4)
        (0.5, 0.0063)
    """
    num_terms = as_count("degree", degree) + 1
    x, first, second, one, other = as_data(
        x=x, first=first, second=second, first_errors=first_errors, second_errors=second_errors
    )
    if x.ndim != 1 or x.size < num_terms:
        raise ValueError(f"x: expected {num_terms} points or more for degree {degree}, got shape {x.shape}")
    if not is_traced(x) and np.ptp(np.asarray(x)) == 0:
        raise ValueError(f"x: expected different places, got {float(x[0])} for all")
    return _crossing(x, (first, second), (one, other), num_terms)


@functools.partial(jax.jit, static_argnums=3)
def _crossing(x: Array, curves: tuple[Array, Array], errors: tuple[Array, Array], num_terms: int) -> Crossing:
    middle, half = (jnp.max(x) + jnp.min(x)) / 2, (jnp.max(x) - jnp.min(x)) / 2
    data = (x - middle) / half, curves[0] - curves[1], jnp.hypot(*errors)
    fit = least_squares(Partial(_polynomial_residuals, *data), jnp.zeros(num_terms, x.dtype))
    value = functools.partial(_polynomial, fit.params)
    grid = jnp.linspace(-1, 1, _GRID, dtype=x.dtype)
    is_above = value(grid) > 0
    changes = is_above[1:] != is_above[:-1]
    count = jnp.sum(changes.astype(jnp.int32))
    place = jnp.argmax(changes)

    def halve(_, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        centre = (low + high) / 2
        is_low = (value(centre) > 0) == is_above[place]
        return jnp.where(is_low, centre, low), jnp.where(is_low, high, centre)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (grid[place], grid[place + 1]))
    root = (low + high) / 2
    powers = root ** jnp.arange(num_terms, dtype=x.dtype)
    deviation = jnp.sqrt(powers @ fit.covariance @ powers)
    error = half * deviation / jnp.abs(jax.grad(value)(root))
    location, error = (jnp.where(count == 1, number, jnp.nan) for number in (middle + half * root, error))
    return Crossing(location, error, count, fit)


def _polynomial(coefficients: Array, u: Array) -> Array:
    total = jnp.zeros_like(u)
    for index in range(coefficients.size - 1, -1, -1):
        total = total * u + coefficients[index]
    return total


def _polynomial_residuals(u: Array, y: Array, errors: Array, coefficients: Array) -> Array:
    return (y - _polynomial(coefficients, u)) / errors


def collapse(
    sizes: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    errors: ArrayLike,
    *,
    critical: ArrayLike,
    thermal: ArrayLike,
    exponent: ArrayLike | None = None,
    degree: int = 4,
) -> Fit:
    r"""Curves of several sizes brought onto one by a critical point and exponents, with errors.

    .. math:: y_L(x) = L^{a} f\big((x - x_c) L^{y_T}\big), \qquad y_T = 1/\nu

    with a polynomial for f, whose coefficients are fitted along. Data must lie where one polynomial can follow f:
    narrow the range of x until ``p_value`` is fair.

    Args:
        sizes: ``[n]`` L of every point.
        x: ``[n]`` coupling or temperature of every point.
        y: ``[n]`` what was measured.
        errors: ``[n]`` its standard errors.
        critical: x_c to start from.
        thermal: y_T to start from.
        exponent: a to start from, as γ/ν for a susceptibility; None for a quantity without dimension, a = 0.
        degree: of the polynomial f.

    Returns:
        `Fit` with the parameters ``critical``, ``thermal``, ``exponent`` where it is given, and ``coefficients`` of f
        in powers of its argument over the largest one at the start.

    Raises:
        ValueError: fewer points than parameters, shapes that differ, sizes or errors not above zero.

    Example:
        >>> sizes, x = np.repeat([8.0, 16.0, 32.0], 7), np.tile(np.linspace(0.4, 0.5, 7), 3)
        >>> y = 0.6 + 0.2 * (x - 0.44) * sizes
        >>> fit = collapse(sizes, x, y, np.full(21, 1e-3), critical=0.45, thermal=0.9, degree=1)
        >>> round(float(fit.params["critical"]), 4), round(float(fit.params["thermal"]), 3)
        (0.44, 1.0)
    """
    num_terms = as_count("degree", degree) + 1
    sizes, x, y, errors = as_data(sizes=sizes, x=x, y=y, errors=errors)
    if sizes.ndim != 1:
        raise ValueError(f"sizes: expected one for every point, got shape {sizes.shape}")
    if not is_traced(sizes) and not np.all(np.asarray(sizes) > 0):
        raise ValueError(f"sizes: expected numbers above zero, got {np.asarray(sizes).min()}")
    given = {"critical": critical, "thermal": thermal} | ({} if exponent is None else {"exponent": exponent})
    start = {name: _as_scalar(name, value).astype(x.dtype) for name, value in given.items()}
    if x.size < num_terms + len(start):
        raise ValueError(f"x: expected at least {num_terms + len(start)} points, one a parameter, got {x.size}")
    return _collapse((sizes, x, y, errors), start, num_terms)


def _as_scalar(name: str, value: Any) -> Array:
    array = as_floating(name, value)
    if array.ndim:
        raise ValueError(f"{name}: expected a number, got shape {array.shape}")
    return array


@functools.partial(jax.jit, static_argnums=2)
def _collapse(data: tuple[Array, ...], start: PyTree, num_terms: int) -> Fit:
    sizes, x, y, errors = data
    scale = jnp.max(jnp.abs(_argument(sizes, x, start)))
    scaled = sizes, x, y, errors, scale
    # With the exponents held, f is a linear fit: the coefficients to start from.
    linear = least_squares(Partial(_held_residuals, scaled, start), jnp.zeros(num_terms, x.dtype))
    return least_squares(Partial(_collapse_residuals, scaled), start | {"coefficients": linear.params})


def _argument(sizes: Array, x: Array, params: dict[str, Array]) -> Array:
    return (x - params["critical"]) * sizes ** params["thermal"]


def _collapse_residuals(data: tuple[Array, ...], params: dict[str, Array]) -> Array:
    sizes, x, y, errors, scale = data
    master = _polynomial(params["coefficients"], _argument(sizes, x, params) / scale)
    return (y - sizes ** params.get("exponent", jnp.zeros_like(scale)) * master) / errors


def _held_residuals(data: tuple[Array, ...], params: dict[str, Array], coefficients: Array) -> Array:
    return _collapse_residuals(data, params | {"coefficients": coefficients})
