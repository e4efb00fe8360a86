r"""AND-OR extraction solved: the sparsest split of a game into AND and OR interactions, with a proof of how sparse.

The method is Douglas-Rachford splitting (ADMM) in its reflected, anchored (Halpern) form with restarts. One half is
soft thresholding of the dividends and clipping of q. The other projects on "the dividends sum to v + q", exactly and
without a matrix of ``4**n`` entries, through the total spins of the players (`_schur.py`). The linear operator, of
condition number about 2.6**n, is thereby inverted and not iterated on, and a few hundred steps do what subgradients do
not do in 10**4.

The bound that comes with each result is the value of a dual point made feasible by scaling. It holds whatever the
iteration did, up to the rounding of one sum of 2**n terms.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from jaxrg.base import Progress, Status
from jaxrg.checks import as_count, as_floating, as_table, check_number, check_shape, is_traced
from jaxrg.interactions.and_or._problem import Problem, feasible_dual, orders_of, synthesis, zeta_first
from jaxrg.interactions.and_or._splitting import (
    CHUNK,
    FREE_METRIC,
    PINNED_METRIC,
    State,
    advance_open,
    gap,
    is_done,
    start,
)
from jaxrg.progress import reporting
from jaxrg.tables import MAX_BYTES, check_bytes
from jaxrg.transforms import num_bits

# Gaps that rounding leaves in reach, over the machine epsilon: 1.2e-4 in float32. What a game reaches gets worse with
# the number of its players, to 1e-3 and above for ten in float32.
LEAST_TOLERANCE_IN_EPSILONS = 1000
TABLES_PER_LANE = 40  # state, its successor, the best solution and the temporaries of a step


class AndOr(NamedTuple):
    """AND and OR interactions of games, and the proof of how far their objective is from the smallest possible."""

    and_: Array  # [..., 2**n] dividends; entry 0 is v(∅) + q(∅), and order 1 holds both kinds
    or_: Array  # [..., 2**n] dividends; zero for orders 0 and 1
    gamma: Array  # [..., 2**n]
    q: Array  # [..., 2**n], within its bound
    objective: Array  # [...] sum of absolute dividends, the empty set included
    bound: Array  # [...] value of a feasible dual point: no decomposition has a smaller objective
    relative_gap: Array  # [...] (objective - bound) / objective; 0 for the zero game
    iterations: Array  # int32[...]
    status: Array  # uint32[...] `jaxrg.base.Status`: NOT_CONVERGED where the gap is above the tolerance


class ExtractionError(RuntimeError):
    """An extraction stopped above its tolerance; ``result`` holds what it reached, gaps and all."""

    def __init__(self, message: str, result: AndOr):
        super().__init__(message)
        self.result = result


def _finish(problem: Problem, state: State, tolerance: Array) -> AndOr:
    and_, or_, objective = state.best
    absent = jnp.where(orders_of(or_) == 0, -jnp.sum(or_, axis=0)[None], or_)
    and_game = zeta_first(and_)
    total = synthesis(and_, absent)
    noise, game = problem.noise[None], problem.values + problem.empty[None]
    q = jnp.clip(total - game, -noise, noise)
    gamma = and_game - 0.5 * (game + q)
    return AndOr(
        *(table.T for table in (and_, or_, gamma, q)),
        objective=objective,
        bound=state.bound,
        relative_gap=gap(state),
        iterations=state.steps.astype(jnp.int32),
        status=Status.NOT_CONVERGED.when(~is_done(state, tolerance)),
    )


class _Task(NamedTuple):
    values: Array  # [games, 2**n]
    weights: tuple[Array | None, Array | None]  # [games, 2**n] of AND and OR; None is one
    noise_bound: Array
    tolerance: float
    limit: np.ndarray  # the tolerance, in the dtype of the values
    max_iterations: int
    metric: float


def _prepare(
    values: ArrayLike,
    noise_bound: ArrayLike,
    tolerance: float | None,
    max_iterations: int,
    weights: dict[str, ArrayLike | None],
    max_lanes: int | None,
    max_bytes: int,
) -> _Task:
    """What a solve needs to know, after the checks; a tolerance that rounding puts out of reach is refused."""
    games = as_table("values", values)
    max_iterations = as_count("max_iterations", max_iterations)
    bound = as_floating("noise_bound", noise_bound)
    if bound.ndim or not (is_traced(bound) or 0 <= float(bound) < np.inf):
        raise ValueError(f"noise_bound: expected one number of at least 0, got {noise_bound}")
    is_pinned = not is_traced(bound) and float(bound) == 0
    n = num_bits(games)
    if games.size == 0:
        raise ValueError(f"values: expected at least one game, got shape {games.shape}")
    num_lanes = math.prod(games.shape[:-1])
    num_lanes = num_lanes if max_lanes is None else min(num_lanes, max_lanes)
    needed = TABLES_PER_LANE * num_lanes * games.dtype.itemsize * 2**n
    check_bytes("values", needed, max_bytes, f"{TABLES_PER_LANE} tables for each of {num_lanes} games of {n} players")
    least = LEAST_TOLERANCE_IN_EPSILONS * float(jnp.finfo(games.dtype).eps)
    if tolerance is None:
        tolerance = max(1e-6, 10 * least)
    check_number("tolerance", tolerance, above=0)
    if tolerance < least:
        raise ValueError(
            f"tolerance: expected at least {least:.1e}, what {games.dtype} can reach, got {tolerance:.1e}; "
            "raise it, or give values in float64 (jax.enable_x64)"
        )
    tables = [None if given is None else _as_weights(name, given, games) for name, given in weights.items()]
    limit = np.asarray(float(tolerance), games.dtype)
    metric = PINNED_METRIC if is_pinned else FREE_METRIC
    flat = games.reshape(-1, 2**n) if games.ndim != 2 else games
    return _Task(flat, (tables[0], tables[1]), bound, float(tolerance), limit, max_iterations, metric)


def _as_weights(name: str, given: ArrayLike, games: Array) -> Array:
    table = as_floating(name, given)
    check_shape(name, table, games.shape)
    if not is_traced(table):
        host = np.asarray(table)
        if not np.all((host > 0) & np.isfinite(host)):
            raise ValueError(f"{name}: expected positive and finite weights, got {host.min()} to {host.max()}")
    return table.reshape(-1, games.shape[-1]) if table.ndim != 2 else table


def _problem_of(values: Array, weights: tuple[Array | None, Array | None], noise_bound: Array) -> Problem:
    """The problems of games ``[lanes, 2**n]``."""
    games = values.T
    tables = (jnp.ones_like(games) if table is None else table.T.astype(games.dtype) for table in weights)
    noise = noise_bound.astype(games.dtype) * jnp.abs(games[-1] - games[0])
    return Problem(games - games[:1], games[0], noise, *tables)


def solve(
    values: ArrayLike,
    *,
    noise_bound: ArrayLike = 0.02,
    tolerance: float | None = None,
    max_iterations: int = 20_000,
    and_weights: ArrayLike | None = None,
    or_weights: ArrayLike | None = None,
    max_bytes: int = MAX_BYTES,
) -> AndOr:
    r"""The AND and OR interactions with the smallest sum of absolute values, as a function to trace.

    .. math:: \min_{\gamma, q} \|I_\mathrm{and}\|_1 + \|I_\mathrm{or}\|_1, \qquad
        v_\mathrm{and} = \tfrac12 (v + q) + \gamma, \quad v_\mathrm{or} = \tfrac12 (v + q) - \gamma, \quad
        |q(T)| \le c |v(N) - v(\emptyset)|

    Orders 0 and 1, which no data can tell apart, are merged into the AND table: a shift of γ moves them between the
    tables and nothing else, and the smallest |a| + |b| at given a + b is |a + b|, so the minimum is the published one.
    The minimiser is often not unique: see `jaxrg.explain.extraction_ambiguity`. All games step until the last one is
    done; `extract` refills the places of those that are, and raises where this sets a status.

    ``objective`` has a gradient in the values, the noise bound and the weights, by the envelope theorem: the optimal
    dual vector, which is a subgradient where there are several, and NaN where the tolerance was not reached. The tables
    have none, since the game need not determine them; asking for it is refused.

    Args:
        values: ``[..., 2**n]``, float64 for gaps below about 1e-3.
        noise_bound: c; with 0 nothing is denoised.
        tolerance: relative gap at which a game is done, looked at every 50 steps; by default 1e-6 in float64 and
            1.2e-3 in float32.
        max_iterations: steps at most, rounded up to a multiple of 50.
        and_weights, or_weights: ``[..., 2**n]`` positive weights of the absolute values, one by default; of order 0,
            and of OR's order 1, not used.
        max_bytes: for the tables of all games.

    Returns:
        `AndOr`. ``objective`` and ``bound`` are weighted where there are weights.

    Raises:
        ValueError: wrong shapes or sizes, weights that are not positive where they can be seen, a tolerance below what
            the dtype can reach, or tables beyond ``max_bytes``.

    Example:
        >>> result = solve(jnp.array([0.0, 1.0, 1.0, 1.0]), noise_bound=0.0, tolerance=1e-3)  # an OR of two players
        >>> [round(float(x), 2) + 0.0 for x in result.or_], round(float(result.objective), 2)
        ([0.0, 0.0, 0.0, 1.0], 1.0)

    Reference:
        Problem: Li & Zhang, arXiv:2304.13312; Chen, Lou, Huang & Zhang, ICLR 2024, arXiv:2401.16318.
        Method: Lu & Yang, arXiv:2407.16144; Chen, Sun, Yuan, Zhang & Zhao, arXiv:2408.12179.
    """
    weights = {"and_weights": and_weights, "or_weights": or_weights}
    task = _prepare(values, noise_bound, tolerance, max_iterations, weights, None, max_bytes)
    lead = np.shape(values)[:-1]
    return _solve(task.values, task.weights, task.noise_bound, task.limit, task.max_iterations, task.metric, lead)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _solve(
    values: Array,
    weights: tuple[Array | None, Array | None],
    noise_bound: Array,
    limit: Array,
    max_iterations: Array,
    metric: float,
    lead: tuple[int, ...],
) -> AndOr:
    result = _minimum(_problem_of(values, weights, noise_bound), limit, max_iterations, metric)
    return jax.tree.map(lambda leaf: leaf.reshape(lead + leaf.shape[1:]), result)


def _iterate(problem: Problem, limit: Array, max_iterations: Array, metric: float) -> State:
    def is_open(carry: tuple[Array, State]) -> Array:
        chunks, state = carry
        return (chunks * CHUNK < max_iterations) & ~jnp.all(is_done(state, limit))

    def body(carry: tuple[Array, State]) -> tuple[Array, State]:
        chunks, state = carry
        return chunks + 1, advance_open(problem, state, limit, metric)

    return jax.lax.while_loop(is_open, body, (jnp.int32(0), start(problem)))[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _minimum(problem: Problem, limit: Array, max_iterations: Array, metric: float) -> AndOr:
    return _finish(problem, _iterate(problem, limit, max_iterations, metric), limit)


def _minimum_forward(problem: Any, limit: Any, max_iterations: Any, metric: float) -> tuple[AndOr, Any]:
    # With symbolic zeros each argument says whether it is differentiated, beside its value.
    problem, limit, max_iterations = jax.tree.map(
        lambda leaf: leaf.value, (problem, limit, max_iterations), is_leaf=lambda leaf: hasattr(leaf, "perturbed")
    )
    state = _iterate(problem, limit, max_iterations, metric)
    return _finish(problem, state, limit), (problem, state, limit, max_iterations)


def _minimum_backward(metric: float, kept: Any, cotangents: AndOr) -> tuple[Problem, Array, Any]:
    """The envelope theorem: the derivative of the smallest objective is that of the Lagrangian at the optimum."""
    problem, state, limit, max_iterations = kept
    asked = {
        name
        for name, cotangent in cotangents._asdict().items()
        if not isinstance(cotangent, SymbolicZero) and cotangent.dtype != jax.dtypes.float0
    }
    if asked - {"objective"}:
        raise ValueError(
            f"solve: expected a derivative of its objective, got one of {', '.join(sorted(asked - {'objective'}))}, "
            "which the game need not determine (there may be many minimisers) and no derivative is made for"
        )
    dual = feasible_dual(problem, state.multiplier)
    # A decomposition that is not optimal has no such derivative.
    scale = jnp.zeros_like(limit) if not asked else jnp.where(is_done(state, limit), cotangents.objective, jnp.nan)
    and_, or_, _ = state.best
    orders = orders_of(and_)
    by_weights = jnp.where(orders > 0, jnp.abs(and_), 0), jnp.where(orders > 1, jnp.abs(or_), 0)
    gradient = Problem(dual.values, dual.empty, dual.noise, *by_weights)
    gradient = jax.tree.map(lambda leaf: leaf * jnp.broadcast_to(scale, leaf.shape), gradient)
    return gradient, jnp.zeros_like(limit), np.zeros(np.shape(max_iterations), jax.dtypes.float0)


_minimum.defvjp(_minimum_forward, _minimum_backward, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnames="metric")
def _advance(
    values: Array,
    weights: tuple[Array | None, Array | None],
    noise_bound: Array,
    limit: Array,
    max_iterations: Array,
    state: State,
    is_fresh: Array,
    metric: float,
) -> tuple[State, Array, AndOr]:
    """A chunk of steps of games ``[lanes, 2**n]``, those that are fresh from the start: where they stand, which of them
    stop, and their results if any does."""
    problem = _problem_of(values, weights, noise_bound)
    state = jax.tree.map(lambda old, new: jnp.where(is_fresh, new, old), state, start(problem))
    state = advance_open(problem, state, limit, metric)
    is_over = ~(jnp.abs(gap(state)) > limit) | (state.steps >= max_iterations)
    finish = functools.partial(_finish, problem, state, limit)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(finish))
    return state, is_over, jax.lax.cond(jnp.any(is_over), finish, lambda: nothing)


def extract(
    values: ArrayLike,
    *,
    noise_bound: float = 0.02,
    tolerance: float | None = None,
    max_iterations: int = 20_000,
    and_weights: ArrayLike | None = None,
    or_weights: ArrayLike | None = None,
    num_lanes: int = 32,
    max_bytes: int = MAX_BYTES,
    progress: Progress | bool | None = None,
) -> AndOr:
    """`solve` of many games from the host: a game that is done gives its lane to the next one.

    Args:
        values, noise_bound, tolerance, max_iterations, and_weights, or_weights: as in `solve`.
        num_lanes: games at work at a time; one compilation for each number.
        max_bytes: for the tables of the games at work.
        progress: called as games finish, or True for a bar.

    Raises:
        ValueError: as `solve`, and for NaN or infinite values.
        ExtractionError: a game is above the tolerance after ``max_iterations`` steps; its ``result`` has all games.
    """
    if is_traced((values, noise_bound, and_weights, or_weights)):
        raise ValueError("values: expected numbers that can be seen, got a traced array; `solve` can be traced")
    weights = {"and_weights": and_weights, "or_weights": or_weights}
    max_lanes = as_count("num_lanes", num_lanes)
    task = _prepare(values, noise_bound, tolerance, max_iterations, weights, max_lanes, max_bytes)
    games, *tables = (None if table is None else np.asarray(table) for table in (task.values, *task.weights))
    assert games is not None
    if not np.all(np.isfinite(games)):
        raise ValueError("values: expected finite values, got NaN or infinite ones")
    lead, num_games = np.shape(values)[:-1], len(games)
    lanes = min(max_lanes, num_games)
    in_lane, is_busy, is_fresh = np.arange(lanes), np.ones(lanes, bool), np.ones(lanes, bool)

    def of_lanes(table: np.ndarray | None) -> np.ndarray | None:
        return None if table is None else table[in_lane]

    problem = jax.eval_shape(_problem_of, games[in_lane], (None, None), task.noise_bound)
    empty = jax.eval_shape(start, problem)
    shapes = jax.eval_shape(_finish, problem, empty, task.limit)
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), empty)
    results = jax.tree.map(lambda leaf: np.zeros((num_games, *leaf.shape[1:]), leaf.dtype), shapes)
    num_started, num_done = lanes, 0
    with reporting(progress, "extracting") as report:
        while num_done < num_games:
            at_work, limits = [of_lanes(table) for table in (games, *tables)], (task.limit, task.max_iterations)
            arguments = at_work[0], (at_work[1], at_work[2]), task.noise_bound, *limits, state, is_fresh
            state, is_over, found = _advance(*arguments, metric=task.metric)
            over = np.flatnonzero(is_busy & np.asarray(is_over))
            is_fresh = np.zeros(lanes, bool)
            if not len(over):
                continue
            for table, part in zip(results, found, strict=True):
                table[in_lane[over]] = np.asarray(part)[over]
            fresh = over[: num_games - num_started]
            is_busy[over[len(fresh) :]] = False
            in_lane[fresh] = num_started + np.arange(len(fresh))
            is_fresh[fresh] = True
            num_started, num_done = num_started + len(fresh), num_done + len(over)
            report(num_done, num_games, f"largest gap {results.relative_gap.max():.1e}")
    num_open, largest = int(np.sum(results.status != 0)), float(results.relative_gap.max())
    result = jax.tree.map(lambda leaf: jax.device_put(leaf.reshape(lead + leaf.shape[1:])), results)
    if num_open:
        raise ExtractionError(
            f"values: expected {num_games} games to reach the relative gap {task.tolerance:.1e} in "
            f"{task.max_iterations} iterations, got {num_open} above it, the largest gap {largest:.1e}; all results "
            "are in this exception's `result`",
            result,
        )
    return result
