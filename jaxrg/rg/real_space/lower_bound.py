r"""Kadanoff's lower bound of the free energy of the square lattice, as a map of couplings with a parameter to choose.

A coarse spin is drawn for every block of four by `jaxrg.rg.kadanoff_kernel`. Then terms of H and of the kernel are
moved until every fourth square, whose corners lie in four blocks, holds them all. What is moved has mean zero, by
translation, so that by Jensen's inequality ln Z cannot fall; and the squares can be summed over, one by one:

.. math:: V'(\mu) = \ln \sum_\sigma \exp\Bigl[4 V(\sigma) + p \sum_i \mu_i \sigma_i
    - \ln 2\cosh\Bigl(p \sum_i \sigma_i\Bigr)\Bigr]

with -H = Σ V over all squares, half of each bond belonging to the squares on its two sides.

Reference:
    Kadanoff, Phys. Rev. Lett. 34, 1005 (1975); Kadanoff, Houghton & Yalabik, J. Stat. Phys. 14, 171 (1976).
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating_alike, as_parameter, check_shape, kind_of
from jaxrg.rg.fixed_points import FixedPoint, fixed_point

STATES = np.array(list(itertools.product((-1, 1), repeat=4)))  # of the corners of a square, in order around it
NUM_TERMS = np.array([4, 2, 1, 4, 4])


class SquareCouplings(NamedTuple):
    """Couplings V of one square, each for one product of its corners.

    A bond is part of two squares and a site of four: an Ising model of K and h has K/2 and h/4.

    Attributes:
        nearest_neighbour: scalar, for each of four sides.
        next_nearest_neighbour: scalar, for both diagonals.
        plaquette: scalar, of all four corners.
        field: scalar, for each corner.
        corner: scalar, of three corners.
    """

    nearest_neighbour: Array | float
    next_nearest_neighbour: Array | float = 0.0
    plaquette: Array | float = 0.0
    field: Array | float = 0.0
    corner: Array | float = 0.0


GUESS = SquareCouplings(0.14, 0.14, -0.007)


class LowerBoundStep(NamedTuple):
    """One step of the lower bound.

    Attributes:
        couplings: of a square of coarse spins.
        constant: scalar, ln of the weight of each coarse square: ln Z(V) <= N/4 constant + ln Z(V').
    """

    couplings: SquareCouplings
    constant: Array


class LowerBoundFixedPoint(NamedTuple):
    """The fixed point of the lower bound at the parameter that makes it stationary.

    Attributes:
        parameter: scalar p*.
        couplings: of a square.
        matrix: ``[5, 5]`` dV'/dV at fixed p, in the order of `SquareCouplings`, for `jaxrg.rg.scaling` with b = 2.
        log_partition: the upper bound of ln Z of a site there.
    """

    parameter: Array
    couplings: SquareCouplings
    matrix: Array
    log_partition: Array


def _products() -> np.ndarray:
    """``[16, 5]`` the sums of products that the couplings multiply."""
    a, b, c, d = STATES.T
    corners = a * b * c + b * c * d + c * d * a + d * a * b
    return np.stack([a * b + b * c + c * d + d * a, a * c + b * d, a * b * c * d, a + b + c + d, corners], axis=1)


def lower_bound_step(couplings: SquareCouplings, parameter: Array | float) -> LowerBoundStep:
    r"""Couplings V' of a square of coarse spins, and the constant of the bound; b = 2.

    Args:
        couplings: V, or five numbers in its order.
        parameter: scalar p.

    Raises:
        ValueError: no finite scalars.

    Example:
        >>> step = lower_bound_step(SquareCouplings(0.139717, 0.139717, -0.006865), 0.765983)  # the fixed point
        >>> [round(float(value), 3) for value in step.couplings[:3]]
        [0.14, 0.14, -0.007]
    """
    values, strength = _as_square(couplings, parameter)
    check_shape("parameter", strength, ())
    return _lower_bound_step(values, strength)


def _as_square(couplings: Any, parameter: Any) -> tuple[SquareCouplings, Array]:
    """Scalar couplings, and a parameter of the same type."""
    if not isinstance(couplings, tuple | list) or len(couplings) != 5:
        raise ValueError(f"couplings: expected SquareCouplings, got {kind_of(couplings)}")
    given = dict(zip(SquareCouplings._fields, couplings, strict=True)) | {"parameter": parameter}
    *values, strength = as_floating_alike(**{name: as_parameter(name, value) for name, value in given.items()})
    for name, value in zip(SquareCouplings._fields, values, strict=True):
        check_shape(name, value, ())
    return SquareCouplings(*values), strength


@jax.jit
def _lower_bound_step(couplings: SquareCouplings, parameter: Array) -> LowerBoundStep:
    values, constant = _step(jnp.stack(couplings), parameter)
    return LowerBoundStep(SquareCouplings(*values), constant)


def _step(couplings: Array, parameter: Array) -> tuple[Array, Array]:
    products = jnp.asarray(_products(), couplings.dtype)
    states = jnp.asarray(STATES, couplings.dtype)
    sums = parameter * jnp.sum(states, axis=1)
    weights = 4 * (products @ couplings) - jnp.logaddexp(sums, -sums)
    table = jax.nn.logsumexp(weights[None] + parameter * (states @ states.T), axis=1)
    norms = jnp.asarray(len(STATES) * NUM_TERMS, couplings.dtype)
    return products.T @ table / norms, jnp.mean(table)


def lower_bound_log_partition(couplings: SquareCouplings, parameter: Array | float, *, num_levels: int = 40) -> Array:
    r"""An upper bound of ln Z per site of the infinite square lattice, so a lower one of the free energy.

    .. math:: \frac{\ln Z}{N} \le \sum_{n=1}^{L} 4^{-n} g_n + 4^{-L} (\ln 2 + \max V_L)

    with the constants g of `lower_bound_step`. Every p gives a bound; the lowest is the best.

    Args:
        couplings: V, or five numbers in its order.
        parameter: scalar p, or ``[num_levels]`` one for each step.
        num_levels: L; the last term is below rounding by default.

    Raises:
        ValueError: no finite scalars, or another number of parameters than levels.

    Example:
        >>> from jaxrg import exact
        >>> bound = lower_bound_log_partition(SquareCouplings(exact.critical_coupling / 2), 0.66)
        >>> round(float(bound - exact.onsager_free_energy(exact.critical_coupling)), 4)
        0.0183
    """
    count = as_count("num_levels", num_levels)
    values, strengths = _as_square(couplings, parameter)
    if strengths.shape not in ((), (count,)):
        raise ValueError(f"parameter: expected one number or {count}, one for each level, got {strengths.shape}")
    return _log_partition(values, strengths, count)


@functools.partial(jax.jit, static_argnums=2)
def _log_partition(square: SquareCouplings, parameters: Array, num_levels: int) -> Array:
    couplings = jnp.stack(square)

    def advance(carry, parameter):
        couplings, total, weight = carry
        couplings, constant = _step(couplings, parameter)
        return (couplings, total + weight * constant, weight / 4), None

    init = couplings, jnp.zeros_like(couplings[0]), jnp.full_like(couplings[0], 0.25)
    (couplings, total, weight), _ = jax.lax.scan(advance, init, jnp.broadcast_to(parameters, (num_levels,)))
    largest = jnp.max(jnp.asarray(_products(), couplings.dtype) @ couplings)
    return total + 4 * weight * (math.log(2) + largest)


def lower_bound_fixed_point(guess: SquareCouplings = GUESS, parameter: Array | float = 0.77) -> LowerBoundFixedPoint:
    r"""The fixed point V* of the bound, at the p* that makes ln Z stationary there.

    .. math:: \frac{\partial g}{\partial p} + \nabla g \cdot \Bigl(4 - \frac{\partial V'}{\partial V}\Bigr)^{-1}
        \frac{\partial V'}{\partial p} = 0

    as the derivative of :math:`\sum_n 4^{-n} g(V_n, p)` with respect to p at the first step alone, and to one p at all
    steps. Both equations are solved together, by `jaxrg.rg.fixed_point`; needs float64 for more than three digits.

    Args:
        guess: couplings to start from.
        parameter: p to start from.

    Raises:
        ValueError: no finite scalars.
        FloatingPointError: no fixed point was found near the guess.

    Example:
        >>> with jax.enable_x64(True):
        ...     found = lower_bound_fixed_point()
        >>> round(float(found.parameter), 6)
        0.765983

    Reference:
        Kadanoff, Houghton & Yalabik, J. Stat. Phys. 14, 171 (1976).
    """
    values, strength = _as_square(guess, parameter)
    check_shape("parameter", strength, ())
    return _at_fixed_point(fixed_point(_stationary_flow, {"couplings": values, "parameter": strength}))


def _stationary_flow(state: dict[str, Any]) -> dict[str, Any]:
    """Couplings and p to those of the next step, and p plus the derivative of ln Z."""
    couplings, parameter = jnp.stack(state["couplings"]), state["parameter"]

    def twice(couplings: Array, parameter: Array) -> tuple[Any, Array]:
        image = _step(couplings, parameter)
        return image, image[0]

    slopes, values = jax.jacfwd(twice, argnums=(0, 1), has_aux=True)(couplings, parameter)
    (by_couplings, by_parameter), (gradient, slope) = slopes
    later = jnp.linalg.solve(4 * jnp.eye(len(couplings), dtype=couplings.dtype) - by_couplings, by_parameter)
    return {"couplings": SquareCouplings(*values), "parameter": parameter + slope + jnp.dot(gradient, later)}


@jax.jit
def _at_fixed_point(found: FixedPoint) -> LowerBoundFixedPoint:
    couplings, parameter = found.couplings["couplings"], found.couplings["parameter"]
    _, constant = _step(jnp.stack(couplings), parameter)
    return LowerBoundFixedPoint(parameter, couplings, found.matrix[:-1, :-1], constant / 3)
