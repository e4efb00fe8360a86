"""Nonlinear least squares of data with errors, by Levenberg and Marquardt's steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from jaxrg.base import PyTree
from jaxrg.checks import as_floating, check_function, is_traced
from jaxrg.closures import as_partial

MAX_STEPS = 200
_MOST_DAMPING = 1e12  # beyond it no step is left that rounding does not hide


class Fit(NamedTuple):
    """The least chi squared."""

    params: PyTree  # where it is
    errors: PyTree  # standard errors, of the same structure
    covariance: Array  # [n, n] of the parameters in the order of their leaves
    chi_squared: Array  # []
    num_degrees_of_freedom: Array  # [] data less parameters
    p_value: Array  # [] probability of a larger chi squared if the form is right and so are the errors
    is_converged: Array  # [] bool


class _Search(NamedTuple):
    point: Array  # [n]
    cost: Array  # [] chi squared there
    damping: Array  # []
    gain: Array  # [] what the last step hoped to gain
    num_steps: Array  # []


def least_squares(residuals: Callable[[PyTree], Array], start: PyTree) -> Fit:
    r"""Parameters of the least :math:`\chi^2 = \sum_i r_i^2`, with their errors.

    .. math:: \hat p = \operatorname{argmin}_p \sum_i r_i(p)^2, \qquad
        C = (J^T J)^{-1}, \quad J_{ia} = \partial r_i/\partial p_a \big|_{\hat p}

    For data y of errors :math:`\sigma` the residuals are :math:`(y_i - f(x_i; p))/\sigma_i`. The errors are those of
    independent data with right errors, and of a form that is right: look at ``p_value``. What the residuals close over
    may change without compiling anew if it is a leaf of a `jax.tree_util.Partial`. To fit resampled data, ``vmap`` it.

    Args:
        residuals: ``[num_data]`` differentiable function of the parameters.
        start: parameters to start from, a tree of numbers and arrays.

    Returns:
        `Fit`. Errors are infinite where the data leave a direction undetermined.

    Raises:
        ValueError: no function, a start that is not finite, residuals that are no vector, or fewer than parameters.

    Example:
        >>> x, y = jnp.arange(4.0), jnp.array([1.0, 3.0, 5.0, 7.0])
        >>> fit = least_squares(lambda p: (y - p["a"] - p["b"] * x) / 0.1, {"a": 0.0, "b": 1.0})
        >>> jax.tree.map(lambda value: round(float(value), 3), fit.params)
        {'a': 1.0, 'b': 2.0}

    Reference:
        Moré, in Numerical Analysis, Lecture Notes in Mathematics 630, 105 (Springer, 1978).
    """
    check_function("residuals", residuals, of="the parameters")
    start = jax.tree.map(lambda leaf: as_floating("start", leaf), start)
    leaves = jax.tree.leaves(start)
    if not leaves:
        raise ValueError("start: expected parameters, got none")
    if not is_traced(start) and not all(np.all(np.isfinite(np.asarray(leaf))) for leaf in leaves):
        raise ValueError("start: expected finite parameters")
    residuals = as_partial(residuals)
    shape = jax.eval_shape(residuals, start)
    num_params = sum(leaf.size for leaf in leaves)
    if getattr(shape, "ndim", None) != 1 or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise ValueError(f"residuals: expected a vector of floats, got {shape}")
    if shape.size < num_params:
        raise ValueError(f"residuals: expected at least as many as parameters, {num_params}, got {shape.size}")
    return _least_squares(residuals, start)


@jax.jit
def _least_squares(residuals: Callable, start: PyTree) -> Fit:
    point, unravel = ravel_pytree(start)

    def of(point: Array) -> Array:
        return residuals(unravel(point))

    def cost_of(vector: Array) -> Array:
        return jnp.sum(jnp.square(vector))

    def step(search: _Search) -> _Search:
        vector, jacobian = of(search.point), jax.jacfwd(of)(search.point)
        scale = _column_sizes(jacobian)
        scaled = jacobian / scale[None]
        ridge = jnp.sqrt(search.damping) * jnp.eye(scale.size, dtype=scale.dtype)
        target = jnp.concatenate([-vector, jnp.zeros_like(scale)])
        move = jnp.linalg.lstsq(jnp.concatenate([scaled, ridge]), target)[0]
        gain = cost_of(vector) - cost_of(vector + scaled @ move)
        trial = search.point + move / scale
        cost = cost_of(of(trial))
        is_better = cost <= search.cost
        return _Search(
            jnp.where(is_better, trial, search.point),
            jnp.where(is_better, cost, search.cost),
            jnp.where(is_better, jnp.maximum(search.damping / 10, 1e-12), search.damping * 10),
            gain,
            search.num_steps + 1,
        )

    tolerance = 10 * jnp.finfo(point.dtype).eps

    def is_moving(search: _Search) -> Array:
        is_left = search.gain > tolerance * (search.cost + 1)
        return is_left & (search.damping < _MOST_DAMPING) & (search.num_steps < MAX_STEPS)

    first = cost_of(of(point))
    start_search = _Search(point, first, jnp.full_like(first, 1e-3), jnp.full_like(first, jnp.inf), jnp.int32(0))
    found = lax.while_loop(is_moving, step, start_search)
    jacobian = jax.jacfwd(of)(found.point)
    covariance = _covariance(jacobian)
    degrees = jnp.asarray(jacobian.shape[0] - jacobian.shape[1], point.dtype)
    half = jnp.where(degrees > 0, degrees, 1) / 2
    p_value = jnp.where(degrees > 0, jax.scipy.special.gammaincc(half, found.cost / 2), jnp.nan)
    is_converged = jnp.isfinite(found.cost) & (found.gain <= 1e3 * tolerance * (found.cost + 1))
    errors = jnp.sqrt(jnp.diagonal(covariance))
    return Fit(unravel(found.point), unravel(errors), covariance, found.cost, degrees, p_value, is_converged)


def _column_sizes(jacobian: Array) -> Array:
    size = jnp.sqrt(jnp.sum(jnp.square(jacobian), axis=0))
    return jnp.where(size > 0, size, 1)


def _covariance(jacobian: Array) -> Array:
    """The inverse of J^T J; infinite variances of parameters in a direction that the data leave undetermined."""
    scale = _column_sizes(jacobian)
    _, values, rows = jnp.linalg.svd(jacobian / scale[None], full_matrices=False)
    is_fixed = values > values[0] * jacobian.shape[0] * jnp.finfo(jacobian.dtype).eps
    inverse = jnp.where(is_fixed, 1 / jnp.where(is_fixed, values, 1), 0)
    half = rows.T * inverse[None]
    covariance = half @ half.T / jnp.outer(scale, scale)
    is_loose = jnp.any(~is_fixed[:, None] & (jnp.abs(rows) > 1e-3), axis=0)
    return jnp.where(jnp.diag(is_loose), jnp.inf, covariance)


def as_data(**values: Any) -> list[Array]:
    """Finite data and errors of one shape and type; errors, whose names end so, above zero.

    Raises:
        ValueError: other shapes, numbers that are not finite, or errors that are not positive.
    """
    arrays = {name: as_floating(name, value) for name, value in values.items()}
    shape = next(iter(arrays.values())).shape
    dtype = jnp.result_type(*arrays.values())
    for name, array in arrays.items():
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        if not is_traced(array):
            host = np.asarray(array)
            if not np.all(np.isfinite(host)):
                raise ValueError(f"{name}: expected finite numbers")
            if name.endswith("errors") and not np.all(host > 0):
                raise ValueError(f"{name}: expected errors above zero, got {host.min()}")
    return [array.astype(dtype) for array in arrays.values()]
