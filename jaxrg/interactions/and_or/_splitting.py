r"""Reflected and anchored Douglas-Rachford splitting with restarts for AND-OR extraction, one game a lane."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide
from jaxrg.interactions.and_or._problem import (
    Problem,
    Tables,
    analysis,
    dual_bound,
    feasible_tables,
    orders_of,
    soft_threshold,
    synthesis,
)
from jaxrg.interactions.and_or._schur import solve_gram

# Steps between looks at the gap, which costs about as much as two steps.
CHUNK = 50
# How much more easily q moves than a dividend. 10 to 100 are equally good at n = 8 to 10; where q is pinned to zero its
# freedom within a step only delays, up to fivefold.
FREE_METRIC, PINNED_METRIC = 30.0, 0.01
# First threshold over the largest value of the game; a restart corrects it.
FIRST_THRESHOLD = 0.003
# Restart where the residual fell to SUFFICIENT of its value at the last one, or to NECESSARY and is growing, or after
# a fraction LONGEST of all steps: the rules of PDLP with the numbers of HPR-LP (arXiv:2408.12179).
SUFFICIENT, NECESSARY, LONGEST = 0.2, 0.6, 0.2
SHORTEST = 5.0
LARGEST_CORRECTION = 4.0


class State(NamedTuple):
    """Where the iteration stands; points are AND dividends, OR dividends and v + q, stacked."""

    point: Array  # [3, 2**n, lanes]
    anchor: Array  # [3, 2**n, lanes] the point of the last restart
    primal_origin: Array  # [3, 2**n, lanes] projection at the last restart
    dual_origin: Array  # [3, 2**n, lanes] dual at the last restart, as a gradient
    since_restart: Array  # [lanes] steps
    first_residual: Array  # [lanes] after the last restart
    last_residual: Array  # [lanes]
    steps: Array  # [lanes]
    threshold: Array  # [lanes]
    offers: Array  # [2, 2, 2**n, lanes] dividends after either half of the last step
    multiplier: Array  # [2**n, lanes] dual after the last step
    best: Tables
    bound: Array  # [lanes] best so far


def start(problem: Problem) -> State:
    """Nothing explained yet."""
    values = problem.values
    point = jnp.stack([jnp.zeros_like(values), jnp.zeros_like(values), values])
    none = jnp.zeros_like(problem.empty)
    infinite = jnp.full_like(problem.empty, jnp.inf)
    return State(
        point=point,
        anchor=point,
        primal_origin=point,
        dual_origin=jnp.zeros_like(point),
        since_restart=none,
        first_residual=infinite,
        last_residual=infinite,
        steps=none,
        threshold=jnp.maximum(FIRST_THRESHOLD * jnp.max(jnp.abs(values), axis=0), jnp.finfo(values.dtype).tiny),
        offers=jnp.zeros((2, 2, *values.shape), values.dtype),
        multiplier=jnp.zeros_like(values),
        best=feasible_tables(problem, jnp.zeros_like(values), jnp.zeros_like(values)),
        bound=-infinite,
    )


def _project(point: Array, metric: float) -> tuple[Array, Array]:
    """The nearest dividends that sum to their v + q, and the multiplier."""
    and_, absent, total = point
    dual = solve_gram(total - synthesis(and_, absent), metric)
    to_and, to_absent = analysis(dual)
    return jnp.stack([and_ + to_and, absent + to_absent, total - metric * dual]), dual


def _shrink(problem: Problem, point: Array, threshold: Array, metric: float) -> Array:
    """The proximal map of the objective and of the bound on q."""
    and_, absent, total = point
    orders = orders_of(and_)
    # Constants are paid for through v(∅) + q(∅), and are free in both tables.
    is_paid = (orders > 0).astype(and_.dtype) * threshold[None]
    empty = soft_threshold(total[0] + problem.empty, metric * threshold) - problem.empty
    total = jnp.where(orders == 0, empty[None], total)
    noise = problem.noise[None]
    return jnp.stack(
        [
            soft_threshold(and_, is_paid * problem.and_weights),
            soft_threshold(absent, is_paid * jnp.where(orders == 1, problem.and_weights, problem.or_weights)),
            jnp.clip(total, problem.values - noise, problem.values + noise),
        ]
    )


def _norm(point: Array, metric: float) -> Array:
    squares = jnp.sum(jnp.square(point), axis=1)
    return jnp.sqrt(squares[0] + squares[1] + squares[2] / metric)


def _step(problem: Problem, state: State, metric: float) -> State:
    projection, dual = _project(state.point, metric)
    shrunk = _shrink(problem, 2 * projection - state.point, state.threshold, metric)
    residual = shrunk - projection
    size = _norm(residual, metric)
    first = jnp.where(state.since_restart == 0, size, state.first_residual)
    is_restart = (state.since_restart > SHORTEST) & (
        (size <= SUFFICIENT * first)
        | ((size <= NECESSARY * first) & (size > state.last_residual))
        | (state.since_restart >= LONGEST * state.steps)
    )
    reflected = state.point + 2 * residual
    weight = (state.since_restart + 1) / (state.since_restart + 2)
    anchored = weight[None, None] * reflected + (1 - weight)[None, None] * state.anchor

    # The threshold weighs primal against dual distances; the best one makes what is left of both alike.
    gradient = (projection - state.point) / state.threshold[None, None]
    moved, turned = _norm(projection - state.primal_origin, metric), _norm(gradient - state.dual_origin, metric)
    is_known = (moved > 0) & (turned > 0)
    ratio = jnp.where(is_known, safe_divide(moved, turned * state.threshold), 1)
    correction = jnp.clip(jnp.sqrt(ratio), 1 / LARGEST_CORRECTION, LARGEST_CORRECTION)
    # A point is projection - threshold x gradient, so a new threshold moves it.
    restarted = projection + correction[None, None] * (reflected - projection)

    def choose(if_restart: Array, otherwise: Array) -> Array:
        lanes = is_restart.reshape((1,) * (otherwise.ndim - 1) + (-1,))
        return jnp.where(lanes, if_restart, otherwise)

    return state._replace(
        point=choose(restarted, anchored),
        anchor=choose(restarted, state.anchor),
        primal_origin=choose(projection, state.primal_origin),
        dual_origin=choose(gradient, state.dual_origin),
        since_restart=choose(jnp.zeros_like(size), state.since_restart + 1),
        first_residual=first,
        last_residual=size,
        steps=state.steps + 1,
        threshold=choose(state.threshold * correction, state.threshold),
        offers=jnp.stack([projection[:2], shrunk[:2]]),
        multiplier=dual / state.threshold[None],
    )


def _look(problem: Problem, state: State) -> State:
    """Keep the best decomposition and the best bound; either half of a step offers a decomposition."""
    best = state.best
    for half in (0, 1):
        found = feasible_tables(problem, state.offers[half, 0], state.offers[half, 1])
        is_better = found.objective < best.objective
        best = Tables(*(jnp.where(is_better, new, old) for new, old in zip(found, best, strict=True)))
    bound = jnp.maximum(state.bound, dual_bound(problem, state.multiplier))
    return state._replace(best=best, bound=bound)


def gap(state: State) -> Array:
    """``(objective - bound) / objective`` of the best ones, zero for the zero game; rounding may leave it negative."""
    return safe_divide(state.best.objective - state.bound, state.best.objective)


def is_done(state: State, tolerance: Array) -> Array:
    """Where the gap is within the tolerance; an infinite one, of either sign, and NaN are not."""
    return jnp.abs(gap(state)) <= tolerance


def advance_open(problem: Problem, state: State, tolerance: Array, metric: float) -> State:
    """One chunk of steps for the lanes that are not done; any metric leads to the same minimum."""
    is_kept = is_done(state, tolerance)
    moved, _ = jax.lax.scan(lambda state, _: (_step(problem, state, metric), None), state, length=CHUNK)
    return jax.tree.map(lambda old, new: jnp.where(is_kept, old, new), state, _look(problem, moved))
