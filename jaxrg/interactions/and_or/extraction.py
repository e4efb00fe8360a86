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
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.base import Progress, Status
from jaxrg.checks import check_count, is_traced
from jaxrg.interactions.and_or._problem import Problem, orders_of, synthesis, zeta_first
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
    problem: Problem  # of all games, one a lane
    tolerance: float
    limit: Array  # the tolerance, in the dtype of the values
    metric: float


def _prepare(
    values: Array,
    noise_bound: ArrayLike,
    tolerance: float | None,
    max_iterations: int,
    weights: dict[str, ArrayLike | None],
    num_lanes: int,
    max_bytes: int,
) -> _Task:
    """What a solve needs to know, after the checks; a tolerance that rounding puts out of reach is refused."""
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise ValueError(f"values: expected floating values, got {values.dtype}")
    check_count("max_iterations", max_iterations)
    is_pinned = False
    if not is_traced(noise_bound):
        if np.ndim(noise_bound) or not 0 <= np.asarray(noise_bound) < np.inf:
            raise ValueError(f"noise_bound: expected one number of at least 0, got {noise_bound}")
        is_pinned = bool(np.asarray(noise_bound) == 0)
    n = num_bits(values)
    if values.size == 0:
        raise ValueError(f"values: expected at least one game, got shape {values.shape}")
    needed = TABLES_PER_LANE * num_lanes * values.dtype.itemsize * 2**n
    check_bytes("values", needed, max_bytes, f"{TABLES_PER_LANE} tables for each of {num_lanes} games of {n} players")
    least = LEAST_TOLERANCE_IN_EPSILONS * float(jnp.finfo(values.dtype).eps)
    tolerance = max(1e-6, 10 * least) if tolerance is None else tolerance
    if not 0 < tolerance < np.inf:
        raise ValueError(f"tolerance: expected a positive number, got {tolerance}")
    if tolerance < least:
        raise ValueError(
            f"tolerance: expected at least {least:.1e}, what {values.dtype} can reach, got {tolerance:.1e}; "
            "raise it, or give values in float64 (jax.enable_x64)"
        )
    tables = [values]
    for name, given in weights.items():
        table = jnp.ones_like(values) if given is None else jnp.asarray(given, values.dtype)
        if table.shape != values.shape:
            raise ValueError(f"{name}: expected the shape of values {values.shape}, got {table.shape}")
        if not (given is None or is_traced(table)) and not bool(jnp.all((table > 0) & jnp.isfinite(table))):
            raise ValueError(f"{name}: expected positive and finite weights, got {table.min()} to {table.max()}")
        tables.append(table)
    games, *weight_tables = (table.reshape(-1, 2**n).T for table in tables)
    noise = jnp.asarray(noise_bound, values.dtype) * jnp.abs(games[-1] - games[0])
    problem = Problem(games - games[:1], games[0], noise, *weight_tables)
    return _Task(problem, tolerance, jnp.asarray(tolerance, values.dtype), PINNED_METRIC if is_pinned else FREE_METRIC)


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
    values = jnp.asarray(values)
    lead = values.shape[:-1]
    weights = {"and_weights": and_weights, "or_weights": or_weights}
    task = _prepare(values, noise_bound, tolerance, max_iterations, weights, int(np.prod(lead)), max_bytes)
    result = _solve(task.problem, task.limit, max_iterations, metric=task.metric)
    return jax.tree.map(lambda leaf: leaf.reshape(lead + leaf.shape[1:]), result)


@functools.partial(jax.jit, static_argnames="metric")
def _solve(problem: Problem, limit: Array, max_iterations: Array | int, *, metric: float) -> AndOr:
    def is_open(carry: tuple[Array, State]) -> Array:
        chunks, state = carry
        return (chunks * CHUNK < max_iterations) & ~jnp.all(is_done(state, limit))

    def body(carry: tuple[Array, State]) -> tuple[Array, State]:
        chunks, state = carry
        return chunks + 1, advance_open(problem, state, limit, metric)

    _, state = jax.lax.while_loop(is_open, body, (jnp.int32(0), start(problem)))
    return _finish(problem, state, limit)


_advance = jax.jit(advance_open, static_argnames="metric")
_finished = jax.jit(_finish)


@jax.jit
def _refill(problem: Problem, state: State, fresh: Problem, is_fresh: ArrayLike) -> tuple[Problem, State]:
    return jax.tree.map(lambda old, new: jnp.where(is_fresh, new, old), (problem, state), (fresh, start(fresh)))


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
    values = jnp.asarray(values)
    check_count("num_lanes", num_lanes)
    lead = values.shape[:-1]
    num_games = int(np.prod(lead))
    num_lanes = max(min(num_lanes, num_games), 1)
    weights = {"and_weights": and_weights, "or_weights": or_weights}
    task = _prepare(values, noise_bound, tolerance, max_iterations, weights, num_lanes, max_bytes)
    if not bool(jnp.all(jnp.isfinite(values))):
        raise ValueError("values: expected finite values, got NaN or infinite ones")
    in_lane, is_busy = np.arange(num_lanes), np.ones(num_lanes, bool)
    problem = jax.tree.map(lambda table: table[..., in_lane], task.problem)
    state = jax.jit(start)(problem)
    shapes = jax.eval_shape(_finished, problem, state, task.limit)
    results = jax.tree.map(lambda leaf: np.zeros((num_games, *leaf.shape[1:]), leaf.dtype), shapes)
    num_started, num_done = num_lanes, 0
    with reporting(progress, "extracting") as report:
        while num_done < num_games:
            state = _advance(problem, state, task.limit, task.metric)
            gaps, steps = jax.device_get((gap(state), state.steps))
            over = np.flatnonzero(is_busy & (~(np.abs(gaps) > task.tolerance) | (steps >= max_iterations)))
            if not len(over):
                continue
            for table, found in zip(results, _finished(problem, state, task.limit), strict=True):
                table[in_lane[over]] = np.asarray(found)[over]
            fresh = over[: num_games - num_started]
            is_busy[over[len(fresh) :]] = False
            in_lane[fresh] = num_started + np.arange(len(fresh))
            num_started, num_done = num_started + len(fresh), num_done + len(over)
            if len(fresh):
                games = jax.tree.map(lambda table: table[..., in_lane], task.problem)
                problem, state = _refill(problem, state, games, np.isin(np.arange(num_lanes), fresh))
            report(num_done, num_games, f"largest gap {results.relative_gap.max():.1e}")
    result = jax.tree.map(lambda leaf: jnp.asarray(leaf).reshape(lead + leaf.shape[1:]), results)
    num_open = int(jnp.sum(result.status != 0))
    if num_open:
        raise ExtractionError(
            f"values: expected {num_games} games to reach the relative gap {task.tolerance:.1e} in {max_iterations} "
            f"iterations, got {num_open} above it, the largest gap {float(jnp.max(result.relative_gap)):.1e}; all "
            "results are in this exception's `result`",
            result,
        )
    return result
