"""AND-OR extraction against a simplex solver, closed forms and its own certificates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxrg.base import Status
from jaxrg.interactions import and_or, from_harsanyi, from_harsanyi_or, harsanyi, harsanyi_or
from jaxrg.interactions.and_or import _problem as convex
from jaxrg.interactions.and_or import _schur
from jaxrg.interactions.and_or import _splitting as splitting

pytestmark = pytest.mark.usefixtures("x64")


def random_games(num_games: int, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_games, 2**n))


def simplex_minimum(values: np.ndarray, noise: float) -> float:
    """The published problem as a linear programme in γ and q, every order of both tables in the objective."""
    size = len(values)
    eye = np.eye(size)
    to_and = np.asarray(harsanyi(jnp.asarray(eye))).T
    to_or = np.asarray(harsanyi_or(jnp.asarray(eye))).T
    # Columns: gamma, q, then bounds t >= |I| of both tables.
    rows = np.block([[to_and, 0.5 * to_and], [-to_or, 0.5 * to_or]])
    constant = np.concatenate([to_and @ values, to_or @ values]) / 2
    bounds_matrix = np.block([[rows, -np.eye(2 * size)], [-rows, -np.eye(2 * size)]])
    result = linprog(
        np.concatenate([np.zeros(2 * size), np.ones(2 * size)]),
        A_ub=bounds_matrix,
        b_ub=np.concatenate([-constant, constant]),
        bounds=[(None, None)] * size + [(-noise, noise)] * size + [(0, None)] * (2 * size),
        method="highs",
    )
    assert result.status == 0
    return result.fun


@jax.jit
def solve_weighted(values, noise_bound, and_weights, or_weights):
    """One program for eight games of one player, and one for eight of five."""
    return and_or.solve(values, noise_bound=noise_bound, tolerance=1e-8, and_weights=and_weights, or_weights=or_weights)


def solve(values, noise_bound, *, and_weight: float = 1.0, or_weight: float = 1.0) -> and_or.AndOr:
    weights = (jnp.full(values.shape, weight) for weight in (and_weight, or_weight))
    return solve_weighted(values, noise_bound, *weights)


GAMES = random_games(8, 5)


@pytest.mark.parametrize("num_players", range(6))
def test_solves_with_the_gram_matrix_exactly(num_players):
    gram = sum(functools.reduce(np.kron, [g] * num_players, np.eye(1)) for g in (_schur.AND_GRAM, _schur.OR_GRAM))
    right_side = random_games(3, num_players).T
    solved = np.asarray(_schur.solve_gram(jnp.asarray(right_side), 2.0))
    assert np.abs(gram @ solved + 2.0 * solved - right_side).max() < 1e-12


def test_spin_basis_is_orthogonal_with_all_paths():
    basis, layout = _schur.spin_basis(5)
    assert np.abs(basis @ basis.T - np.eye(32)).max() < 1e-14
    assert [(m.d, m.num_paths) for m in layout] == [(5, 1), (3, 4), (1, 5)]


def test_analysis_is_the_transpose_of_synthesis():
    a, o, y = (jnp.asarray(random_games(2, 4, seed).T) for seed in range(3))
    to_a, to_o = convex.analysis(y)
    left = jnp.sum(convex.synthesis(a, o) * y)
    assert abs(float(left - jnp.sum(to_a * a) - jnp.sum(to_o * o))) < 1e-12


@pytest.mark.parametrize(("num_players", "noise_bound"), [(1, 0.3), (5, 0.0), (5, 0.02), (5, 0.3)])
def test_equals_the_simplex_minimum(num_players, noise_bound):
    games = random_games(8, num_players)
    result = solve(jnp.asarray(games), noise_bound)
    assert np.all(np.asarray(result.status) == 0)
    for index, game in enumerate(games[:2]):
        exact = simplex_minimum(game, noise_bound * abs(game[-1] - game[0]))
        assert float(result.objective[index]) == pytest.approx(exact, rel=1e-6, abs=1e-9)
        assert float(result.bound[index]) <= exact * (1 + 1e-9)


def test_result_is_feasible_and_consistent():
    games = jnp.asarray(GAMES)
    result = solve(games, 0.1)
    total = from_harsanyi(result.and_) + from_harsanyi_or(result.or_)
    np.testing.assert_allclose(total, games + result.q, atol=1e-12)
    limit = 0.1 * np.abs(GAMES[:, -1] - GAMES[:, 0])
    assert np.all(np.abs(result.q) <= limit[:, None])
    half = 0.5 * (games + result.q)
    np.testing.assert_allclose(harsanyi(half + result.gamma), result.and_, atol=1e-12)
    np.testing.assert_allclose(harsanyi_or(half - result.gamma), result.or_, atol=1e-12)
    norm = np.abs(result.and_).sum(-1) + np.abs(result.or_).sum(-1)
    np.testing.assert_allclose(norm, result.objective, rtol=1e-13)
    assert np.all(np.asarray(result.or_)[:, [0, 1, 2, 4, 8, 16]] == 0)


def test_recovers_a_sparse_mixture():
    and_, or_ = np.zeros((8, 32)), np.zeros((8, 32))
    and_[:, [0b00111, 0b11000]], or_[:, [0b10101, 0b01110]] = [2.0, -1.5], [1.0, 0.7]
    and_[:, 0] = np.arange(8) - 2.0
    game = from_harsanyi(jnp.asarray(and_)) + from_harsanyi_or(jnp.asarray(or_))
    result = solve(game, 0.0)
    np.testing.assert_allclose(result.and_, and_, atol=1e-6)
    np.testing.assert_allclose(result.or_, or_, atol=1e-6)
    # The constant moves between the kinds for free, and costs its absolute value wherever it is.
    np.testing.assert_allclose(result.objective, 5.2 + np.abs(np.arange(8) - 2.0), rtol=1e-7)


def test_dual_bound_holds_for_any_vector():
    minimum = simplex_minimum(GAMES[0], 0.05 * abs(GAMES[0, -1] - GAMES[0, 0]))
    lanes = np.repeat(GAMES[:1], 50, axis=0).T
    ones = jnp.ones((32, 50))
    problem = convex.Problem(
        jnp.asarray(lanes - lanes[0]), jnp.asarray(lanes[0]), jnp.asarray(0.05 * abs(lanes[-1] - lanes[0])), ones, ones
    )
    bounds = jax.jit(convex.dual_bound)(problem, jnp.asarray(random_games(50, 5, seed=9).T))
    assert float(bounds.max()) <= minimum
    # A vector that is no good still gives the bound of the empty set.
    assert float(bounds.min()) >= abs(GAMES[0, 0]) - 0.05 * abs(GAMES[0, -1] - GAMES[0, 0])


def test_is_covariant_under_scale_and_constant():
    plain = solve(jnp.asarray(GAMES), 0.0)
    moved = solve(jnp.asarray(1000.0 * (GAMES - GAMES[:, :1]) + 500.0), 0.0)
    expected = 1000.0 * (np.asarray(plain.objective) - np.abs(GAMES[:, 0])) + 500.0
    np.testing.assert_allclose(moved.objective, expected, rtol=1e-6)


def test_denoising_pays():
    exact, denoised = solve(jnp.asarray(GAMES), 0.0), solve(jnp.asarray(GAMES), 0.1)
    assert np.all(np.asarray(exact.q) == 0)
    assert np.all(np.asarray(denoised.objective) < np.asarray(exact.bound))


def test_zero_game():
    zero = solve(jnp.zeros((8, 32)), 0.0)
    assert np.all(np.asarray(zero.objective) == 0.0)
    assert np.all(np.asarray(zero.status) == 0)


def test_weights_decide_between_the_kinds():
    games = jnp.asarray(GAMES)
    # OR interactions that cost a thousand times as much stay out, and the AND table is the Harsanyi transform.
    np.testing.assert_allclose(solve(games, 0.0, or_weight=1e3).and_, harsanyi(games), atol=1e-4)


def test_driver_refills_lanes_and_raises():
    games = jnp.asarray(GAMES[:7])
    done = []
    result = and_or.extract(games, num_lanes=2, tolerance=1e-8, progress=lambda *report: done.append(report))
    np.testing.assert_allclose(result.objective, solve(jnp.asarray(GAMES), 0.02).objective[:7], rtol=1e-7)
    assert done[-1][:2] == (7, 7)
    assert "largest gap" in done[-1][2]
    with pytest.raises(and_or.ExtractionError, match="values: expected 7 games to reach the relative gap") as caught:
        and_or.extract(games, num_lanes=2, tolerance=1e-12, max_iterations=50)
    assert int(caught.value.result.status.max()) == Status.NOT_CONVERGED
    assert float(caught.value.result.relative_gap.max()) < 1.0


def test_float32_keeps_its_dtype():
    games = jnp.asarray(random_games(2, 3), jnp.float32)
    result = and_or.extract(games)  # the defaults are within its reach
    assert all(leaf.dtype == jnp.float32 for leaf in result[:7])
    assert np.all(np.asarray(result.status) == 0)
    with pytest.raises(ValueError, match=r"tolerance: expected at least 1.2e-04, what float32 can reach, got 1.0e-06"):
        and_or.extract(games, tolerance=1e-6)


def test_a_gap_that_is_not_finite_is_not_convergence():
    # Negative weights have no minimum; where they are traced, only the gap can tell.
    result = solve(jnp.asarray(random_games(8, 1)), 0.02, and_weight=-1.0, or_weight=-1.0)
    assert np.all(np.asarray(result.status) == Status.NOT_CONVERGED)
    state = splitting.start(convex.Problem(*[jnp.ones((2, 1))], *[jnp.ones(1)] * 2, *[jnp.ones((2, 1))] * 2))
    for bound, is_done in ((jnp.inf, False), (-jnp.inf, False), (jnp.nan, False), (state.best.objective[0], True)):
        found = splitting.is_done(state._replace(bound=jnp.full(1, bound)), jnp.asarray(1e-6))
        assert bool(found[0]) == is_done


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": jnp.zeros(6)}, "length 2\\*\\*n, got 6"),
        ({"values": jnp.zeros(8, jnp.complex64)}, "values: expected real numbers"),
        ({"values": jnp.full(8, jnp.nan)}, "values: expected finite"),
        ({"noise_bound": -0.1}, "noise_bound: expected one number of at least 0, got -0.1"),
        ({"tolerance": 0.0}, "tolerance: expected a number between 0"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"tolerance": 1e-14}, "what float64 can reach, got 1.0e-14"),
        ({"or_weights": jnp.zeros(4)}, r"or_weights: expected shape \(8,\), got \(4,\)"),
        ({"or_weights": jnp.zeros(8)}, "or_weights: expected positive and finite weights, got 0.0 to 0.0"),
        ({"and_weights": -jnp.ones(8)}, "and_weights: expected positive and finite weights, got -1.0 to -1.0"),
        ({"and_weights": jnp.full(8, jnp.inf)}, "and_weights: expected positive and finite"),
        ({"values": jnp.zeros((0, 8))}, r"values: expected at least one game, got shape \(0, 8\)"),
    ],
)
def test_refuses_bad_input(changes, message):
    arguments = {"values": np.zeros(8), **changes}
    with pytest.raises(ValueError, match=message):
        and_or.extract(arguments.pop("values"), **arguments)


def smallest(values, noise_bound, and_weights, or_weights):
    result = and_or.solve(
        values, noise_bound=noise_bound, tolerance=1e-10, and_weights=and_weights, or_weights=or_weights
    )
    return jnp.sum(result.objective)


@pytest.mark.slow
@pytest.mark.parametrize("noise_bound", [0.0, 0.05])
def test_the_gradient_of_the_smallest_objective_is_that_of_finite_differences(noise_bound):
    games = jnp.asarray(random_games(2, 3))
    weights = 1 + 0.3 * jnp.asarray(np.random.default_rng(1).random((2, 2, 8)))
    point = (games, jnp.asarray(noise_bound), *weights)
    objective = jax.jit(smallest) if noise_bound else jax.jit(lambda *p: smallest(p[0], 0.0, *p[2:]))
    gradient = jax.jit(jax.grad(smallest, argnums=(0, 1, 2, 3)))(*point)
    for place in (0, 1, 2, 3) if noise_bound else (0, 2, 3):
        direction = jnp.asarray(np.random.default_rng(place).normal(size=point[place].shape))
        step = 1e-6
        ends = [
            float(objective(*point[:place], point[place] + sign * step * direction, *point[place + 1 :]))
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        assert float(jnp.sum(gradient[place] * direction)) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    # An OR of two players: v({0}), v({1}) and v(N) tell of it, and more of v(N) than of both is an AND.
    both = jax.grad(lambda v: and_or.solve(v, noise_bound=0.0).objective)(jnp.array([0.0, 1.0, 1.0, 1.5]))
    h = 1e-4
    around = [
        float(and_or.solve(jnp.array([0.0, 1.0, 1.0, 1.5 + sign * h]), noise_bound=0.0, tolerance=1e-10).objective)
        for sign in (1, -1)
    ]
    assert float(both[3]) == pytest.approx((around[0] - around[1]) / (2 * h), abs=1e-4)


def test_what_has_no_derivative_is_refused_and_what_is_not_solved_gives_none():
    games = jnp.asarray(random_games(1, 3)[0])
    with pytest.raises(ValueError, match="solve: expected a derivative of its objective, got one of and_, or_"):
        jax.grad(lambda v: jnp.sum(sum(and_or.solve(v)[:2])))(games)
    unsolved = jax.grad(lambda v: and_or.solve(v, tolerance=1e-12, max_iterations=1).objective)(games)
    assert np.isnan(unsolved).all()
    with pytest.raises(ValueError, match="values: expected numbers that can be seen, got a traced array; `solve` can"):
        jax.grad(lambda v: and_or.extract(v).objective)(games)


def test_refuses_tables_beyond_memory():
    games = jax.ShapeDtypeStruct((1000, 2**20), jnp.float64)
    with pytest.raises(
        ValueError, match=r"values: expected 40 tables .* of 20 players within .* got 335,544,320,000 bytes"
    ):
        jax.eval_shape(and_or.solve, games)
    with pytest.raises(ValueError, match="for each of 2 games of 5 players within 20,479 bytes"):
        and_or.extract(jnp.zeros((7, 32)), num_lanes=2, max_bytes=20479)
    assert and_or.extract(jnp.zeros((7, 32)), num_lanes=2, max_bytes=20480).objective.shape == (7,)
