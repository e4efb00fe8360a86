"""Interactions of one layer beside those of another: what is kept, what is new, and what is forgotten."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_floating_alike, as_table
from jaxrg.interactions import sum_by_order


class InteractionChanges(NamedTuple):
    """Strengths by order; before = kept + forgotten, and after = kept + new."""

    kept: Array  # [..., n + 1]
    new: Array  # [..., n + 1]
    forgotten: Array  # [..., n + 1]


def interaction_changes(before: ArrayLike, after: ArrayLike) -> InteractionChanges:
    r"""What of the interactions of one layer another one keeps, adds and drops, by order.

    .. math:: \mathrm{kept}^{(k)} = \sum_{|S| = k} \min(|I(S)|, |J(S)|)\,[I(S) J(S) > 0], \qquad
        \mathrm{new}^{(k)} = \sum_{|S| = k} |J(S)| - \mathrm{kept}^{(k)}, \qquad
        \mathrm{forgotten}^{(k)} = \sum_{|S| = k} |I(S)| - \mathrm{kept}^{(k)}

    What a layer says is read by a linear probe of its values (`run`, `probes.logistic_probes`), whose log odds are a
    game like any other. Some of it is kept by chance: put another interaction of the same order in its place
    (`shuffled_within_sizes`) for the null; and probes of other samples differ: see what those of one layer keep.

    Args:
        before: interactions I ``[..., 2**n]``, as of `interactions.harsanyi`, of one layer.
        after: J, of another.

    Raises:
        ValueError: shapes that differ, or a last axis that is no power of two.

    Example:
        >>> found = interaction_changes(jnp.array([0.0, 3.0, 1.0, 1.0]), jnp.array([0.0, 2.0, -1.0, 1.0]))
        >>> found.kept.tolist(), found.new.tolist(), found.forgotten.tolist()
        ([0.0, 2.0, 1.0], [0.0, 1.0, 0.0], [0.0, 2.0, 0.0])

    Reference:
        Cheng, Cheng, Peng, Xu, Han & Zhang, ICML 2024, arXiv:2409.08712.
    """
    first, second = as_floating_alike(before=as_table("before", before), after=as_table("after", after))
    if first.shape != second.shape:
        raise ValueError(f"after: expected shape {first.shape}, as of before, got {second.shape}")
    return _changes(first, second)


@jax.jit
def _changes(before: Array, after: Array) -> InteractionChanges:
    smaller = jnp.minimum(jnp.abs(before), jnp.abs(after))
    kept = jnp.where(jnp.sign(before) * jnp.sign(after) < 0, 0, smaller)
    return InteractionChanges(*map(sum_by_order, (kept, jnp.abs(after) - kept, jnp.abs(before) - kept)))
