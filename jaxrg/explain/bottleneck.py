r"""The representation bottleneck: how strongly a model uses pair interactions in contexts of each size, and what
changes it.

The interaction of order m of a pair is the mean of :math:`\Delta v_{ij}(S) = v(S_{ij}) - v(S_i) - v(S_j) + v(S)` over
the contexts S of m other players: `interactions.multi_order_interactions` of a table, `sample_orders` of a game without
one.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating, as_floating_alike, as_integers, check_key, check_shape
from jaxrg.explain._games import values_of
from jaxrg.interactions.games import Game, as_game


class SampledOrders(NamedTuple):
    """Multi-order interactions of random pairs, estimated from random contexts."""

    pairs: Array  # int [num_pairs, 2]
    interactions: Array  # [num_pairs, num_orders], mean over the contexts
    errors: Array  # [num_pairs, num_orders], standard error of that mean


def sample_orders(key: Array, game: Game, *, orders: Sequence[int], num_pairs: int, num_contexts: int) -> SampledOrders:
    r"""Multi-order interactions of random pairs of a game too large to tabulate.

    .. math:: I_{ij}^{(m)} = E_{S \subseteq N \setminus ij,\ |S| = m}\,
        [v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S)]

    The contexts of one pair grow along one random order of the players, so that the orders share their noise.

    Args:
        orders: sizes m of the contexts, 0 to n-2.
        num_pairs: random pairs, drawn with replacement.
        num_contexts: random contexts of each; the error falls as their inverse root.

    Returns:
        `SampledOrders`. The mean of \|I\| over pairs is biased upwards by the noise, at most by
        :math:`\sqrt{2/\pi}` of the mean error.

    Reference:
        Zhang, Cheng, Chen & Zhang, arXiv:2010.14978; Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236.
    """
    check_key("key", key)
    game, num_pairs = as_game(game), as_count("num_pairs", num_pairs)
    n = as_count("num_players", game.num_players, minimum=2)
    sizes = as_integers("orders", orders, minimum=0, maximum=n - 2)
    if sizes.ndim != 1 or not len(sizes):
        raise ValueError(f"orders: expected one or more of 0 to {n - 2} of {n} players, got {orders}")
    num_contexts = as_count("num_contexts", num_contexts, minimum=2)
    return _sample_orders(key, game, sizes, num_pairs=num_pairs, num_contexts=num_contexts)


@functools.partial(jax.jit, static_argnames=("num_pairs", "num_contexts"))
def _sample_orders(key: Array, game: Game, orders: Array, *, num_pairs: int, num_contexts: int) -> SampledOrders:
    n = game.num_players
    first_key, second_key, context_key = jax.random.split(key, 3)
    first = jax.random.randint(first_key, (num_pairs,), 0, n)
    shift = jax.random.randint(second_key, (num_pairs,), 1, n)
    pairs = jnp.stack([first, (first + shift) % n], axis=1)
    sizes = orders.reshape(-1, 1, 1)

    def one_pair(inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        draw_key, pair = inputs
        # Players in random orders, the pair last.
        ranks = jax.random.uniform(draw_key, (num_contexts, n)).at[:, pair].set(jnp.inf)
        without = jnp.argsort(jnp.argsort(ranks, axis=-1), axis=-1)[None] < sizes
        with_first, with_second = (without.at[..., player].set(True) for player in pair)
        masks = jnp.stack([with_first | with_second, with_first, with_second, without])
        values = values_of(game, masks.reshape(-1, n))
        both, left, right, neither = values.reshape(4, len(orders), num_contexts)
        differences = (both - left) - (right - neither)
        return jnp.mean(differences, axis=-1), jnp.std(differences, axis=-1, ddof=1) / num_contexts**0.5

    return SampledOrders(pairs, *jax.lax.map(one_pair, (jax.random.split(context_key, num_pairs), pairs)))


def bottleneck_curve(interactions: ArrayLike) -> Array:
    r"""Strength of the interactions of each order, relative to their mean over orders.

    .. math:: J^{(m)} = \frac{E_x E_{ij} |I_{ij}^{(m)}(x)|}{E_{m'} E_x E_{ij} |I_{ij}^{(m')}(x)|}

    ``[orders]``, whose mean is 1, of ``interactions[..., pairs, orders]``.

    Example:
        >>> bottleneck_curve(jnp.array([[1.0, -3.0], [-1.0, 3.0]])).tolist()
        [0.5, 1.5]

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236.
    """
    found = as_floating("interactions", interactions)
    if found.ndim < 2 or not found.size:
        raise ValueError(f"interactions: expected [..., pairs, orders], got shape {tuple(found.shape)}")
    return _bottleneck_curve(found)


@jax.jit
def _bottleneck_curve(interactions: Array) -> Array:
    strengths = jnp.mean(jnp.abs(interactions), axis=tuple(range(interactions.ndim - 1)))
    return strengths / jnp.mean(strengths)


def _check_sizes(num_players: int, lower: int, upper: int) -> None:
    for name, size in (("lower", lower), ("upper", upper)):
        as_count(name, size)
    if not 1 <= lower < upper <= num_players:
        raise ValueError(f"lower, upper: expected 1 <= lower < upper <= {num_players}, got {lower} and {upper}")


def nested_masks(key: Array, num_players: int, *, lower: int, upper: int) -> tuple[Array, Array]:
    """Two random contexts bool ``[n]``, one of ``lower`` players within one of ``upper``, for `order_contrast`."""
    check_key("key", key)
    num_players = as_count("num_players", num_players, minimum=2)
    _check_sizes(num_players, lower, upper)
    return _nested_masks(key, np.int32(lower), np.int32(upper), num_players=num_players)


@functools.partial(jax.jit, static_argnames="num_players")
def _nested_masks(key: Array, lower: Array, upper: Array, *, num_players: int) -> tuple[Array, Array]:
    places = jax.random.permutation(key, num_players)
    return places < lower, places < upper


def order_contrast(smaller: ArrayLike, larger: ArrayLike, *, lower: int, upper: int) -> Array:
    r"""Output due to interactions of a range of orders, from two contexts of one input.

    .. math:: \Delta u = v(S_2) - \frac{s_2}{s_1} v(S_1), \qquad S_1 \subset S_2, \quad |S_i| = s_i

    Its mean over `nested_masks` is a tent over all orders below s₂ - 1 with its peak at m = s₁ - 1, not a window
    between s₁ and s₂:

    .. math:: E\,\Delta u = \Bigl(1 - \frac{s_2}{s_1}\Bigr) v(\emptyset) + \sum_m w_m E_{ij} I_{ij}^{(m)}, \qquad
        w_m = \begin{cases} (m+1)(s_2/s_1 - 1) & m \le s_1 - 2 \\ s_2 - 1 - m & s_1 - 1 \le m \le s_2 - 2 \\
        0 & m > s_2 - 2 \end{cases}

    The loss L⁺ of the reference, which teaches a classifier with these orders alone, is the cross entropy of
    softmax(Δu) (``optax.softmax_cross_entropy_with_integer_labels``); L⁻ is `penalize_orders`.

    ``smaller`` and ``larger`` are the outputs on the input masked to S₁ and S₂, logits of all classes for the losses.

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236.
    """
    _check_sizes(upper, lower, upper)
    small, large = as_floating_alike(smaller=smaller, larger=larger)
    check_shape("larger", large, small.shape)
    return _order_contrast(small, large, np.float64(upper / lower))


@jax.jit
def _order_contrast(smaller: Array, larger: Array, ratio: Array) -> Array:
    return larger - smaller * ratio.astype(smaller.dtype)


def penalize_orders(contrast: ArrayLike) -> Array:
    r"""Loss that keeps the contrast from telling classes apart: minus the entropy of softmax(Δu).

    ``[...]`` from contrasts ``[..., classes]``, in nats; at least -ln(classes).

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236 (their L⁻).
    """
    found = as_floating("contrast", contrast)
    if not found.ndim or not found.shape[-1]:
        raise ValueError(f"contrast: expected [..., classes], got shape {tuple(found.shape)}")
    return _penalize_orders(found)


@jax.jit
def _penalize_orders(contrast: Array) -> Array:
    log_probabilities = jax.nn.log_softmax(contrast, axis=-1)
    return jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)
