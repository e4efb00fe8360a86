r"""Taylor interactions: the terms of an expansion about a baseline, sorted by the inputs they involve.

.. math:: f(x) = f(b) + \sum_\kappa I(\kappa), \qquad
    I(\kappa) = \frac{1}{\kappa!} \frac{\partial^{|\kappa|} f(b)}{\partial x^\kappa} (x - b)^\kappa

A term of one input is its independent effect, one of several an interaction; those of the same inputs sum to a Harsanyi
interaction (`interactions.harsanyi`) where the series converges, and exactly so on polynomials.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.checks import as_count
from jaxrg.explain.attributions.attribution import as_function, as_inputs, number_of
from jaxrg.tables import MAX_BYTES

MAX_DEGREE = 10  # nested forward derivatives double the work with every degree


class TaylorTerms(NamedTuple):
    """Terms of an expansion, without the constant."""

    powers: np.ndarray  # int [num_terms, n], κ
    values: Array  # [num_terms], I(κ)


def multi_indices(num_variables: int, max_degree: int) -> np.ndarray:
    """Exponents ``int[num_terms, num_variables]`` of all monomials of degree 1 to ``max_degree``, by degree.

    Raises:
        ValueError: a degree beyond 10; so many that the linear system for their coefficients takes more than
            `tables.MAX_BYTES`, with the bytes.

    Example:
        >>> multi_indices(2, 2).tolist()
        [[1, 0], [0, 1], [2, 0], [1, 1], [0, 2]]
    """
    num_variables, max_degree = as_count("num_variables", num_variables), as_count("max_degree", max_degree)
    if max_degree > MAX_DEGREE:
        raise ValueError(f"max_degree: expected 1 to {MAX_DEGREE}, got {max_degree}")
    largest = math.comb(num_variables + max_degree - 1, max_degree)  # monomials of the highest degree
    needed = 8 * largest * max(largest, num_variables * max_degree)
    if needed > MAX_BYTES:
        raise ValueError(
            f"max_degree: expected terms within {MAX_BYTES:,} bytes, got degree {max_degree} of {num_variables} "
            f"inputs, which needs {needed:,} bytes"
        )
    rows = [
        np.bincount(chosen, minlength=num_variables)
        for degree in range(1, max_degree + 1)
        for chosen in itertools.combinations_with_replacement(range(num_variables), degree)
    ]
    return np.array(rows)


def _derivative_series(function: Callable[[Array], Array], start: Array, max_degree: int) -> Array:
    r"""Taylor coefficients :math:`\sigma^{(k)}(y)/k!` ``[max_degree + 1, ...]`` of an elementwise function."""

    def extended(inner: Callable[[Array], tuple[Array, ...]]) -> Callable[[Array], tuple[Array, ...]]:
        def outer(values: Array) -> tuple[Array, ...]:
            primals, tangents = jax.jvp(inner, (values,), (jnp.ones_like(values),))
            return (*primals, tangents[-1])

        return outer

    derivatives: Callable[[Array], tuple[Array, ...]] = lambda values: (function(values),)  # noqa: E731
    for _ in range(max_degree):
        derivatives = extended(derivatives)
    return jnp.stack([row / math.factorial(degree) for degree, row in enumerate(derivatives(start))])


def taylor_terms(
    function: Callable[[Array], Array], sample: ArrayLike, baseline: ArrayLike, *, max_degree: int
) -> TaylorTerms:
    """All terms of degree 1 to ``max_degree`` of a function about a baseline; exact where it has no higher ones.

    Derivatives along the lattice directions of a simplex, by forward differentiation, determine the mixed ones through
    a fixed linear system.

    Args:
        function: scalar of one input ``[n]``.
        sample: x ``[n]``.
        baseline: b ``[n]``, where the expansion is made.
        max_degree: of the terms.

    Raises:
        ValueError: as `multi_indices`; shapes that differ.

    Example:
        >>> terms = taylor_terms(lambda x: x[0] * x[1] ** 2, jnp.array([2.0, 3.0]), jnp.zeros(2), max_degree=3)
        >>> {tuple(row.tolist()): round(float(value), 3) for row, value in zip(*terms) if abs(value) > 1e-3}
        {(1, 2): 18.0}
    """
    sample, baseline = as_inputs(sample, baseline=baseline)
    powers = multi_indices(sample.shape[0], max_degree)
    directions, solutions = _lattice_directions(sample.shape[0], int(max_degree))
    return TaylorTerms(powers, _terms(as_function(function), sample, baseline, directions, solutions))


@functools.lru_cache(maxsize=32)
def _lattice_directions(num_variables: int, max_degree: int) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Directions ``[d, n]`` of a simplex, and for each degree the matrix from derivatives along them to its terms."""
    powers = multi_indices(num_variables, max_degree)
    degrees = powers.sum(1)
    directions = powers[degrees == max_degree] / max_degree
    monomials = (
        np.prod(directions[:, None, :] ** powers[degrees == degree][None], axis=-1)
        for degree in range(1, max_degree + 1)
    )
    return directions, tuple(map(np.linalg.pinv, monomials))


@jax.jit
def _terms(function: Partial, sample: Array, baseline: Array, directions: Array, solutions: tuple[Array, ...]) -> Array:
    dtype, value = sample.dtype, number_of(function, is_differentiated=True)

    def along(direction: Array) -> Array:
        line = lambda t: value(baseline + t * direction * (sample - baseline))  # noqa: E731
        return _derivative_series(line, jnp.zeros((), dtype), len(solutions))

    series = jax.vmap(along)(directions.astype(dtype))
    return jnp.concatenate([solution.astype(dtype) @ series[:, degree] for degree, solution in enumerate(solutions, 1)])


def neuron_terms(
    activation: Callable[[Array], Array], start: Array, contributions: Array, powers: np.ndarray
) -> tuple[Array, Array]:
    r"""Taylor terms of the neurons of a layer in what their inputs contribute to the sums.

    .. math:: \sigma\Bigl(y + \sum_i z_i\Bigr) =
        \sum_\kappa \sigma^{(|\kappa|)}(y) \prod_i \frac{z_i^{\kappa_i}}{\kappa_i!}

    y ``[outputs]`` are the sums at the baseline, z ``[inputs, outputs]``; the terms are ``[num_terms, outputs]``. With
    them come the terms over :math:`z_i`, ``[num_terms, inputs, outputs]``, of the inputs that are in them, which have
    their limits at zero.
    """
    max_degree, num_inputs = int(powers.sum(1).max()), powers.shape[1]
    series = _derivative_series(activation, start, max_degree)
    raised = [jnp.ones_like(contributions)]
    for _ in range(max_degree):
        raised.append(raised[-1] * contributions)
    table, each = jnp.stack(raised), np.arange(num_inputs)[None]
    factors, lowered = table[powers, each], table[np.maximum(powers - 1, 0), each]
    before = [jnp.ones_like(factors[:, 0])]
    after = [jnp.ones_like(factors[:, 0])]
    for number in range(num_inputs - 1):
        before.append(before[-1] * factors[:, number])
        after.append(after[-1] * factors[:, num_inputs - 1 - number])
    others = jnp.stack(before, axis=1) * jnp.stack(after[::-1], axis=1)
    multinomials = [math.factorial(sum(row)) / math.prod(map(math.factorial, row)) for row in powers.tolist()]
    coefficients = jnp.asarray(np.array(multinomials), start.dtype)[:, None] * series[powers.sum(1)]
    return coefficients * others[:, 0] * factors[:, 0], coefficients[:, None] * others * lowered
