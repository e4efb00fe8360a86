r"""Shares: who gets how much of an interaction, and how to read them off any attribution.

Those of whole functions are ``[num_terms, n]`` and depend on the exponents κ ``[num_terms, n]`` only; those of a neuron
may also depend on what its inputs contribute to its sum (`NeuronShares`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from jaxrg.base import safe_divide
from jaxrg.checks import as_floating, as_floating_alike, check_function, check_number
from jaxrg.closures import as_partial
from jaxrg.explain.attributions.attribution import Attribution, as_function, as_inputs, number_of
from jaxrg.explain.reallocations.taylor import TaylorTerms, multi_indices
from jaxrg.interactions import num_players_of

NeuronShares: TypeAlias = Callable[[np.ndarray, Array], Array]
"""``shares[num_terms, inputs, outputs or 1] = shares(powers[num_terms, inputs], contributions[inputs, outputs])``."""


def _as_powers(powers: Any) -> np.ndarray:
    """Exponents of terms as integers ``[num_terms, n]``, none of them constant."""
    host = np.asarray(powers)
    if host.ndim != 2 or not np.issubdtype(host.dtype, np.integer) or (host < 0).any() or not host.any(axis=1).all():
        raise ValueError(
            f"powers: expected exponents int[num_terms, n], none negative and no row of zeros, got {host.dtype}"
            f"{list(host.shape)}"
        )
    return host


def first_order_shares(powers: np.ndarray) -> np.ndarray:
    """Gradient × Input about the sample itself: each input keeps its first-order term, all else is dropped."""
    powers = _as_powers(powers)
    return np.where(powers.sum(1, keepdims=True) == 1, powers, 0).astype(float)


def gradient_shares(powers: np.ndarray) -> np.ndarray:
    r"""Gradient × Input about the baseline: :math:`w_{i\kappa} = \kappa_i`, by Euler's theorem on homogeneous terms."""
    return _as_powers(powers).astype(float)


def occlusion_shares(powers: np.ndarray) -> np.ndarray:
    """Occlusion-1 and prediction difference: every input of an interaction takes all of it."""
    return (_as_powers(powers) > 0).astype(float)


def patch_shares(powers: np.ndarray, assignment: np.ndarray) -> np.ndarray:
    """Occlusion-patch: every entry of a patch takes all of each interaction that any of its entries is in."""
    powers, patches = _as_powers(powers), np.asarray(assignment)
    if patches.shape != powers.shape[1:]:
        raise ValueError(f"assignment: expected shape {powers.shape[1:]}, a patch for each input, got {patches.shape}")
    num_players_of(patches)
    same_patch = (patches[:, None] == patches[None]) & (patches >= 0)
    return ((powers > 0) @ same_patch > 0).astype(float)


def shapley_shares(powers: np.ndarray) -> np.ndarray:
    r"""Shapley values and, of neurons, Deep SHAP: :math:`w_{i\kappa} = 1[\kappa_i > 0]/|S_\kappa|`."""
    is_member = _as_powers(powers) > 0
    return is_member / is_member.sum(1, keepdims=True)


def integrated_shares(powers: np.ndarray) -> np.ndarray:
    r"""Integrated and expected gradients and, of neurons, DeepLIFT's rescale rule and LRP:
    :math:`w_{i\kappa} = \kappa_i/|\kappa|`."""
    powers = _as_powers(powers)
    return powers / powers.sum(1, keepdims=True)


def fixed_shares(shares: Callable[[np.ndarray], np.ndarray]) -> NeuronShares:
    """Shares that depend on the exponents only, for the neurons of a layer."""
    check_function("shares", shares, of="powers")
    return functools.partial(_fixed, shares)


def _fixed(shares: Callable[[np.ndarray], np.ndarray], powers: np.ndarray, contributions: Array) -> Array:
    return jnp.asarray(shares(powers), contributions.dtype)[..., None]


def _of_neurons(powers: Any, contributions: Any) -> tuple[np.ndarray, Array]:
    """Exponents and what the inputs contribute, ``[inputs, outputs]``, after the checks."""
    exponents, given = _as_powers(powers), as_floating("contributions", contributions)
    if given.ndim != 2 or given.shape[0] != exponents.shape[1]:
        raise ValueError(f"contributions: expected [{exponents.shape[1]}, outputs], got shape {tuple(given.shape)}")
    return exponents, given


def _unless_nan(shares: Array, contributions: Array) -> Array:
    """Who pushes which way is not known of a neuron with a contribution of NaN."""
    return jnp.where(jnp.any(jnp.isnan(contributions), axis=0), jnp.nan, shares)


def _within(powers: Array | np.ndarray, contributions: Array, is_inside: Array) -> Array:
    """Shares ``[terms, inputs, outputs]`` of a group's members if they take all: by degree, or by contribution where
    the term does not involve the group."""
    exponents = jnp.where(is_inside[None], powers.astype(contributions.dtype)[..., None], 0)
    degree = jnp.sum(exponents, axis=1, keepdims=True)
    inside = jnp.where(is_inside, contributions, 0)
    by_contribution = safe_divide(inside, jnp.sum(inside, axis=0, keepdims=True))[None]
    return _unless_nan(jnp.where(degree > 0, safe_divide(exponents, degree), by_contribution), contributions)


def epsilon_shares(epsilon: float = 0.0) -> NeuronShares:
    r"""LRP-ε: :math:`w_{i\kappa} = \frac{\kappa_i}{|\kappa|} \frac{y}{y + \epsilon\,\mathrm{sign}(y)}`, the bias being
    an input that keeps its share."""

    check_number("epsilon", epsilon)
    if not float(epsilon) >= 0:
        raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon}")
    return functools.partial(_epsilon_shares, as_floating("epsilon", epsilon))


def _epsilon_shares(epsilon: Array, powers: np.ndarray, contributions: Array) -> Array:
    sums, epsilon = jnp.sum(contributions, axis=0), epsilon.astype(contributions.dtype)
    stable = sums + jnp.where(sums >= 0, epsilon, -epsilon)
    # Without ε all is kept, also of a sum that is zero.
    kept = jnp.where(stable == 0, 1, sums / jnp.where(stable == 0, 1, stable)).reshape(1, 1, -1)
    return _fixed(integrated_shares, powers, contributions) * kept


def alpha_beta_shares(alpha: float = 2.0, beta: float = -1.0) -> NeuronShares:
    r"""LRP-αβ: inputs that push the sum up share α of every term, those that push it down β, by their exponents in it;
    terms without any of them too, and then by their contributions."""

    parts = []
    for name, value in (("alpha", alpha), ("beta", beta)):
        check_number(name, value)
        parts.append(as_floating(name, value))
    return functools.partial(_alpha_beta_shares, *parts)


def _alpha_beta_shares(alpha: Array, beta: Array, powers: np.ndarray, contributions: Array) -> Array:
    up, down = (_within(powers, contributions, sign * contributions > 0) for sign in (1, -1))
    return alpha.astype(up.dtype) * up + beta.astype(up.dtype) * down


def deep_taylor_shares(powers: np.ndarray, contributions: Array) -> Array:
    """Deep Taylor's z⁺ rule: inputs that push the sum up share every term; the bias, last, none."""
    return _deep_taylor_shares(*_of_neurons(powers, contributions))


@jax.jit
def _deep_taylor_shares(powers: Array, contributions: Array) -> Array:
    is_input = jnp.arange(contributions.shape[0]).reshape(-1, 1) < contributions.shape[0] - 1
    return _within(powers, contributions, (contributions > 0) & is_input)


def reveal_cancel_shares(powers: np.ndarray, contributions: Array) -> Array:
    r"""DeepLIFT's RevealCancel: :math:`w_{i\kappa} = \kappa_i/|\kappa_\pm|` within the positive or the negative inputs,
    halved for terms that involve both; an input that contributes zero has the mean of its share in either."""
    return _reveal_cancel_shares(*_of_neurons(powers, contributions))


@jax.jit
def _reveal_cancel_shares(powers: Array, contributions: Array) -> Array:
    exponents = powers.astype(contributions.dtype)[..., None]
    inside = (contributions > 0)[None], (contributions < 0)[None]
    degrees = [jnp.sum(jnp.where(side, exponents, 0), axis=1, keepdims=True) for side in inside]
    up, down = (
        jnp.where(other > 0, 0.5, 1.0) * safe_divide(exponents, jnp.where(side, degree, degree + exponents))
        for side, degree, other in zip(inside, degrees, degrees[::-1], strict=True)
    )
    return _unless_nan(jnp.where(inside[0], up, jnp.where(inside[1], down, 0.5 * (up + down))), contributions)


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
    values, weights = as_floating_alike(values=terms.values, shares=shares)
    if weights.shape != np.shape(terms.powers):
        raise ValueError(f"shares: expected shape {np.shape(terms.powers)}, got {weights.shape}")
    if values.shape != weights.shape[:1]:
        raise ValueError(f"terms.values: expected shape {weights.shape[:1]}, got {values.shape}")
    return _sum_of_shares(values, weights)


_sum_of_shares = jax.jit(jnp.matmul)


class MeasuredShares(NamedTuple):
    """Shares read off an attribution without knowing how it works."""

    powers: np.ndarray  # int [num_terms, n]
    shares: np.ndarray  # [num_terms, n], NaN where the function has no such term
    misfit: float  # root mean square error of the attribution as a polynomial, relative to its own size


def measured_shares(
    attribution: Callable[[Array], Attribution | Array],
    function: Callable[[Array], Array],
    sample: ArrayLike,
    baseline: ArrayLike,
    *,
    max_degree: int,
    tolerance: float = 1e-9,
) -> MeasuredShares:
    r"""Shares of a method in the terms of a polynomial, from its own definition alone.

    Both the function and its attribution are fitted by polynomials in :math:`t` on points
    :math:`b + t \circ (x - b)`; a share is the ratio of their coefficients. A method that is no re-allocation by fixed
    weights, such as LRP-αβ, is no polynomial either and shows in the misfit.

    Args:
        attribution: an `Attribution`, or its values ``[n]``, of one input ``[n]``.
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
    check_function("attribution", attribution, of="one input")
    check_number("tolerance", tolerance, above=0)
    sample, baseline = as_inputs(sample, baseline=baseline)
    powers = multi_indices(sample.shape[0], max_degree)
    places = np.random.default_rng(0).uniform(-1, 1, (4 * len(powers) + 4, sample.shape[0]))
    monomials = np.prod(places[:, None, :] ** np.insert(powers, 0, 0, axis=0)[None], axis=-1)
    found = _on_a_line(as_function(function), as_partial(attribution), sample, baseline, places)
    values, given = (np.asarray(part, np.float64) for part in found)
    if given.shape != places.shape:
        raise ValueError(f"attribution: expected values of shape {sample.shape}, got {given.shape[1:]}")
    if not (np.isfinite(values).all() and np.isfinite(given).all()):
        raise ValueError("function: expected finite values and attributions between baseline and sample, got others")
    of_function = np.linalg.lstsq(monomials, values, rcond=None)[0][1:]
    fitted = np.linalg.lstsq(monomials, given, rcond=None)[0]
    misfit = float(np.sqrt(np.mean((monomials @ fitted - given) ** 2) / np.mean(given**2)))
    is_there = np.abs(of_function) > tolerance * np.abs(of_function).max()
    ratios = np.where(is_there[:, None], fitted[1:] / np.where(is_there, of_function, 1.0)[:, None], np.nan)
    return MeasuredShares(powers, ratios, misfit)


@jax.jit
def _on_a_line(
    function: Partial, attribution: Partial, sample: Array, baseline: Array, places: Array
) -> tuple[Array, Array]:
    """Values and attributions on points around the baseline."""
    points = baseline[None] + places.astype(sample.dtype) * (sample - baseline)[None]

    def given(point: Array) -> Array:
        found = attribution(point)
        return found.values if isinstance(found, Attribution) else as_floating("attribution", found)

    return jax.vmap(number_of(function))(points), jax.vmap(given)(points)
