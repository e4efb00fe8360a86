r"""Taylor interactions: the terms of an expansion about a baseline, sorted by the inputs they involve.

.. math:: f(x) = f(b) + \sum_\kappa I(\kappa), \qquad
    I(\kappa) = \frac{1}{\kappa!} \frac{\partial^{|\kappa|} f(b)}{\partial x^\kappa} (x - b)^\kappa

A term of one input is its independent effect, one of several an interaction; those of the same inputs sum to a Harsanyi
interaction (`interactions.harsanyi`) where the series converges, and exactly so on polynomials.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import check_count
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
    check_count("num_variables", num_variables)
    if not 1 <= max_degree <= MAX_DEGREE:
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


def taylor_terms(function: Callable[[Array], Array], sample: Array, baseline: Array, *, max_degree: int) -> TaylorTerms:
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
    if sample.ndim != 1 or baseline.shape != sample.shape:
        raise ValueError(f"baseline: expected the sample's shape [n], got {baseline.shape} and {sample.shape}")
    powers, dtype = multi_indices(sample.shape[0], max_degree), sample.dtype
    degrees = powers.sum(1)
    directions = powers[degrees == max_degree] / max_degree

    def along(direction: Array) -> Array:
        line = lambda t: function(baseline + t * direction * (sample - baseline))  # noqa: E731
        return _derivative_series(line, jnp.zeros((), dtype), max_degree)

    series = jax.vmap(along)(jnp.asarray(directions, dtype))
    values = []
    for degree in range(1, max_degree + 1):
        monomials = np.prod(directions[:, None, :] ** powers[degrees == degree][None], axis=-1)
        values.append(jnp.asarray(np.linalg.pinv(monomials), dtype) @ series[:, degree])
    return TaylorTerms(powers, jnp.concatenate(values))


def neuron_terms(activation: Callable[[Array], Array], start: Array, contributions: Array, powers: np.ndarray) -> Array:
    r"""Taylor terms of the neurons of a layer in what their inputs contribute to the sums.

    .. math:: \sigma\Bigl(y + \sum_i z_i\Bigr) =
        \sum_\kappa \sigma^{(|\kappa|)}(y) \prod_i \frac{z_i^{\kappa_i}}{\kappa_i!}

    y ``[outputs]`` are the sums at the baseline, z ``[inputs, outputs]``; the terms are ``[num_terms, outputs]``.
    """
    max_degree = int(powers.sum(1).max())
    series = _derivative_series(activation, start, max_degree)
    raised = [jnp.ones_like(contributions)]
    for _ in range(max_degree):
        raised.append(raised[-1] * contributions)
    monomials = jnp.prod(jnp.stack(raised)[powers, np.arange(powers.shape[1])[None]], axis=1)
    multinomials = [math.factorial(sum(row)) / math.prod(map(math.factorial, row)) for row in powers.tolist()]
    return jnp.asarray(np.array(multinomials), start.dtype)[:, None] * series[powers.sum(1)] * monomials
