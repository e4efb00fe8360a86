r"""The representation bottleneck: how strongly a model uses pair interactions in contexts of each size, and what
changes it.

The interaction of order m of a pair is the mean of :math:`\Delta v_{ij}(S) = v(S_{ij}) - v(S_i) - v(S_j) + v(S)` over
the contexts S of m other players: `interactions.multi_order_interactions` of a table, `sample_orders` of a game without
one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import check_count
from jaxrg.interactions.games import Game, check_game


class SampledOrders(NamedTuple):
    """Multi-order interactions of random pairs, estimated from random contexts."""

    pairs: Array  # int [num_pairs, 2]
    interactions: Array  # [num_pairs, num_orders], mean over the contexts
    errors: Array  # [num_pairs, num_orders], standard error of that mean


def sample_orders(
    key: Array, game: Game, *, orders: tuple[int, ...], num_pairs: int, num_contexts: int
) -> SampledOrders:
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
    n = check_game(game)
    check_count("num_players", n, minimum=2)
    check_count("num_pairs", num_pairs)
    check_count("num_contexts", num_contexts, minimum=2)
    if not orders or min(orders) < 0 or max(orders) > n - 2:
        raise ValueError(f"orders: expected 0 to {n - 2} of {n} players, got {orders}")
    first_key, second_key, context_key = jax.random.split(key, 3)
    first = jax.random.randint(first_key, (num_pairs,), 0, n)
    shift = jax.random.randint(second_key, (num_pairs,), 1, n)
    pairs = jnp.stack([first, (first + shift) % n], axis=1)
    sizes = jnp.asarray(orders).reshape(-1, 1, 1)

    def one_pair(inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        draw_key, pair = inputs
        # Players in random orders, the pair last.
        ranks = jax.random.uniform(draw_key, (num_contexts, n)).at[:, pair].set(jnp.inf)
        without = jnp.argsort(jnp.argsort(ranks, axis=-1), axis=-1)[None] < sizes
        with_first, with_second = (without.at[..., player].set(True) for player in pair)
        masks = jnp.stack([with_first | with_second, with_first, with_second, without])
        both, left, right, neither = game(masks.reshape(-1, n)).reshape(4, len(orders), num_contexts)
        differences = (both - left) - (right - neither)
        return jnp.mean(differences, axis=-1), jnp.std(differences, axis=-1, ddof=1) / num_contexts**0.5

    return SampledOrders(pairs, *jax.lax.map(one_pair, (jax.random.split(context_key, num_pairs), pairs)))


@jax.jit
def bottleneck_curve(interactions: Array) -> Array:
    r"""Strength of the interactions of each order, relative to their mean over orders.

    .. math:: J^{(m)} = \frac{E_x E_{ij} |I_{ij}^{(m)}(x)|}{E_{m'} E_x E_{ij} |I_{ij}^{(m')}(x)|}

    ``[orders]``, whose mean is 1, of ``interactions[..., pairs, orders]``.

    Example:
        >>> bottleneck_curve(jnp.array([[1.0, -3.0], [-1.0, 3.0]])).tolist()
        [0.5, 1.5]

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236.
    """
    if interactions.ndim < 2:
        raise ValueError(f"interactions: expected [..., pairs, orders], got shape {interactions.shape}")
    strengths = jnp.mean(jnp.abs(interactions), axis=tuple(range(interactions.ndim - 1)))
    return strengths / jnp.mean(strengths)


def _check_sizes(num_players: int, lower: int, upper: int) -> None:
    if not 1 <= lower < upper <= num_players:
        raise ValueError(f"lower, upper: expected 1 <= lower < upper <= {num_players}, got {lower} and {upper}")


def nested_masks(key: Array, num_players: int, *, lower: int, upper: int) -> tuple[Array, Array]:
    """Two random contexts bool ``[n]``, one of ``lower`` players within one of ``upper``, for `order_contrast`."""
    _check_sizes(num_players, lower, upper)
    places = jax.random.permutation(key, num_players)
    return places < lower, places < upper


def order_contrast(smaller: Array, larger: Array, *, lower: int, upper: int) -> Array:
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
    return larger - smaller * (upper / lower)


@jax.jit
def penalize_orders(contrast: Array) -> Array:
    r"""Loss that keeps the contrast from telling classes apart: minus the entropy of softmax(Δu).

    ``[...]`` from contrasts ``[..., classes]``, in nats; at least -ln(classes).

    Reference:
        Deng, Ren, Zhang & Zhang, ICLR 2022, arXiv:2111.06236 (their L⁻).
    """
    log_probabilities = jax.nn.log_softmax(contrast, axis=-1)
    return jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1)
