"""Spins of a square lattice drawn from coarse to fine, with the exact probability of every draw."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg import random
from jaxrg.base import PyTree
from jaxrg.flows.spins import exact_conditionals, top
from jaxrg.flows.spins.plan import Plan

# Spins are floats [rows, columns, lanes] here: configurations side by side along the last axis.


def sublattice(spins: Array, level: int) -> Array:
    """Every 2**level-th spin along both axes."""
    step = 2**level
    return spins[::step, ::step]


def _flat(spins: Array) -> Array:
    """``[num_sites + 1, lanes]``: the sites in a row, and a zero in place of an unknown one."""
    flat = spins.reshape(-1, spins.shape[-1])
    return jnp.concatenate([flat, jnp.zeros_like(flat[:1])])


def top_log_prob(plan: Plan, params: PyTree, spins: Array) -> Array:
    """``[lanes]`` ln q of the spins of the top."""
    orbits = plan.orbits
    numbers = top.state_numbers(spins.reshape(-1, spins.shape[-1]))
    return top.log_probs(params["top"], orbits)[jnp.asarray(orbits.number)[numbers]]


def _field(plan: Plan, weights: PyTree, tables: PyTree, known: Array) -> Array:
    """``[sites, lanes]`` local field from ``[num_known, sites, lanes]``; products like all lanes as one axis."""
    return plan.conditional.field(weights, tables, known.reshape(len(known), -1)).reshape(known.shape[1:])


def level_log_prob(plan: Plan, params: PyTree, spins: Array, level: int) -> Array:
    """``[num_passes, lanes]`` ln q of the spins of the learned passes of a level, given the coarser ones."""
    flat = _flat(spins)

    def one_pass(_, row):
        weights, (passes, tables) = row
        targets, known = plan.sites(passes, level)
        field = _field(plan, weights, tables, flat[known])
        return None, jnp.sum(jax.nn.log_sigmoid(2 * field * flat[targets]), axis=0)

    return jax.lax.scan(one_pass, None, (params["levels"][level], plan.scanned(level)))[1]


def exact_log_prob(plan: Plan, couplings: Array, spins: Array) -> Array:
    """``[lanes]`` ln p of the sites whose conditional is known."""
    field = exact_conditionals.half_field(couplings, spins)
    total = jnp.sum(jnp.where(_odd(spins.shape[:2]), jax.nn.log_sigmoid(2 * field * spins), 0), axis=(0, 1))
    if plan.has_exact_quarter:
        field, centres = exact_conditionals.quarter_field(couplings, spins), spins[1::2, 1::2]
        logs = jax.nn.log_sigmoid(2 * field * centres)
        total = total + jnp.sum(jnp.where(_odd(centres.shape[:2]), logs, 0), axis=(0, 1))
    return total


def _odd(shape: tuple[int, ...]) -> np.ndarray:
    """``[rows, columns, 1]`` the odd sites of a checkerboard."""
    return (np.indices(shape).sum(axis=0) % 2 == 1)[..., None]


def _draw(key: Array, field: Array) -> tuple[Array, Array]:
    """Spins in a local field, and the ln probability of each."""
    counters = jnp.arange(field.size, dtype=jnp.uint32).reshape(field.shape)
    is_up = random.bernoulli_logit(key, counters, 2 * field)
    spins = jnp.where(is_up, jnp.ones_like(field), -jnp.ones_like(field))
    return spins, jax.nn.log_sigmoid(2 * field * spins)


def draw_top(plan: Plan, key: Array, params: PyTree, num_samples: int) -> tuple[Array, Array]:
    """Spins ``[rows, columns, num_samples]`` of the top, and ln q."""
    spins, log_probs = top.sample(key, top.log_probs(params["top"], plan.orbits), plan.orbits, num_samples)
    return spins.reshape(*plan.level_shape(plan.num_levels), num_samples), log_probs


def draw_level(plan: Plan, key: Array, params: PyTree, coarse: Array, level: int) -> tuple[Array, Array]:
    """The learned passes of a level on the spins of the one above; sites that are not drawn are zero."""
    shape = plan.level_shape(level)
    flat = _flat(jnp.zeros((*shape, coarse.shape[-1]), coarse.dtype).at[::2, ::2].set(coarse))

    def one_pass(carry, row):
        flat, total = carry
        number, weights, (passes, tables) = row
        targets, known = plan.sites(passes, level)
        field = _field(plan, weights, tables, flat[known])
        spins, logs = _draw(jax.random.fold_in(key, number), field)
        return (flat.at[targets].set(spins), total + jnp.sum(logs, axis=0)), None

    passes = plan.scanned(level)
    numbers = jnp.arange(len(passes[0].offsets), dtype=jnp.uint32)
    start = flat, jnp.zeros(coarse.shape[-1], coarse.dtype)
    (flat, total), _ = jax.lax.scan(one_pass, start, (numbers, params["levels"][level], passes))
    return flat[:-1].reshape(*shape, -1), total


def draw_exact(plan: Plan, key: Array, couplings: Array, spins: Array) -> tuple[Array, Array]:
    """The sites of the finest lattice whose conditional is known, on the others."""
    quarter_key, half_key = jax.random.split(key)
    total = jnp.zeros(spins.shape[-1], spins.dtype)
    if plan.has_exact_quarter:
        drawn, logs = _draw(quarter_key, exact_conditionals.quarter_field(couplings, spins))
        odd = _odd(drawn.shape[:2])
        total = total + jnp.sum(jnp.where(odd, logs, 0), axis=(0, 1))
        spins = spins.at[1::2, 1::2].set(jnp.where(odd, drawn, spins[1::2, 1::2]))
    drawn, logs = _draw(half_key, exact_conditionals.half_field(couplings, spins))
    odd = _odd(spins.shape[:2])
    return jnp.where(odd, drawn, spins), total + jnp.sum(jnp.where(odd, logs, 0), axis=(0, 1))


def draw_between(
    plan: Plan, key: Array, params: PyTree, couplings: Array, spins: Array, coarse: int, fine: int
) -> tuple[Array, Array]:
    """Spins of a fine level on those of a coarse one, and ln q of the others given them."""
    total = jnp.zeros(spins.shape[-1], spins.dtype)
    for level in reversed(range(fine, coarse)):
        spins, logs = draw_level(plan, jax.random.fold_in(key, level), params, spins, level)
        total = total + logs
    if fine == 0:
        spins, logs = draw_exact(plan, jax.random.fold_in(key, plan.num_levels + 1), couplings, spins)
        total = total + logs
    return spins, total
