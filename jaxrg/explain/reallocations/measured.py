"""The shares of any attribution, read off what it does to a polynomial."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.explain.reallocations.taylor import multi_indices


class MeasuredShares(NamedTuple):
    """Shares read off an attribution without knowing how it works."""

    powers: np.ndarray  # int [num_terms, n]
    shares: np.ndarray  # [num_terms, n], NaN where the function has no such term
    misfit: float  # root mean square error of the attribution as a polynomial, relative to its own size


def measured_shares(
    attribution: Callable[[Array], Array],
    function: Callable[[Array], Array],
    sample: Array,
    baseline: Array,
    *,
    max_degree: int,
    tolerance: float = 1e-9,
) -> MeasuredShares:
    r"""Shares of a method in the terms of a polynomial, from its own definition alone.

    Both the function and its attribution are fitted by polynomials in :math:`t` on points
    :math:`b + t \circ (x - b)`; a share is the ratio of their coefficients. A method that is no re-allocation by fixed
    weights, such as LRP-αβ, is no polynomial either and shows in the misfit.

    Args:
        attribution: ``[n]`` of one input ``[n]``.
        function: polynomial of one input ``[n]``, a scalar.
        sample: x.
        baseline: b; no input equal to that of the sample.
        max_degree: of the function.
        tolerance: terms smaller than this relative to the largest have no shares.

    Example:
        >>> square = lambda x: x[0] * x[1] ** 2
        >>> euler = lambda x: x * jax.grad(square)(x)  # Gradient x Input
        >>> found = measured_shares(euler, square, jnp.ones(2), jnp.zeros(2), max_degree=3, tolerance=1e-3)
        >>> {tuple(row.tolist()): share.round(3).tolist() for row, share in zip(found.powers, found.shares)
        ...     if not np.isnan(share).any()}
        {(1, 2): [1.0, 2.0]}
    """
    powers = multi_indices(sample.shape[0], max_degree)
    places = np.random.default_rng(0).uniform(-1, 1, (4 * len(powers) + 4, sample.shape[0]))
    points = baseline[None] + jnp.asarray(places, sample.dtype) * (sample - baseline)[None]
    monomials = np.prod(places[:, None, :] ** np.insert(powers, 0, 0, axis=0)[None], axis=-1)
    values, given = (np.asarray(jax.jit(jax.vmap(one))(points)) for one in (function, attribution))
    of_function = np.linalg.lstsq(monomials, values, rcond=None)[0][1:]
    fitted = np.linalg.lstsq(monomials, given, rcond=None)[0]
    misfit = float(np.sqrt(np.mean((monomials @ fitted - given) ** 2) / np.mean(given**2)))
    is_there = np.abs(of_function) > tolerance * np.abs(of_function).max()
    ratios = np.where(is_there[:, None], fitted[1:] / np.where(is_there, of_function, 1.0)[:, None], np.nan)
    return MeasuredShares(powers, ratios, misfit)
