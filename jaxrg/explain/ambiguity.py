"""How far AND-OR extraction is from having one answer: several optimal decompositions of a game, and what they share.

A linear programme may have a whole face of minimisers. Weights of the interactions that differ from one by a tiny
random amount pick a corner of that face (nearly) at random, and several draws show how large it is. An interaction that
only some of the draws have is a choice of the solver and not a property of the network.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_table, check_key, check_number
from jaxrg.explain.evidence import Decomposition, as_decomposition, as_fraction, salient_sets
from jaxrg.interactions.and_or import AndOr, extract
from jaxrg.interactions.view import SALIENT_FRACTION


class Ambiguity(NamedTuple):
    """Decompositions of the same games with nearly the smallest objective, and how they differ."""

    draws: AndOr  # fields [draws, ..., 2**n] and [draws, ...]
    and_range: Array  # [..., 2**n] largest less smallest dividend over the draws: a lower limit of the true range
    or_range: Array  # [..., 2**n]
    excess: Array  # [draws, ...] unweighted objective over the bound of the unperturbed problem, less one
    distance: Array  # [...] mean over pairs of draws of the L1 distance, over twice the objective: 0 equal, 1 disjoint
    jaccard: Array  # [...] mean over pairs of draws of the overlap of their salient sets
    common: Array  # [...] share of all sets salient in any draw that are salient in every one


def extraction_ambiguity(
    key: Array,
    values: ArrayLike,
    optimum: AndOr,
    *,
    num_draws: int = 8,
    perturbation: float = 1e-3,
    fraction: float = SALIENT_FRACTION,
    **options: Any,
) -> Ambiguity:
    r"""Solve again with weights :math:`1 + \delta \xi_S`, ξ uniform in [-1, 1], and compare the solutions.

    A minimiser of the perturbed problem exceeds the minimum by at most the factor
    :math:`(1 + \delta)/(1 - \delta)`, and ``excess`` says what it really is. Keep the tolerance well below δ, or draws
    differ because neither is finished.

    Args:
        values: ``[..., 2**n]``.
        optimum: of `and_or.extract` for the same values and noise bound; its dual bound is the yardstick.
        num_draws: decompositions, at least two.
        perturbation: δ, below one.
        fraction: of the largest strength above which a set is salient.
        options: of `and_or.extract`, the noise bound among them; the tolerance of float32 is no smaller than δ.

    Returns:
        `Ambiguity`. All draws have q within its bound, so denoising is part of the freedom.

    Raises:
        ExtractionError: a draw did not converge.
    """
    check_key("key", key)
    num_draws, values = as_count("num_draws", num_draws, minimum=2), as_table("values", values)
    check_number("perturbation", perturbation, above=0, below=1)
    if not isinstance(optimum, AndOr):
        raise ValueError(f"optimum: expected what and_or.extract returns, got a {type(optimum).__name__}")
    tables, bound = as_decomposition(optimum, bound=optimum.bound)
    if tables.and_.shape != values.shape or bound.shape != values.shape[:-1]:
        raise ValueError(f"optimum: expected tables of shape {tuple(values.shape)}, got {tuple(tables.and_.shape)}")
    share = as_fraction(fraction)
    games, over, under = _perturbed(key, values, np.float64(perturbation), num_draws=num_draws)
    return _compare(extract(games, and_weights=over, or_weights=under, **options), bound, share)


@functools.partial(jax.jit, static_argnames="num_draws")
def _perturbed(key: Array, values: Array, perturbation: Array, *, num_draws: int) -> tuple[Array, Array, Array]:
    """The games, repeated, and weights of their AND and OR interactions that differ a little from one."""
    shape = (num_draws, *values.shape)
    over, under = (
        1 + perturbation.astype(values.dtype) * jax.random.uniform(one, shape, values.dtype, -1.0, 1.0)
        for one in jax.random.split(key)
    )
    return jnp.broadcast_to(values[None], shape), over, under


@jax.jit
def _compare(draws: AndOr, bound: Array, fraction: Array) -> Ambiguity:
    tables = jnp.concatenate([draws.and_, draws.or_], axis=-1)
    objective = jnp.sum(jnp.abs(tables), axis=-1)
    is_salient = salient_sets(Decomposition(draws.and_, draws.or_), fraction)
    first, second = (jnp.asarray(side) for side in np.triu_indices(len(tables), 1))
    count = lambda sets: jnp.sum(sets, axis=-1, dtype=jnp.int32).astype(tables.dtype)  # noqa: E731
    overlap = count(is_salient[first] & is_salient[second]) / count(is_salient[first] | is_salient[second])
    distance = jnp.sum(jnp.abs(tables[first] - tables[second]), axis=-1)
    return Ambiguity(
        draws=draws,
        and_range=jnp.ptp(draws.and_, axis=0),
        or_range=jnp.ptp(draws.or_, axis=0),
        excess=objective / bound[None].astype(objective.dtype) - 1,
        distance=jnp.mean(distance, axis=0) / (2 * jnp.mean(objective, axis=0)),
        jaccard=jnp.mean(overlap, axis=0),
        common=count(jnp.all(is_salient, axis=0)) / count(jnp.any(is_salient, axis=0)),
    )
