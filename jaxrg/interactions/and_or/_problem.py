r"""The convex problem of AND-OR extraction: its objective, feasible solutions, and lower bounds from the dual.

.. math:: \min_{\gamma, q} \|I_\mathrm{and}\|_1 + \|I_\mathrm{or}\|_1, \qquad
    v_\mathrm{and} = \tfrac12 (v + q) + \gamma, \quad v_\mathrm{or} = \tfrac12 (v + q) - \gamma, \quad
    |q(T)| \le c |v(N) - v(\emptyset)|

γ is free, so this is a basis pursuit: write v + q as a sum of AND patterns 1[S ⊆ T] and OR patterns 1[S ∩ T ≠ ∅] with
the smallest sum of absolute coefficients. A constant and a single player are the same pattern in both kinds, and a
shift of γ moves them from one table to the other without touching anything else. Since the smallest |a| + |b| at given
a + b is |a + b|, keeping orders 0 and 1 apart, as published, and merging them have the same minimum. Solutions here are
merged: OR entries of order 0 and 1 are zero, and the objective of the returned tables is the published one.

Arrays are ``[2**n, lanes]``: subsets first and samples last, which keeps the butterflies contiguous.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.tables import subset_sizes


class Problem(NamedTuple):
    """Games of one batch of lanes, with the weights of their interactions in the objective."""

    values: Array  # [2**n, lanes] v(T) - v(∅)
    empty: Array  # [lanes] v(∅)
    noise: Array  # [lanes] largest |q|
    and_weights: Array  # [2**n, lanes]; that of order 0 is not used: |v(∅) + q(∅)| has weight one
    or_weights: Array  # [2**n, lanes]; those of order 1 are not used: their AND weights hold for both


class Tables(NamedTuple):
    """A feasible decomposition: its dividends and their weighted sum of absolute values."""

    and_: Array  # [2**n, lanes]
    or_: Array  # [2**n, lanes]
    objective: Array  # [lanes]


def soft_threshold(x: Array, threshold: Array) -> Array:
    """The proximal map of ``threshold |x|``."""
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - threshold, 0)


def zeta_first(table: Array, *, is_inverse: bool = False) -> Array:
    """Sum over subsets along the first axis, or its inverse, the Möbius transform."""
    shape = table.shape
    for bit in range(shape[0].bit_length() - 1):
        pairs = table.reshape(-1, 2, 2**bit, *shape[1:])
        absent, present = pairs[:, 0], pairs[:, 1]
        table = jnp.stack([absent, present - absent if is_inverse else absent + present], axis=1)
    return table.reshape(shape)


def complement(table: Array) -> Array:
    """The entry of N∖T at T."""
    return jnp.flip(table, 0)


def synthesis(and_: Array, absent: Array) -> Array:
    r"""The game :math:`\sum_{S \subseteq T} a(S) - \sum_{S \subseteq N \setminus T} o(S)`.

    A sum of two Kronecker products; ``absent`` equals the OR dividends for |S| ≥ 1, and its entry 0 is a constant.
    """
    both = zeta_first(jnp.stack([and_, absent], axis=1))
    return both[:, 0] - complement(both[:, 1])


def analysis(dual: Array) -> tuple[Array, Array]:
    """The transpose of `synthesis`."""
    both = complement(zeta_first(jnp.stack([complement(dual), dual], axis=1)))
    return both[:, 0], -both[:, 1]


def orders_of(table: Array) -> Array:
    """Orders |S| of the entries, ``int32[2**n, 1]``."""
    return subset_sizes(table.shape[0].bit_length() - 1)[:, None]


def weighted_norm(problem: Problem, and_: Array, or_: Array) -> Array:
    """The objective of merged tables."""
    and_weights = jnp.where(orders_of(and_) == 0, 1, problem.and_weights)
    return jnp.sum(and_weights * jnp.abs(and_), axis=0) + jnp.sum(problem.or_weights * jnp.abs(or_), axis=0)


def feasible_tables(problem: Problem, and_: Array, absent: Array) -> Tables:
    """The decomposition nearest to any coefficients: what their sum lacks goes half to AND and half to OR."""
    orders = orders_of(and_)
    noise = problem.noise[None]
    total = synthesis(and_, absent)
    allowed = jnp.clip(total, problem.values - noise, problem.values + noise)
    missing = 0.5 * (allowed - total)
    and_ = and_ + zeta_first(missing, is_inverse=True)
    or_ = absent - zeta_first(complement(missing), is_inverse=True)
    and_ = jnp.where(orders == 0, (allowed[0] + problem.empty)[None], and_ + jnp.where(orders == 1, or_, 0))
    or_ = jnp.where(orders <= 1, 0, or_)
    return Tables(and_, or_, weighted_norm(problem, and_, or_))


class Dual(NamedTuple):
    """A feasible point of the dual, and how its value changes with the problem."""

    bound: Array  # [lanes] its value
    values: Array  # [2**n, lanes] derivative of the value by those of the game: the point itself
    empty: Array  # [lanes] by v(∅)
    noise: Array  # [lanes] by the largest |q|


def feasible_dual(problem: Problem, dual: Array) -> Dual:
    r"""The best feasible multiple of any vector; its value is a lower bound on the minimum.

    .. math:: \max_y \sum_T y(T) v(T) - b \|y\|_1 \quad\text{with}\quad
        \Bigl|\sum_{T \supseteq S} y(T)\Bigr| \le w_\mathrm{and}(S), \quad
        \Bigl|\sum_{T \cap S \ne \emptyset} y(T)\Bigr| \le w_\mathrm{or}(S)

    It is homogeneous but for y(∅), which enters one constraint only, that of S = ∅, and is chosen exactly.
    """
    orders = orders_of(dual)
    dual = jnp.where(orders == 0, 0, dual)
    above, below = analysis(dual)
    total = jnp.sum(dual, axis=0)
    # The ratio to the weight says by how much the vector has to shrink; empty weights never bind by themselves.
    and_excess = jnp.where(orders >= 1, jnp.abs(above) / problem.and_weights, 0)
    or_excess = jnp.where(orders >= 2, jnp.abs(total[None] + below) / problem.or_weights, 0)
    excess = jnp.maximum(jnp.max(and_excess, axis=0), jnp.max(or_excess, axis=0))
    shrink = safe_divide(jnp.ones_like(excess), excess)

    def of_multiple(factor: Array) -> Dual:
        point, sum_ = factor[None] * dual, factor * total
        # y(∅) = t - sum with |t| <= 1: concave and piecewise linear in t, so a corner is best.
        corners = jnp.stack([-jnp.ones_like(sum_), jnp.ones_like(sum_), jnp.clip(sum_, -1, 1)])
        gains = corners * problem.empty[None] - problem.noise[None] * jnp.abs(corners - sum_[None])
        best = jnp.argmax(gains, axis=0)[None]
        t, gain = (jnp.take_along_axis(table, best, axis=0)[0] for table in (corners, gains))
        norm = jnp.sum(jnp.abs(point), axis=0)
        bound = jnp.sum(point * problem.values, axis=0) - problem.noise * norm + gain
        return Dual(bound, point, t, -norm - jnp.abs(t - sum_))

    full, none = of_multiple(shrink), of_multiple(jnp.zeros_like(shrink))
    return Dual(*(jnp.where(full.bound >= none.bound, one, other) for one, other in zip(full, none, strict=True)))


def dual_bound(problem: Problem, dual: Array) -> Array:
    """A lower bound on the minimum from any vector: the value of `feasible_dual`."""
    return feasible_dual(problem, dual).bound
