r"""Discrete derivatives of a game summed over contexts of one size, from which every index of low order is a mean.

The derivative of a game along a subset S in the context T, a coalition without players of S, is

.. math:: \Delta_S v(T) = \sum_{R \subseteq S} (-1)^{|S|-|R|} v(T \cup R).

All symmetric indices weight it by the size of the context only. Players are folded away one at a time, and of what is
left only subsets of at most ``order`` players are followed, so that all sums cost `O(2^n)` for a fixed order.
Dividends, which grow with their size where values are noisy, are never formed, and so never have to cancel.
"""

import functools
import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_array, as_count, as_table, check_count
from jaxrg.tables import MAX_BYTES, check_bytes, check_table
from jaxrg.transforms import num_bits

MAX_PLACES = 62  # players whose subsets int64 can number


def check_order(order: int, largest: int) -> None:
    """Raise ValueError unless 1 <= order <= largest."""
    check_count("order", order)
    if order > largest:
        raise ValueError(f"order: expected at most {largest}, got {order}")


def checked(values: ArrayLike, order: int) -> tuple[Array, int]:
    """A game's table as floats ``[..., 2**n]`` and an order of at most n."""
    table = as_table("values", values)
    check_order(order, num_bits(table))
    return table, int(order)


def num_subsets_up_to(num_players: int, order: int) -> int:
    """Number of subsets of at most ``order`` players, the empty one among them."""
    return sum(math.comb(num_players, size) for size in range(order + 1))


def subsets_up_to(num_players: int, order: int, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """All subsets of at most ``order`` players: by size, and those of one size in lexicographic order of players.

    Returns:
        ``bool[num, n]``: the members of each subset; row 0 is the empty set, rows 1 ... n the single players.

    Example:
        >>> subsets_up_to(3, 2).astype(int).tolist()
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]
    """
    num_players = as_count("num_players", num_players)
    check_order(order, num_players)
    needed = num_subsets_up_to(num_players, order) * num_players
    check_bytes("order", needed, max_bytes, f"subsets of at most {order} of {num_players} players")
    return np.concatenate([subsets_of_size(num_players, size) for size in range(order + 1)])


def subsets_of_size(num_players: int, size: int) -> np.ndarray:
    """All subsets of one size in lexicographic order, ``bool[num, n]``."""
    players = np.array(list(itertools.combinations(range(num_players), size)), np.int64)
    members = np.zeros((len(players), num_players), np.bool_)
    members[np.arange(len(players))[:, None], players] = True
    return members


def subset_indices(members: ArrayLike) -> np.ndarray:
    """Places of subsets ``bool[num, n]`` in a table of ``2**n`` entries, n up to 62.

    Example:
        >>> subset_indices([[True, False, True]]).tolist()
        [5]
    """
    rows = np.asarray(as_array("members", members))
    if rows.ndim == 0 or rows.dtype != np.bool_ or rows.shape[-1] > MAX_PLACES:
        raise ValueError(
            f"members: expected booleans of at most {MAX_PLACES} players, got {rows.dtype}{list(rows.shape)}"
        )
    return rows @ (1 << np.arange(rows.shape[-1], dtype=np.int64))


def _context_sums(values: Array, order: int, max_bytes: int, join: Callable[[Array, Array], Array]) -> Array:
    """Sums over contexts, with ``join(absent, present)`` along each player of the subset; see `derivative_sums`."""
    lead, n = values.shape[:-1], num_bits(values)
    sizes = [num_subsets_up_to(b, min(b, order)) * (b + 1) / 2**b for b in range(n + 1)]
    # Each step reads one array and writes the next.
    copies = math.prod(lead) * math.ceil(max(before + after for before, after in itertools.pairwise(sizes)))
    check_table(n, itemsize=values.dtype.itemsize, copies=copies, max_bytes=max_bytes, name="values")
    subsets = [0]
    # [subset of the players folded so far, size of the context among them, coalition of the others]
    sums = values.reshape((*lead, 1, 1, -1))
    for player in reversed(range(n)):
        halves = sums.reshape((*sums.shape[:-1], 2, 2**player))
        absent, present = halves[..., 0, :], halves[..., 1, :]
        nothing = jnp.zeros((*absent.shape[:-2], 1, absent.shape[-1]), values.dtype)
        without = jnp.concatenate([absent, nothing], -2) + jnp.concatenate([nothing, present], -2)
        grows = np.array([row for row, subset in enumerate(subsets) if subset.bit_count() < order], np.int32)
        joined = join(absent[..., grows, :, :], present[..., grows, :, :])
        joined = jnp.concatenate([joined, nothing[..., grows, :, :]], -2)
        sums = jnp.concatenate([without, joined], -3)
        subsets += [subsets[row] | 1 << player for row in grows]
    row_of = {subset: row for row, subset in enumerate(subsets)}
    rows = [row_of[index] for index in subset_indices(subsets_up_to(n, order)).tolist()]
    return sums[..., 0][..., np.array(rows, np.int32), :]


def derivative_sums(values: ArrayLike, order: int, *, max_bytes: int = MAX_BYTES) -> Array:
    r"""Sums of the discrete derivatives over all contexts of each size.

    .. math:: D_S(t) = \sum_{T \subseteq N \setminus S,\, |T| = t} \Delta_S v(T)

    Arguments and errors are those of every index (`jaxrg.interactions.indices.shares`).

    Returns:
        ``[..., num, n + 1]``: subsets in the order of `subsets_up_to`, contexts of t = 0 ... n players; zero beyond
        n - |S|.

    Example:
        >>> derivative_sums(jnp.array([0.0, 1.0, 2.0, 7.0]), 2).tolist()  # of the empty set, 0, 1 and both
        [[0.0, 3.0, 7.0], [1.0, 5.0, 0.0], [2.0, 6.0, 0.0], [4.0, 0.0, 0.0]]

    Reference:
        Fujimoto, Kojadinovic & Marichal, Games Econ. Behav. 55, 72 (2006), on indices as means of derivatives.
    """
    return _compiled_derivative_sums(*checked(values, order), max_bytes)


def sums_of_derivatives(values: Array, order: int, max_bytes: int) -> Array:
    """`derivative_sums` of a table that has been checked."""
    return _context_sums(values, order, max_bytes, lambda absent, present: present - absent)


_compiled_derivative_sums = jax.jit(sums_of_derivatives, static_argnums=(1, 2))


def joining_sums(values: Array, order: int, max_bytes: int) -> Array:
    r"""What a whole subset adds, :math:`v(T \cup S) - v(T)`, summed as in `derivative_sums`; v(∅) for the empty set."""
    # Two passes, both alive until the difference.
    joined = _context_sums(values, order, max_bytes // 2, lambda absent, present: present)
    sums = joined - _context_sums(values, order, max_bytes // 2, lambda absent, present: absent)
    is_empty = np.arange(math.prod(sums.shape[-2:])).reshape((1,) * (sums.ndim - 2) + sums.shape[-2:]) == 0
    return jnp.where(is_empty, values[..., :1, None], sums)  # a scatter would take longer than the rest


class Index(Protocol):
    """An index as a function of a table, and the formula that it was made of."""

    formula: Any

    def __call__(self, values: ArrayLike, order: int, *, max_bytes: int = MAX_BYTES) -> Array:
        """``[..., num]`` values of the subsets of `subsets_up_to`."""
        ...


class Family(NamedTuple):
    """What indices have in common that differ by a formula alone."""

    sums: Callable[..., Array]  # sums[..., num, n + 1] = sums(values, order, max_bytes), over contexts of t players
    weight: Callable[..., Fraction]  # weight(formula, t, s, n, order), of a context of t players for a subset of s


def index_of(formula: Callable, family: Family) -> Index:
    """The function of a table that weights sums over contexts by a formula, under the formula's name and docstring."""

    @functools.partial(jax.jit, static_argnums=(1, 2))
    def compiled(values: Array, order: int, max_bytes: int) -> Array:
        return every_index({"": formula}, family, values, order, max_bytes)[""]

    def index(values: ArrayLike, order: int, *, max_bytes: int = MAX_BYTES) -> Array:
        return compiled(*checked(values, order), max_bytes)

    for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(index, attribute, getattr(formula, attribute))
    setattr(index, "formula", formula)  # noqa: B010
    return cast(Index, index)


def every_index(formulas: dict, family: Family, values: Array, order: int, max_bytes: int) -> dict[str, Array]:
    """Indices ``[..., num]`` of one family by name, from one pass over the table."""
    sums, n = family.sums(values, order, max_bytes), num_bits(values)
    sizes = np.repeat(np.arange(order + 1), [math.comb(n, size) for size in range(order + 1)])
    shape = (1,) * (sums.ndim - 2) + (-1, n + 1)

    def weighted(formula: Callable) -> Array:
        rows = context_weights(formula, family, n, order)[sizes]
        return jnp.sum(sums * jnp.asarray(rows, sums.dtype).reshape(shape), axis=-1)

    return {name: weighted(formula) for name, formula in formulas.items()}


@functools.lru_cache(maxsize=256)
def context_weights(formula: Callable, family: Family, num_players: int, order: int) -> np.ndarray:
    """Weights ``float64[order + 1, n + 1]`` of contexts for subsets of each size, exact until they are rounded once."""
    table = np.zeros((order + 1, num_players + 1))
    for size in range(order + 1):
        for t in range(num_players - size + 1):
            table[size, t] = float(family.weight(formula, t, size, num_players, order))
    table.setflags(write=False)
    return table
