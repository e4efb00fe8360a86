r"""What every estimator is: a design of masks and an estimate from their values, both pure functions.

An index is an average of discrete derivatives

.. math:: \Delta_K v(T) = \sum_{W \subseteq K} (-1)^{|K|-|W|} v(T \cup W)

over sets T outside K, uniform at given size; the probability of each size is all that tells the indices apart: uniform
for Shapley values and the Shapley interaction index (Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999)), binomial
for those of Banzhaf, falling for Shapley-Taylor.

All estimators take the number of players n, and the evaluations of the game they may spend at most, ``budget``; some
the memory they may take, ``max_bytes``. A budget too small, or beyond the memory, is refused with both figures.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import check_count
from jaxrg.interactions.games import Game, bytes_per_mask, check_game, check_values
from jaxrg.tables import MAX_BYTES


class Estimate(NamedTuple):
    """Estimated interactions of one order."""

    values: Array  # [n] of single players; [n, n] of pairs, symmetric with a zero diagonal
    standard_error: Array  # of the same shape, of sampling alone; zero where nothing was sampled


class Estimator(NamedTuple):
    """A design and an estimate; both can be jitted and vmapped, and the game in between need not be a JAX function."""

    design: Callable[[Array], Array]  # masks bool[num_masks, n] = design(key), first the empty and the full coalition
    estimate: Callable[[Any, Any], Any]  # estimate(masks, values), with the game's values[num_masks]
    num_masks: int  # evaluations of the game, at most the budget


def estimator_of(design: Callable, estimate_fn: Callable, num_masks: int) -> Estimator:
    """An estimator that takes NumPy's arrays too, and refuses values of another shape, NaN and infinity."""

    def checked(masks: ArrayLike, values: ArrayLike) -> Any:
        masks, values = jnp.asarray(masks), jnp.asarray(values)
        check_values(values, num_masks)
        return estimate_fn(masks, values)

    return Estimator(design, checked, num_masks)


def estimate(
    key: Array, estimator: Estimator, game: Game, *, chunk_size: int | None = None, max_bytes: int = MAX_BYTES
) -> Any:
    """Design, play and estimate with a JAX game; ``jit`` or ``vmap`` it over keys or what the game is closed over.

    A game on the host is played between the two functions::

        masks = jax.jit(estimator.design)(key)
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
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
    masks = estimator.design(key)
    num_masks, num_players = masks.shape
    if check_game(game) != num_players:
        raise ValueError(f"game: expected the {num_players} players of the estimator, got {game.num_players}")
    check_values(jax.eval_shape(game, jax.ShapeDtypeStruct(masks.shape, masks.dtype)), num_masks)
    size = min(max(max_bytes // bytes_per_mask(game), 1) if chunk_size is None else chunk_size, num_masks)
    if size == num_masks:
        return estimator.estimate(masks, game(masks))
    # The last chunk is what is left, so that no mask is played twice.
    num_whole = num_masks // size * size
    values = jax.lax.map(game, masks[:num_whole].reshape(-1, size, num_players)).reshape(-1)
    rest = [game(masks[num_whole:])] if num_whole < num_masks else []
    return estimator.estimate(masks, jnp.concatenate([values, *rest]))


def check_budget(num_players: int, budget: int, minimum: int, purpose: str) -> None:
    """Raise ValueError unless the budget pays for the smallest design."""
    check_count("num_players", num_players, minimum=3)
    check_count("budget", budget)
    if budget < minimum:
        raise ValueError(
            f"budget: expected at least {minimum:,} evaluations for {purpose} of {num_players} players, got {budget:,}"
        )


def shapley_sizes(num_players: int, order: int) -> np.ndarray:
    """Probability of each size of T in the Shapley value (order 1) or the Shapley interaction index: uniform.

    Example:
        >>> shapley_sizes(4, 2).tolist() == [1 / 3, 1 / 3, 1 / 3]
        True
    """
    return np.full(num_players - order + 1, 1.0 / (num_players - order + 1))


def banzhaf_sizes(num_players: int, order: int) -> np.ndarray:
    """Probability of each size of T in the Banzhaf value or interaction index: binomial, every T alike."""
    rest = num_players - order
    return np.array([math.comb(rest, size) / 2**rest for size in range(rest + 1)])


def shapley_taylor_sizes(num_players: int, order: int) -> np.ndarray:
    r"""Probability of each size of T in the Shapley-Taylor index at its highest order.

    .. math:: q_t = \frac{k}{n} \binom{n-k}{t} \Big/ \binom{n-1}{t}

    Reference:
        Sundararajan, Dhamdhere & Agarwal, ICML 2020, arXiv:1902.05622.
    """
    n, rest = num_players, num_players - order
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
