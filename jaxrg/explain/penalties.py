r"""Regularisers on the order of interactions: losses that training can differentiate.

The exact one takes tables (`interactions.evaluate`, `interactions.harsanyi`) of all :math:`2^n` masks; the sampled one
needs :math:`2^m` masks a draw, whatever n is. The losses of one range of orders are in `jaxrg.explain.bottleneck`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxrg.base import safe_divide
from jaxrg.checks import as_count, as_table, check_key
from jaxrg.explain._games import values_of
from jaxrg.interactions.games import Game, as_game
from jaxrg.interactions.orders import order_strengths
from jaxrg.tables import all_bits
from jaxrg.transforms import num_bits


def high_order_share(interactions: ArrayLike, max_order: int) -> Array:
    r"""The part of all interaction strength that lies above an order.

    .. math:: \frac{\sum_{|S|>m} |I(S)|}{\sum_{S \ne \emptyset} |I(S)|}

    Being a ratio, it cannot be lowered by making all outputs small. Strengths are summed over the batch first, so
    samples with strong interactions count more.

    Args:
        interactions: ``[..., 2**n]`` of a batch; a traced table is differentiated through the transform that made it.
        max_order: m, from 1 to n - 1.

    Returns:
        Scalar from 0 to 1; 0 where there are no interactions at all.

    Example:
        >>> float(high_order_share(jnp.array([5.0, 1.0, -2.0, 1.0]), 1))
        0.25
    """
    table, max_order = as_table("interactions", interactions), as_count("max_order", max_order)
    n = num_bits(table)
    if max_order >= n:
        raise ValueError(f"max_order: expected an order below n = {n}, got {max_order}")
    return _high_order_share(table, max_order)


@functools.partial(jax.jit, static_argnames="max_order")
def _high_order_share(interactions: Array, max_order: int) -> Array:
    totals = order_strengths(interactions).total
    return safe_divide(jnp.sum(totals[..., max_order + 1 :]), jnp.sum(totals[..., 1:]))


def mixed_difference_penalty(key: Array, game: Game, order: int, *, num_draws: int = 16) -> Array:
    r"""Mean square of mixed differences of one order, at random players in random company.

    .. math:: \mathbb E_{R, C}\, (\Delta_R v(C))^2, \qquad
        \Delta_R v(C) = \sum_{T \subseteq R} (-1)^{|R|-|T|} v(C \cup T) = \sum_{U \subseteq C} I(R \cup U)

    with R uniform over the sets of ``order`` players and C over the subsets of the others. It is zero exactly for games
    without interactions of that order and above: take ``order = m + 1`` to penalise what lies above m. In Walsh
    coefficients it is :math:`4^r \sum_U \hat v(U)^2 \binom{|U|}{r} / \binom{n}{r}`.

    Args:
        game: of any number n of players, differentiable by what it is closed over.
        order: r, from 1 to n, at most 16.
        num_draws: of (R, C), so ``num_draws * 2**order`` masks in one batch.

    Returns:
        Scalar, an unbiased estimate.
    """
    check_key("key", key)
    game, order, num_draws = as_game(game), as_count("order", order), as_count("num_draws", num_draws)
    n = game.num_players
    if order > min(n, 16):
        raise ValueError(f"order: expected at most {min(n, 16)}, got {order}")
    return _mixed_difference_penalty(key, game, order=order, num_draws=num_draws)


@functools.partial(jax.jit, static_argnames=("order", "num_draws"))
def _mixed_difference_penalty(key: Array, game: Game, *, order: int, num_draws: int) -> Array:
    n, corners = game.num_players, all_bits(order)
    signs = jnp.prod(jnp.where(corners, 1, -1), axis=-1)

    def masks_of_draw(draw_key: Array) -> Array:
        player_key, company_key = jax.random.split(draw_key)
        players = jax.random.permutation(player_key, n)[:order]
        company = jax.random.bernoulli(company_key, shape=(1, n))
        return jnp.broadcast_to(company, (2**order, n)).at[:, players].set(corners)

    masks = jax.vmap(masks_of_draw)(jax.random.split(key, num_draws))
    values = values_of(game, masks.reshape(-1, n)).reshape(num_draws, 2**order)
    return jnp.mean(jnp.sum(values * signs[None].astype(values.dtype), axis=-1) ** 2)
