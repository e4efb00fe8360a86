r"""Harsanyi AND and OR interactions of a game: exact, invertible, `O(n 2^n)`.

All tables are ``[..., 2**n]``, indexed by subsets in the order of the game's table; another length is refused. Integers
and booleans are taken as floats, and NaN stays in every sum it enters. Entry 0 of the interactions, the empty set, is
the value of the empty coalition, so that each table determines the game.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_table
from jaxrg.tables import subset_sizes
from jaxrg.transforms import moebius, num_bits, zeta


def harsanyi(values: ArrayLike) -> Array:
    r"""AND interactions (Harsanyi dividends, Möbius transform) of a game.

    .. math:: I_\mathrm{and}(S) = \sum_{T \subseteq S} (-1)^{|S|-|T|} v(T), \qquad
        v(T) = \sum_{S \subseteq T} I_\mathrm{and}(S)

    Use float64 where small interactions matter (float32 loses 9e-5 at n = 20).

    Example:
        >>> harsanyi(jnp.array([1.0, 2.0, 3.0, 8.0])).tolist()
        [1.0, 1.0, 2.0, 4.0]

    Reference:
        Harsanyi, Int. Econ. Rev. 4, 194 (1963); Ren et al., CVPR 2023, arXiv:2111.06206.
    """
    return _harsanyi(as_table("values", values))


@jax.jit
def _harsanyi(values: Array) -> Array:
    return moebius(values)


def harsanyi_or(values: ArrayLike) -> Array:
    r"""OR interactions of a game: the dividends of its absences.

    .. math:: I_\mathrm{or}(S) = -\sum_{T \subseteq S} (-1)^{|S|-|T|} v(N \setminus T), \qquad
        v(T) = v(\emptyset) + \sum_{S \cap T \ne \emptyset} I_\mathrm{or}(S)

    Entry 0 is v(∅), not the formula's -v(N).

    Example:
        >>> harsanyi_or(jnp.array([0.0, 3.0, 1.0, 3.5])).tolist()
        [0.0, 2.5, 0.5, 0.5]

    Reference:
        Li & Zhang, arXiv:2304.13312 (2023); Zhang, Li, Lin & Zhang, arXiv:2405.10262 (2024).
    """
    return _harsanyi_or(as_table("values", values))


@jax.jit
def _harsanyi_or(values: Array) -> Array:
    return (-moebius(jnp.flip(values, -1))).at[..., 0].set(values[..., 0])


def from_harsanyi(dividends: ArrayLike) -> Array:
    """The game of AND interactions, the inverse of `harsanyi`."""
    return _from_harsanyi(as_table("dividends", dividends))


@jax.jit
def _from_harsanyi(dividends: Array) -> Array:
    return zeta(dividends)


def from_harsanyi_or(dividends: ArrayLike) -> Array:
    """The game of OR interactions, the inverse of `harsanyi_or`."""
    return _from_harsanyi_or(as_table("dividends", dividends))


@jax.jit
def _from_harsanyi_or(dividends: Array) -> Array:
    # What no player of T touches stays below T's complement.
    total = jnp.sum(dividends, axis=-1, keepdims=True)
    return total - jnp.flip(zeta(dividends.at[..., 0].set(0)), -1)


def co_moebius(values: ArrayLike) -> Array:
    r"""Co-Möbius transform of a game, or external interaction index: the derivative along S when all others are there.

    .. math:: \sum_{T \supseteq S} I_\mathrm{and}(T) = \Delta_S v(N \setminus S)
        = \sum_{T \subseteq S} (-1)^{|T|} v(N \setminus T)

    OR interactions are its mirror image, :math:`I_\mathrm{or}(S) = (-1)^{|S|+1}` times it for S ≠ ∅. Entry 0 is v(N).

    Example:
        >>> co_moebius(jnp.array([0.0, 1.0, 2.0, 7.0])).tolist()
        [7.0, 5.0, 6.0, 4.0]

    Reference:
        Grabisch, Marichal & Roubens, Math. Oper. Res. 25, 157 (2000).
    """
    return _co_moebius(as_table("values", values))


@jax.jit
def _co_moebius(values: Array) -> Array:
    mirrored = moebius(jnp.flip(values, -1))
    is_odd = subset_sizes(num_bits(values)) % 2 == 1
    return jnp.where(is_odd.reshape((1,) * (values.ndim - 1) + (-1,)), -mirrored, mirrored)
