r"""Shares: who gets how much of an interaction, and how to read them off any attribution.

Those of whole functions are ``[num_terms, n]`` and depend on the exponents κ ``[num_terms, n]`` only; those of a neuron
may also depend on what its inputs contribute to its sum (`NeuronShares`).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.explain.reallocations.taylor import TaylorTerms, multi_indices

NeuronShares: TypeAlias = Callable[[np.ndarray, Array], Array]
"""``shares[num_terms, inputs, outputs or 1] = shares(powers[num_terms, inputs], contributions[inputs, outputs])``."""


def first_order_shares(powers: np.ndarray) -> np.ndarray:
    """Gradient × Input about the sample itself: each input keeps its first-order term, all else is dropped."""
    return np.where(powers.sum(1, keepdims=True) == 1, powers, 0).astype(float)


def gradient_shares(powers: np.ndarray) -> np.ndarray:
    r"""Gradient × Input about the baseline: :math:`w_{i\kappa} = \kappa_i`, by Euler's theorem on homogeneous terms."""
    return powers.astype(float)


def occlusion_shares(powers: np.ndarray) -> np.ndarray:
    """Occlusion-1 and prediction difference: every input of an interaction takes all of it."""
    return (powers > 0).astype(float)


def patch_shares(powers: np.ndarray, assignment: np.ndarray) -> np.ndarray:
    """Occlusion-patch: every entry of a patch takes all of each interaction that any of its entries is in."""
    same_patch = assignment[:, None] == assignment[None]
    return ((powers > 0) @ same_patch > 0).astype(float)


def shapley_shares(powers: np.ndarray) -> np.ndarray:
    r"""Shapley values and, of neurons, Deep SHAP: :math:`w_{i\kappa} = 1[\kappa_i > 0]/|S_\kappa|`."""
    is_member = powers > 0
    return is_member / is_member.sum(1, keepdims=True)


def integrated_shares(powers: np.ndarray) -> np.ndarray:
    r"""Integrated and expected gradients and, of neurons, DeepLIFT's rescale rule and LRP:
    :math:`w_{i\kappa} = \kappa_i/|\kappa|`."""
    return powers / powers.sum(1, keepdims=True)


def fixed_shares(shares: Callable[[np.ndarray], np.ndarray]) -> NeuronShares:
    """Shares that depend on the exponents only, for the neurons of a layer."""
    return lambda powers, contributions: jnp.asarray(shares(powers), contributions.dtype)[..., None]


def _within(powers: np.ndarray, contributions: Array, is_inside: Array) -> tuple[Array, Array]:
    """Degree of each term inside a group ``[terms, 1, outputs]``, and the shares of the group's members if they take
    all: by degree, or by contribution where the term does not involve the group."""
    exponents = jnp.where(is_inside[None], jnp.asarray(powers, contributions.dtype)[..., None], 0)
    degree = jnp.sum(exponents, axis=1, keepdims=True)
    inside = jnp.where(is_inside, contributions, 0)
    by_contribution = safe_divide(inside, jnp.sum(inside, axis=0, keepdims=True))[None]
    return degree, jnp.where(degree > 0, safe_divide(exponents, degree), by_contribution)


def epsilon_shares(epsilon: float = 0.0) -> NeuronShares:
    r"""LRP-ε: :math:`w_{i\kappa} = \frac{\kappa_i}{|\kappa|} \frac{y}{y + \epsilon\,\mathrm{sign}(y)}`, the bias being
    an input that keeps its share."""

    def shares(powers: np.ndarray, contributions: Array) -> Array:
        sums = jnp.sum(contributions, axis=0)
        kept = safe_divide(sums, sums + jnp.where(sums >= 0, epsilon, -epsilon)).reshape(1, 1, -1)
        return fixed_shares(integrated_shares)(powers, contributions) * kept

    return shares


def alpha_beta_shares(alpha: float = 2.0, beta: float = -1.0) -> NeuronShares:
    r"""LRP-αβ: inputs that push the sum up share α of every term, those that push it down β, by their exponents in it;
    terms without any of them too, and then by their contributions."""

    def shares(powers: np.ndarray, contributions: Array) -> Array:
        up, down = (_within(powers, contributions, sign * contributions > 0)[1] for sign in (1, -1))
        return alpha * up + beta * down

    return shares


def deep_taylor_shares(powers: np.ndarray, contributions: Array) -> Array:
    """Deep Taylor's z⁺ rule: inputs that push the sum up share every term; the bias, last, none."""
    is_input = jnp.arange(contributions.shape[0]).reshape(-1, 1) < contributions.shape[0] - 1
    return _within(powers, contributions, (contributions > 0) & is_input)[1]


def reveal_cancel_shares(powers: np.ndarray, contributions: Array) -> Array:
    r"""DeepLIFT's RevealCancel: :math:`w_{i\kappa} = \kappa_i/|\kappa_\pm|` within the positive or the negative inputs,
    halved for terms that involve both."""
    degree_up, up = _within(powers, contributions, contributions > 0)
    degree_down, down = _within(powers, contributions, contributions < 0)
    half = jnp.where((degree_up > 0) & (degree_down > 0), 0.5, 1.0)
    return half * (jnp.where(degree_up > 0, up, 0) + jnp.where(degree_down > 0, down, 0))


def reallocate(terms: TaylorTerms, shares: np.ndarray | Array) -> Array:
    r"""Attributions :math:`a_i = \sum_\kappa w_{i\kappa} I(\kappa)` of a whole function.

    Args:
        terms: interactions; for Harsanyi dividends, ``powers`` are the masks as integers.
        shares: ``[num_terms, n]``.

    Raises:
        ValueError: shares of another shape.

    Example:
        >>> terms = TaylorTerms(np.array([[1, 2]]), jnp.array([3.0]))
        >>> reallocate(terms, integrated_shares(terms.powers)).tolist()
        [1.0, 2.0]
    """
    if shares.shape != terms.powers.shape:
        raise ValueError(f"shares: expected shape {terms.powers.shape}, got {shares.shape}")
    return terms.values @ jnp.asarray(shares, terms.values.dtype)


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
        function: polynomial of one input ``[n]`` of degree ``max_degree``, a scalar.
        sample: x.
        baseline: b; no input equal to that of the sample.
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
