r"""What every estimator is: a design of masks and an estimate from their values, both pure functions.

An index is an average of discrete derivatives

.. math:: \Delta_K v(T) = \sum_{W \subseteq K} (-1)^{|K|-|W|} v(T \cup W)

over sets T outside K, uniform at given size; the probability of each size is all that tells the indices apart: uniform
for Shapley values and the Shapley interaction index (Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999)), binomial
for those of Banzhaf, falling for Shapley-Taylor.

All estimators take the number of players n, and the evaluations of the game they may spend at most, ``budget``; some
the memory they may take, ``max_bytes``. A budget too small, or beyond the memory, is refused with both figures. One
that pays for all coalitions is spent on them, each once, and the estimate is the exact index, with an error of zero; of
one or two players nothing less will do. An estimator of the same arguments is the same object, so that nothing compiles
twice.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_array, as_count, as_floating, check_key, check_shape
from jaxrg.interactions.games import Game, as_game, bytes_per_mask, check_finite, check_values, count_bad, output_of
from jaxrg.interactions.indices.contexts import sums_of_derivatives
from jaxrg.tables import MAX_BITS, MAX_BYTES, bits_of


class Estimate(NamedTuple):
    """Estimated interactions of one order."""

    values: Array  # [n] of single players; [n, n] of pairs, symmetric with a zero diagonal
    standard_error: Array  # of the same shape, of sampling alone; zero where nothing was sampled


class Estimator(NamedTuple):
    """A design and an estimate; both are compiled and can be vmapped, and the game in between need not be of JAX."""

    design: Callable[[Array], Array]  # masks bool[num_masks, n] = design(key), first the empty and the full coalition
    estimate: Callable[[Any, Any], Any]  # estimate(masks, values), with the game's values[num_masks]
    num_masks: int  # evaluations of the game, at most the budget


def estimator_of(design: Callable, estimate_fn: Callable, num_masks: int) -> Estimator:
    """An estimator that takes NumPy's arrays too, and refuses values of another shape, NaN and infinity."""
    compiled_design, compiled_estimate = jax.jit(design), jax.jit(_precise(estimate_fn))

    def checked_design(key: Array) -> Array:
        check_key("key", key)
        return compiled_design(key)

    def checked(masks: ArrayLike, values: ArrayLike) -> Any:
        played, given = as_array("masks", masks), as_array("values", values)
        check_values(given, num_masks)
        check_shape("masks", played, (num_masks, played.shape[-1] if played.ndim else 0))
        if played.dtype != jnp.bool_:
            raise ValueError(f"masks: expected booleans, as the design gives them, got {played.dtype}")
        return compiled_estimate(played, as_floating("values", given))

    return Estimator(checked_design, checked, num_masks)


def _precise(estimate_fn: Callable) -> Callable:
    """Products of float32 as float32, which accelerators shorten if they may."""

    def precise(masks: Array, values: Array) -> Any:
        with jax.default_matmul_precision("highest"):
            return estimate_fn(masks, values)

    return precise


def estimate(
    key: Array, estimator: Estimator, game: Game, *, chunk_size: int | None = None, max_bytes: int = MAX_BYTES
) -> Any:
    """Design, play and estimate with a JAX game; ``jit`` or ``vmap`` it over keys or what the game is closed over.

    A game on the host is played between the two functions::

        masks = estimator.design(key)
        result = estimator.estimate(masks, game(np.asarray(masks)))

    Args:
        key: typed JAX key.
        estimator: any of this package, for the players of the game.
        game: of JAX arrays.
        chunk_size: masks a batch; by default as many as fit the memory.
        max_bytes: for the intermediate arrays of the game on one batch, of each lane of a ``vmap``.

    Returns:
        What the estimator's ``estimate`` returns.
    """
    check_key("key", key)
    if not isinstance(estimator, Estimator):
        raise ValueError(f"estimator: expected an Estimator of this package, got {type(estimator).__name__}")
    size = None if chunk_size is None else as_count("chunk_size", chunk_size)
    result, bad = _estimate(key, as_game(game), estimator, size, max_bytes)
    check_finite(bad, estimator.num_masks)
    return result


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _estimate(
    key: Array, game: Game, estimator: Estimator, chunk_size: int | None, max_bytes: int
) -> tuple[Any, tuple[Array, Array]]:
    masks = estimator.design(key)
    num_masks, num_players = masks.shape
    if game.num_players != num_players:
        raise ValueError(f"game: expected the {num_players} players of the estimator, got {game.num_players}")
    output_of(game, num_masks)
    size = min(max(max_bytes // bytes_per_mask(game), 1) if chunk_size is None else chunk_size, num_masks)
    if size == num_masks:
        values = game(masks)
    else:  # the last chunk is what is left, so that no mask is played twice
        num_whole = num_masks // size * size
        values = jax.lax.map(game, masks[:num_whole].reshape(-1, size, num_players)).reshape(-1)
        rest = [game(masks[num_whole:])] if num_whole < num_masks else []
        values = jnp.concatenate([values, *rest])
    return estimator.estimate(masks, values), count_bad(values)


def pays_for_all(num_players: int, budget: int, minimum: int, purpose: str) -> bool:
    """Whether the budget pays for every coalition; ValueError if it does not pay for the smallest design either."""
    everything = 2**num_players
    if num_players <= MAX_BITS and budget >= everything:
        return True
    least = everything if num_players <= 2 else min(minimum, everything)
    if budget < least:
        what = "all coalitions" if least == everything else purpose
        raise ValueError(
            f"budget: expected at least {least:,} evaluations for {what} of {num_players} players, got {budget:,}"
        )
    return False


def enumerated(num_players: int, sizes: np.ndarray, max_bytes: int) -> Estimator:
    """Every coalition once and the exact index of these probabilities of sizes, with an error of zero."""
    n, order = num_players, num_players - len(sizes) + 1
    weights = sizes / np.array([float(math.comb(n - order, size)) for size in range(len(sizes))])

    def places() -> Array:
        middle = jnp.arange(1, max(2**n - 1, 1), dtype=jnp.int32)
        return jnp.concatenate([jnp.array([0, 2**n - 1], jnp.int32), middle])

    def design(key: Array) -> Array:
        return bits_of(places(), n)

    def estimate_all(masks: Array, values: Array) -> Estimate:
        bits = jnp.asarray(1 << np.arange(n), jnp.int32)
        table = jnp.zeros_like(values).at[masks.astype(jnp.int32) @ bits].set(values)
        num_found = math.comb(n, order)
        sums = sums_of_derivatives(table, order, max_bytes)[-num_found:, : len(sizes)]
        found = sums @ jnp.asarray(weights, values.dtype)
        if order == 2:
            found = as_matrix(found, n)
        return Estimate(found, jnp.zeros_like(found))

    return estimator_of(design, estimate_all, 2**n)


def as_matrix(of_pairs: Array, num_players: int) -> Array:
    """A symmetric matrix ``[n, n]`` with a zero diagonal from its entries ``[n (n - 1) / 2]`` above it, row by row."""
    upper = jnp.zeros((num_players, num_players), of_pairs.dtype).at[np.triu_indices(num_players, 1)].set(of_pairs)
    return upper + upper.T


def shapley_sizes(num_players: int, order: int) -> np.ndarray:
    """Probability of each size of T in the Shapley value (order 1) or the Shapley interaction index: uniform.

    Example:
        >>> shapley_sizes(4, 2).tolist() == [1 / 3, 1 / 3, 1 / 3]
        True
    """
    count = _num_others(num_players, order) + 1
    return np.full(count, 1.0 / count)


def _num_others(num_players: int, order: int) -> int:
    n, k = as_count("num_players", num_players), as_count("order", order)
    if k > n:
        raise ValueError(f"order: expected at most the {n} players, got {k}")
    return n - k


def banzhaf_sizes(num_players: int, order: int) -> np.ndarray:
    """Probability of each size of T in the Banzhaf value or interaction index: binomial, every T alike."""
    rest = _num_others(num_players, order)
    return np.array([math.comb(rest, size) / 2**rest for size in range(rest + 1)])


def shapley_taylor_sizes(num_players: int, order: int) -> np.ndarray:
    r"""Probability of each size of T in the Shapley-Taylor index at its highest order.

    .. math:: q_t = \frac{k}{n} \binom{n-k}{t} \Big/ \binom{n-1}{t}

    Reference:
        Sundararajan, Dhamdhere & Agarwal, ICML 2020, arXiv:1902.05622.
    """
    rest = _num_others(num_players, order)
    n = int(num_players)
    # One division of integers, which has no range: the binomials alone leave that of floats beyond a thousand players.
    return np.array([order * math.comb(rest, t) / (n * math.comb(n - 1, t)) for t in range(rest + 1)])


def random_order(key: Array, num_rows: int, num_players: int) -> Array:
    """Independent uniform permutations, ``int32[num_rows, n]``."""
    return jnp.argsort(jax.random.bits(key, (num_rows, num_players)), axis=-1).astype(jnp.int32)


def with_ends(masks: Array) -> Array:
    """The empty and the full coalition, then the masks ``[..., n]``, ``bool[num, n]``."""
    n = masks.shape[-1]
    ends = jnp.broadcast_to(jnp.array([[False], [True]]), (2, n))
    return jnp.concatenate([ends, masks.reshape(-1, n)])


def as_pairs(values: Array) -> Array:
    """Values ``[n]`` as they are, and a matrix of pairs ``[n, n]`` with its diagonal set to zero."""
    return values if values.ndim == 1 else jnp.where(jnp.eye(len(values), dtype=jnp.bool_), 0, values)


def sum_products(weights: Array, features: Array, order: int) -> Array:
    r"""Of features ``[num, n]``, :math:`\sum_m w_m \prod_{i \in K} x_{mi}` of all players or pairs K."""
    products = weights @ features if order == 1 else features.T @ (weights[:, None] * features)
    return as_pairs(products)
