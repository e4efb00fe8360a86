"""Permutation sampling: players join one after another, and their discrete derivatives are averaged.

Every estimator refuses a budget below two samples, and one whose masks and what they are made of need more than
``max_bytes``.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count
from jaxrg.interactions.sampling.estimators import (
    Estimate,
    Estimator,
    enumerated,
    estimator_of,
    pays_for_all,
    random_order,
    shapley_sizes,
    shapley_taylor_sizes,
    with_ends,
)
from jaxrg.tables import MAX_BYTES, check_bytes

NUM_COPIES = 5  # bytes for each player of each mask: the masks, what they are put together from or read as


def _sampler(
    sizes: np.ndarray,
    num_players: int,
    budget: int,
    max_bytes: int,
    cost: int,
    masks_of: Callable,
    samples_of: Callable,
) -> Estimator:
    """The mean over as many random orders as the budget pays for besides the ends, or over all coalitions.

    ``masks_of(orders[num, n])`` are ``cost`` masks for each order, and ``samples_of(masks[num, cost, n],
    values[num, cost], ends[2])`` the independent samples ``[num, ...]``.
    """
    if pays_for_all(num_players, budget, 2 + 2 * cost, "two samples of permutations"):
        return enumerated(num_players, sizes, max_bytes)
    num_samples = (budget - 2) // cost
    num_masks = 2 + num_samples * cost
    what = f"{num_masks:,} masks of {num_players} players"
    check_bytes("budget", NUM_COPIES * num_masks * num_players, max_bytes, what)

    def design(key: Array) -> Array:
        return with_ends(masks_of(random_order(key, num_samples, num_players)))

    def estimate(masks: Array, values: Array) -> Estimate:
        shape = (num_samples, cost)
        samples = samples_of(masks[2:].reshape(*shape, num_players), values[2:].reshape(shape), values[:2])
        return Estimate(jnp.mean(samples, axis=0), jnp.std(samples, axis=0, ddof=1) / num_samples**0.5)

    return estimator_of(design, estimate, num_masks)


def _prefixes(orders: Array) -> Array:
    """``bool[..., n - 1, n]``: the first 1, ..., n - 1 players of each order."""
    n = orders.shape[-1]
    ranks = jnp.argsort(orders, axis=-1)
    lengths = jnp.arange(1, n, dtype=ranks.dtype).reshape((1,) * (orders.ndim - 1) + (n - 1, 1))
    return ranks[..., None, :] < lengths


def _orders(prefixes: Array) -> Array:
    """The permutations that a design's prefixes ``[..., n - 1, n]`` came from."""
    return jnp.argsort(-jnp.sum(prefixes, axis=-2), axis=-1)


def _along(values: Array, ends: Array) -> Array:
    """``[..., n + 1]``: values from the empty to the full coalition along each permutation."""
    shape = (*values.shape[:-1], 1)
    return jnp.concatenate([jnp.full(shape, ends[0]), values, jnp.full(shape, ends[1])], axis=-1)


def permutation_shapley(num_players: int, budget: int, *, max_bytes: int = MAX_BYTES) -> Estimator:
    r"""Shapley values from random orders, each walked forwards and backwards.

    .. math:: \phi_i = \mathrm{E}_\pi\left[ v(P_i \cup i) - v(P_i) \right]

    with P_i the players before i. An order and its reverse are one sample of the error. Their prefixes cost 2(n - 1)
    evaluations a sample.

    Returns:
        An `Estimator` of values ``[n]``, which sum to v(N) - v(∅) exactly.

    Example:
        >>> estimator = permutation_shapley(3, 20)
        >>> masks = estimator.design(jax.random.key(0))
        >>> estimate = estimator.estimate(masks, masks.sum(-1).astype(jnp.float32))
        >>> estimate.values.tolist(), estimate.standard_error.tolist()
        ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0])

    Reference:
        Castro, Gómez & Tejada, Comput. Oper. Res. 36, 1726 (2009); antithetic orders: Mitchell, Cooper, Frank &
        Holmes, JMLR 23 (43), 1 (2022), arXiv:2104.12199.
    """
    return _shapley(as_count("num_players", num_players, minimum=1), as_count("budget", budget), max_bytes)


@functools.lru_cache(maxsize=64)
def _shapley(n: int, budget: int, max_bytes: int) -> Estimator:
    def masks_of(orders: Array) -> Array:
        return _prefixes(jnp.stack([orders, jnp.flip(orders, -1)], axis=1))

    def samples_of(masks: Array, values: Array, ends: Array) -> Array:
        orders = _orders(masks.reshape(-1, 2, n - 1, n))
        gains = jnp.diff(_along(values.reshape(-1, 2, n - 1), ends), axis=-1)
        return jnp.mean(jnp.take_along_axis(gains, jnp.argsort(orders, axis=-1), axis=-1), axis=1)

    return _sampler(shapley_sizes(n, 1), n, budget, max_bytes, 2 * (n - 1), masks_of, samples_of)


def zigzag_orders(num_players: int) -> np.ndarray:
    """Permutations in which every pair is adjacent equally often: Walecki's Hamiltonian paths of the complete graph.

    Returns:
        ``[n/2, n]`` for even n, every pair once; ``[n, n]`` for odd n, every pair twice.

    Example:
        >>> zigzag_orders(4).tolist()
        [[0, 1, 3, 2], [1, 2, 0, 3]]

    Reference:
        Alspach, Bull. Inst. Combin. Appl. 52, 7 (2008) (the construction of Walecki, 1892).
    """
    n = num_players
    steps = np.array([(step + 1) // 2 if step % 2 else n - step // 2 for step in range(n)]) % n
    return (steps + np.arange(n // 2 if n % 2 == 0 else n)[:, None]) % n


def permutation_pairs(num_players: int, budget: int, *, max_bytes: int = MAX_BYTES) -> Estimator:
    r"""Shapley interaction index of all pairs from the neighbours in random orders.

    .. math:: I_{ij} = \mathrm{E}_\pi\left[ v(P \cup ij) - v(P \cup i) - v(P \cup j) + v(P) \;\middle|\; i, j
        \text{ adjacent after } P \right]

    Orders come in blocks that randomly relabel Walecki's zigzag paths, so that every pair is met equally often and a
    block is one sample of its error. An order costs 2(n - 1) evaluations, since neighbours share their coalitions.
    Two blocks cost 2n(n - 1) + 2 for even n, twice that for odd n.

    Returns:
        An `Estimator` of values ``[n, n]``.

    Reference:
        Grabisch & Roubens, Int. J. Game Theory 28, 547 (1999), for the index; permutation sampling of it as a baseline:
        Fumagalli, Muschalik, Kolpaczki, Hüllermeier & Hammer, NeurIPS 2023, arXiv:2303.01179 (SHAP-IQ).
    """
    return _pairs(as_count("num_players", num_players, minimum=2), as_count("budget", budget), max_bytes)


@functools.lru_cache(maxsize=64)
def _pairs(n: int, budget: int, max_bytes: int) -> Estimator:
    paths = zigzag_orders(n).astype(np.int32)
    num_meetings = 2 * len(paths) // n

    def masks_of(orders: Array) -> Array:
        orders = orders[:, paths]
        prefixes = _prefixes(orders)
        newcomer = jax.nn.one_hot(orders[..., :-1], n, dtype=jnp.bool_)
        successor = jax.nn.one_hot(orders[..., 1:], n, dtype=jnp.bool_)
        return jnp.stack([prefixes, (prefixes & ~newcomer) | successor], axis=-3)

    def samples_of(masks: Array, values: Array, ends: Array) -> Array:
        shape = (len(masks), len(paths), 2, n - 1)
        orders = _orders(masks.reshape(*shape, n)[:, :, 0])
        prefix, skipped = jnp.moveaxis(values.reshape(shape), 2, 0)
        walk = _along(prefix, ends)
        derivatives = walk[..., 2:] - prefix - skipped + walk[..., :-2]
        samples = jnp.arange(len(masks)).reshape(-1, 1, 1)
        table = jnp.zeros((len(masks), n, n), values.dtype)
        table = table.at[samples, orders[..., :-1], orders[..., 1:]].add(derivatives)
        return (table + table.mT) / num_meetings

    return _sampler(shapley_sizes(n, 2), n, budget, max_bytes, 2 * (n - 1) * len(paths), masks_of, samples_of)


def permutation_shapley_taylor(num_players: int, budget: int, *, max_bytes: int = MAX_BYTES) -> Estimator:
    r"""Shapley-Taylor index of all pairs, each from every random order.

    .. math:: I_{ij} = \mathrm{E}_\pi\left[ v(P \cup ij) - v(P \cup i) - v(P \cup j) + v(P) \right]

    with P the players before both i and j. One order has n(n - 1)/2 distinct coalitions (its prefixes, and each with
    one later player in place of the last), and they serve all pairs.

    Returns:
        An `Estimator` of values ``[n, n]``.

    Reference:
        Sundararajan, Dhamdhere & Agarwal, ICML 2020, arXiv:1902.05622.
    """
    return _shapley_taylor(as_count("num_players", num_players, minimum=2), as_count("budget", budget), max_bytes)


@functools.lru_cache(maxsize=64)
def _shapley_taylor(n: int, budget: int, max_bytes: int) -> Estimator:
    cost = n * (n + 1) // 2 - 1
    # Prefix of t players and one player at place j >= t: the full coalition (t = n - 1) is known.
    lengths, extras = np.triu_indices(n)
    lengths, extras = lengths[:-1], extras[:-1]
    places = np.zeros((n, n), np.int32)  # entries below the diagonal, and the last, are not used
    places[lengths, extras] = np.arange(cost)

    def masks_of(orders: Array) -> Array:
        ranks = jnp.argsort(orders, axis=-1)[:, None, :].astype(jnp.int32)
        length, extra = (jnp.asarray(column.astype(np.int32)).reshape(1, -1, 1) for column in (lengths, extras))
        return (ranks < length) | (ranks == extra)

    def samples_of(masks: Array, values: Array, ends: Array) -> Array:
        # Entry (t, j): the first t players and the one at place j; (t, t) is the prefix of t + 1 players.
        plus_one = values[:, places]
        walk = _along(jnp.diagonal(plus_one, axis1=1, axis2=2)[:, :-1], ends)
        plus_two = jnp.pad(plus_one[:, 1:], ((0, 0), (0, 1), (0, 0))).at[:, n - 2, n - 1].set(ends[1])
        derivatives = jnp.triu(plus_two - walk[:, 1:, None] - plus_one + walk[:, :-1, None], 1)
        ranks = jnp.argsort(_orders(masks[:, np.flatnonzero(lengths == extras)]), -1)
        samples = jnp.arange(len(masks)).reshape(-1, 1, 1)
        return (derivatives + derivatives.mT)[samples, ranks[:, :, None], ranks[:, None, :]]

    return _sampler(shapley_taylor_sizes(n, 2), n, budget, max_bytes, cost, masks_of, samples_of)
