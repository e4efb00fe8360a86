r"""Sparse functions of sets in closed form: their values and their Shapley and pair interactions.

Two bases: products of spins :math:`\sigma_i = \pm 1` (present, absent), whose coefficients are the Fourier or Walsh
transform, and conjunctions, 1 where all of A are present and all of B absent: with B empty these are unanimity games
and their coefficients the Möbius transform; the leaves of a decision tree are conjunctions too. Subsets are rows of
``bool[num_terms, n]``, for any n.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_array, as_floating, check_key, check_shape
from jaxrg.interactions.indices.contexts import check_order
from jaxrg.interactions.sampling.estimators import sum_products


class Terms(NamedTuple):
    """A sparse function."""

    subsets: Array  # bool[num_terms, n]
    coefficients: Array  # [num_terms]


class SparseFit(NamedTuple):
    """A recovered function and how well it predicts."""

    terms: Terms
    r_squared: Array  # share of the variance explained on coalitions that the recovery has not seen
    r_squared_error: Array  # its standard error
    num_evaluations: int  # of the game, held-out ones included


def as_terms(terms: Terms) -> Terms:
    """Terms as booleans and floats of JAX; ValueError for other shapes."""
    if not isinstance(terms, Terms):
        raise ValueError(f"terms: expected Terms of subsets and coefficients, got {type(terms).__name__}")
    subsets, coefficients = as_subsets("subsets", terms.subsets), as_floating("coefficients", terms.coefficients)
    check_shape("coefficients", coefficients, subsets.shape[:1])
    return Terms(subsets, coefficients)


def as_subsets(name: str, subsets: ArrayLike, num_players: int | None = None) -> Array:
    """Subsets or masks ``bool[num, n]``; ValueError for other types, shapes and numbers of players."""
    rows = as_array(name, subsets)
    if rows.ndim != 2 or rows.dtype != jnp.bool_ or num_players not in (None, rows.shape[1]):
        expected = "n" if num_players is None else num_players
        raise ValueError(f"{name}: expected bool[num, {expected}], got {rows.dtype}{list(rows.shape)}")
    return rows


@jax.jit
def held_out_r_squared(values: Array, predictions: Array) -> tuple[Array, Array]:
    r"""Coefficient of determination and its standard error by the delta method; nan where the values do not vary.

    .. math:: R^2 = 1 - \frac{\sum_i (v_i - \hat v_i)^2}{\sum_i (v_i - \bar v)^2}

    Example:
        >>> held_out_r_squared(jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 1.0, 2.0]))[0].item()
        1.0
    """
    errors = (values - predictions) ** 2
    deviations = (values - jnp.mean(values)) ** 2
    ratio = jnp.mean(errors) / jnp.mean(deviations)
    influences = (errors - ratio * deviations) / jnp.mean(deviations)
    return 1 - ratio, jnp.std(influences) / len(values) ** 0.5


def host_generator(key: Array) -> np.random.Generator:
    """A generator of NumPy for what runs on the host, from a typed JAX key."""
    check_key("key", key)
    return np.random.default_rng(np.asarray(_four_words(key)).tolist())


@jax.jit
def _four_words(key: Array) -> Array:
    return jax.random.bits(key, (4,))


def fit_of(
    subsets: np.ndarray, coefficients: np.ndarray, held_out: np.ndarray, predictions: ArrayLike, num_evaluations: int
) -> SparseFit:
    """What was found on the host, and how it predicts the held-out values, in the default floating type."""
    share, error = held_out_r_squared(as_floating("values", held_out), as_floating("predictions", predictions))
    terms = Terms(as_array("subsets", subsets), as_floating("coefficients", coefficients))
    return SparseFit(terms, share, error, num_evaluations)


def fourier_values(terms: Terms, masks: ArrayLike) -> Array:
    r"""Values :math:`\sum_S \hat f(S) \prod_{i \in S} \sigma_i` of masks ``bool[batch, n]``.

    Example:
        >>> pair = Terms(jnp.array([[True, True]]), jnp.array([2.0]))
        >>> fourier_values(pair, jnp.array([[True, True], [True, False]])).tolist()
        [2.0, -2.0]
    """
    found = as_terms(terms)
    return _fourier_values(found, as_subsets("masks", masks, found.subsets.shape[1]))


@jax.jit
def _fourier_values(terms: Terms, masks: Array) -> Array:
    dtype = terms.coefficients.dtype
    # The parity of absent members is the sign; counts below 2**24 are exact in float32.
    num_absent = (~masks).astype(dtype) @ terms.subsets.astype(dtype).T
    return (1 - 2 * jnp.mod(num_absent, 2)) @ terms.coefficients


def conjunction_values(terms: Terms, masks: ArrayLike, absent: ArrayLike | None = None) -> Array:
    """Values of conjunctions: those whose subset is present, and whose ``absent`` players (if given) are not.

    Example:
        >>> pair = Terms(jnp.array([[True, True]]), jnp.array([2.0]))
        >>> conjunction_values(pair, jnp.array([[True, True], [True, False]])).tolist()
        [2.0, 0.0]
    """
    found = as_terms(terms)
    return _conjunction_values(found, as_subsets("masks", masks, found.subsets.shape[1]), _as_absent(absent, found))


def _as_absent(absent: ArrayLike | None, terms: Terms) -> Array | None:
    if absent is None:
        return None
    rows = as_subsets("absent", absent)
    check_shape("absent", rows, terms.subsets.shape)
    return rows


@jax.jit
def _conjunction_values(terms: Terms, masks: Array, absent: Array | None) -> Array:
    dtype = terms.coefficients.dtype
    num_failed = (~masks).astype(dtype) @ terms.subsets.astype(dtype).T
    if absent is not None:
        num_failed = num_failed + masks.astype(dtype) @ absent.astype(dtype).T
    return (num_failed == 0).astype(dtype) @ terms.coefficients


def _beta(present: Array, absent: Array) -> Array:
    """Mean of p^a (1-p)^b over uniform p, zero for negative counts."""
    is_count = (present >= 0) & (absent >= 0)
    a, b = jnp.where(is_count, present, 0), jnp.where(is_count, absent, 0)
    log_beta = jax.lax.lgamma(a + 1) + jax.lax.lgamma(b + 1) - jax.lax.lgamma(a + b + 2)
    return jnp.where(is_count, jnp.exp(log_beta), 0)


def conjunction_interactions(terms: Terms, order: int, absent: ArrayLike | None = None) -> Array:
    r"""Shapley values (order 1) or the Shapley interaction index (order 2) of conjunctions.

    .. math:: I_K = \sum_{(A, B)} c_{AB}\, (-1)^{|K \cap B|}\, \frac{a!\, b!}{(a + b + 1)!}, \qquad
        K \subseteq A \cup B,\; a = |A \setminus K|,\; b = |B \setminus K|

    With B empty this is the closed form :math:`\sum_{T \supseteq K} I_\mathrm{and}(T) / (|T| - |K| + 1)`.

    Args:
        terms: subsets A with their coefficients.
        order: 1 for ``[n]``, 2 for ``[n, n]`` with a zero diagonal.
        absent: subsets B, disjoint of A; none by default.

    Example:
        >>> pair = Terms(jnp.array([[True, True, False]]), jnp.array([2.0]))
        >>> bool(jnp.allclose(conjunction_interactions(pair, 1), jnp.array([1.0, 1.0, 0.0])))
        True

    Reference:
        Grabisch, Marichal & Roubens, Math. Oper. Res. 25, 157 (2000).
    """
    check_order(order, 2)
    found = as_terms(terms)
    return _conjunction_interactions(found, int(order), _as_absent(absent, found))


@functools.partial(jax.jit, static_argnums=1)
def _conjunction_interactions(terms: Terms, order: int, absent: Array | None) -> Array:
    dtype, weights = terms.coefficients.dtype, terms.coefficients
    inside = terms.subsets.astype(dtype)
    outside = jnp.zeros_like(inside) if absent is None else absent.astype(dtype)
    a, b = jnp.sum(inside, axis=1), jnp.sum(outside, axis=1)
    all_present = sum_products(weights * _beta(a - order, b), inside, order)
    all_absent = sum_products(weights * _beta(a, b - order), outside, order)
    if order == 1:
        return all_present - all_absent
    mixed = inside.T @ ((weights * _beta(a - 1, b - 1))[:, None] * outside)
    return all_present + all_absent - mixed - mixed.T  # no player is both, so the diagonal stays zero


def fourier_interactions(terms: Terms, order: int) -> Array:
    r"""Shapley values (order 1) or the Shapley interaction index (order 2) from Fourier coefficients.

    .. math:: I_K = 2^{|K|} \sum_{S \supseteq K,\; |S \setminus K|\ \mathrm{even}}
        \frac{\hat f(S)}{|S \setminus K| + 1}

    Example:
        >>> pair = Terms(jnp.array([[True, True, False]]), jnp.array([2.0]))
        >>> fourier_interactions(pair, 2)[0].tolist()
        [0.0, 8.0, 0.0]

    Reference:
        Grabisch, Marichal & Roubens (2000); Kang et al., arXiv:2502.13870 (SPEX), for its use.
    """
    check_order(order, 2)
    return _fourier_interactions(as_terms(terms), int(order))


@functools.partial(jax.jit, static_argnums=1)
def _fourier_interactions(terms: Terms, order: int) -> Array:
    dtype = terms.coefficients.dtype
    inside = terms.subsets.astype(dtype)
    rest = jnp.sum(inside, axis=1) - order
    is_even = (rest >= 0) & (jnp.mod(rest, 2) == 0)
    weights = jnp.where(is_even, 2.0**order * terms.coefficients / jnp.maximum(rest + 1, 1), 0)
    return sum_products(weights, inside, order)


def _expand(terms: Terms, weight) -> Terms:
    """Sum over the subsets of every term of ``weight(size of the term, size of the subset)`` times its coefficient."""
    subsets, coefficients = map(np.asarray, as_terms(terms))
    largest = int(subsets.sum(1).max(initial=0))
    if largest > 20:
        raise ValueError(f"terms: expected subsets of at most 20 players to expand, got {largest} ({2.0**largest:.3g})")
    total: dict[tuple[int, ...], float] = {}
    for members, coefficient in zip(subsets, coefficients, strict=True):
        players = np.flatnonzero(members)
        for size in range(len(players) + 1):
            amount = float(coefficient) * weight(len(players), size)
            for subset in itertools.combinations(players.tolist(), size):
                total[subset] = total.get(subset, 0.0) + amount
    expanded = np.zeros((len(total), subsets.shape[1]), bool)
    for row, subset in enumerate(total):
        expanded[row, list(subset)] = True
    sums = np.array(list(total.values()), coefficients.dtype)
    return Terms(as_array("subsets", expanded), as_floating("coefficients", sums))


def moebius_from_fourier(terms: Terms) -> Terms:
    r"""Möbius coefficients of a sparse Fourier series.

    .. math:: I(T) = \sum_{S \supseteq T} 2^{|T|} (-1)^{|S|-|T|} \hat f(S)

    On the host, since how many there are depends on the subsets; one of more than 20 players, which has more than a
    million subsets, is refused here and in `fourier_from_moebius`.

    Example:
        >>> moebius_from_fourier(Terms(jnp.array([[True]]), jnp.array([1.0]))).coefficients.tolist()
        [-1.0, 2.0]
    """
    return _expand(terms, lambda size, part: 2.0**part * (-1.0) ** (size - part))


def fourier_from_moebius(terms: Terms) -> Terms:
    r"""Fourier coefficients of a sum of unanimity games, :math:`\hat f(S) = \sum_{T \supseteq S} 2^{-|T|} I(T)`."""
    return _expand(terms, lambda size, part: 2.0**-size)
