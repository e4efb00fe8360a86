r"""What every estimator is: a design of masks and an estimate from their values, both pure functions.

An index is an average of discrete derivatives

.. math:: \Delta_K v(T) = \sum_{W \subseteq K} (-1)^{|K|-|W|} v(T \cup W)

over sets T outside K, uniform at given size; the probability of each size is all that tells the indices apart: uniform
for Shapley values and the Shapley interaction index, binomial for Banzhaf, falling for Shapley-Taylor.

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

from jaxrg.base import check_count, safe_divide
from jaxrg.interactions.games import Game, bytes_per_mask, check_values
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
    """An estimator that takes arrays of NumPy too, and refuses values of another shape, NaN and infinity."""

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
        game: from `jaxrg.interactions.game` or `masked_game`.
        chunk_size: masks a batch; by default as many as fit the budget.
        max_bytes: for the intermediate arrays of the game on one batch, of each lane of a ``vmap``.

    Returns:
        What the estimator's ``estimate`` returns.

    Raises:
        ValueError: a game of other players or values; NaN or infinity, which cannot be seen while values are traced.
    """
    if chunk_size is not None:
        check_count("chunk_size", chunk_size)
    masks = estimator.design(key)
    num_masks, num_players = masks.shape
    if game.num_players != num_players:
        raise ValueError(f"game: expected the {num_players} players of the estimator, got {game.num_players}")
    check_values(jax.eval_shape(game, jax.ShapeDtypeStruct(masks.shape, masks.dtype)), num_masks)
    size = max(max_bytes // bytes_per_mask(game), 1) if chunk_size is None else chunk_size
    return estimator.estimate(masks, _play(game, masks, min(size, num_masks)))


def _play(game: Game, masks: Array, chunk_size: int) -> Array:
    """Values of all masks, a chunk at a time; the last chunk is what is left, so that no mask is played twice."""
    num_masks, num_players = masks.shape
    if num_masks == chunk_size:
        return game(masks)
    num_whole = num_masks // chunk_size
    whole = masks[: num_whole * chunk_size].reshape(num_whole, chunk_size, num_players)
    values = jax.lax.map(game, whole).reshape(-1)
    rest = masks[num_whole * chunk_size :]
    return jnp.concatenate([values, game(rest)]) if len(rest) else values


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

    Reference:
        Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999).
    """
    return np.full(num_players - order + 1, 1.0 / (num_players - order + 1))


def banzhaf_sizes(num_players: int, order: int) -> np.ndarray:
    """Probability of each size of T in the Banzhaf value or interaction index: binomial, every T alike.

    Reference:
        Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999).
    """
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


def james_stein(prior: Array, estimate: Estimate) -> Array:
    r"""An unbiased estimate, pulled towards a guess as far as its errors say.

    .. math:: \theta_0 + \left(1 - \frac{\sum_i \sigma_i^2}{\sum_i (\theta_i - \theta_{0,i})^2}\right)_+
        (\theta - \theta_0)

    Where the difference to the guess is all noise, the guess stands; where it is not, the estimate does. For three and
    more independent entries of equal error this lowers the mean squared error whatever the truth. The result is biased
    towards the guess, and the standard error of the estimate does not describe it.

    Reference:
        James & Stein, Proc. 4th Berkeley Symp. Math. Stat. Prob. 1, 361 (1961); positive part: Baranchik (1964).
    """
    difference = estimate.values - prior
    share = safe_divide(jnp.sum(estimate.standard_error**2), jnp.sum(difference**2))
    return prior + jnp.maximum(1 - share, 0) * difference


def as_pairs(matrix: Array) -> Array:
    """A square matrix with its diagonal set to zero."""
    n = matrix.shape[-1]
    return jnp.where(jnp.eye(n, dtype=jnp.bool_), 0, matrix)


def random_order(key: Array, num_rows: int, num_players: int) -> Array:
    """Independent uniform permutations, ``int32[num_rows, n]``."""
    words = jax.random.bits(key, (num_rows, num_players))
    return jnp.argsort(words, axis=-1).astype(jnp.int32)
