"""Sparse recovery: planted functions come back exactly, with noise nearly so, and closed forms equal enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.interactions import Game, sparse
from jaxrg.interactions.sparse.codes import bch_code, decode
from jaxrg.interactions.sparse.lasso import lasso
from jaxrg.interactions.sparse.terms import held_out_r_squared
from jaxrg.tables import all_bits
from jaxrg.transforms import moebius, walsh


def _planted(num_players: int, num_terms: int, degree: int, *, seed: int = 0) -> sparse.Terms:
    generator = np.random.default_rng(seed)
    subsets = np.zeros((num_terms, num_players), bool)
    for row in subsets:
        row[generator.choice(num_players, generator.integers(0, degree + 1), replace=False)] = True
    subsets = np.unique(subsets, axis=0)
    coefficients = generator.choice([-1.0, 1.0], len(subsets)) * generator.uniform(0.5, 2.0, len(subsets))
    return sparse.Terms(jnp.asarray(subsets), jnp.asarray(coefficients))


def _player(terms: sparse.Terms):
    """Conjunctions as a game of NumPy, which asks for no compilation whatever the length of a batch."""
    subsets, coefficients = np.asarray(terms.subsets, np.float32), np.asarray(terms.coefficients)
    return lambda masks: ((~masks).astype(np.float32) @ subsets.T == 0) @ coefficients


def _as_dict(terms: sparse.Terms, tolerance: float = 0.0) -> dict[tuple[int, ...], float]:
    pairs = zip(np.asarray(terms.subsets), np.asarray(terms.coefficients), strict=True)
    return {tuple(np.flatnonzero(row).tolist()): float(c) for row, c in pairs if abs(float(c)) > tolerance}


def _assert_same(found: sparse.Terms, planted: sparse.Terms, atol: float) -> None:
    found_terms, planted_terms = _as_dict(found, 1e-9), _as_dict(planted)
    assert found_terms.keys() == planted_terms.keys()
    for subset, coefficient in planted_terms.items():
        assert abs(found_terms[subset] - coefficient) < atol, subset


def _index(values: jax.Array, n: int, order: int) -> np.ndarray:
    """Shapley values and pair interactions from the Möbius transform of the whole table."""
    dividends, masks = np.asarray(moebius(values)), np.asarray(all_bits(n))
    weights = dividends / np.maximum(masks.sum(1) - order + 1, 1) * (masks.sum(1) >= order)
    held = masks.astype(float)
    return weights @ held if order == 1 else (held.T @ (weights[:, None] * held)) * (1 - np.eye(n))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("order", [1, 2])
def test_interactions_of_terms_equal_enumeration(order):
    n, masks = 7, all_bits(7)
    terms = _planted(n, 20, 5)
    absent = jnp.asarray(np.random.default_rng(1).random(terms.subsets.shape) < 0.3) & ~terms.subsets

    @jax.jit
    def values_and_interactions(terms: sparse.Terms, absent: jax.Array):
        values, interactions = sparse.conjunction_values, sparse.conjunction_interactions
        return (
            (values(terms, masks, absent), interactions(terms, order, absent)),
            (values(terms, masks), interactions(terms, order)),
            (sparse.fourier_values(terms, masks), sparse.fourier_interactions(terms, order)),
        )

    for values, interactions in values_and_interactions(terms, absent):
        np.testing.assert_allclose(interactions, _index(values, n, order), atol=1e-12)
    with pytest.raises(ValueError, match="order: expected at most 2, got 3"):
        sparse.fourier_interactions(terms, 3)


@pytest.mark.usefixtures("x64")
def test_transforms_of_terms_equal_those_of_the_table():
    n, masks = 6, all_bits(6)
    terms = _planted(n, 12, 4)
    places = 2 ** np.arange(n)

    def table(found: sparse.Terms) -> np.ndarray:
        filled = np.zeros(2**n)
        np.add.at(filled, np.asarray(found.subsets).astype(int) @ places, np.asarray(found.coefficients))
        return filled

    series = sparse.fourier_values(terms, masks)
    np.testing.assert_allclose(table(terms), walsh(series), atol=1e-12)
    np.testing.assert_allclose(table(sparse.moebius_from_fourier(terms)), moebius(series), atol=1e-12)
    unanimity = sparse.conjunction_values(terms, masks)
    np.testing.assert_allclose(table(sparse.fourier_from_moebius(terms)), walsh(unanimity), atol=1e-12)
    wide = sparse.Terms(jnp.ones((1, 30), jnp.bool_), jnp.ones(1))
    with pytest.raises(ValueError, match="at most 20 players"):
        sparse.moebius_from_fourier(wide)


@pytest.mark.parametrize(("num_players", "degree"), [(6, 2), (100, 3), (1000, 4)])
def test_code_tells_all_small_subsets_apart(num_players, degree):
    code = bch_code(num_players, degree)
    generator = np.random.default_rng(0)
    for size in [*range(degree + 1)] * 10:
        subset = np.zeros(num_players, bool)
        subset[generator.choice(num_players, size, replace=False)] = True
        found = decode(code, code.checks @ subset.astype(int) % 2 == 1)
        assert found is not None
        np.testing.assert_array_equal(found, subset)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("num_players", "budget"), [(100, 3000), pytest.param(1000, 8000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_walsh_recovery_finds_planted_terms(num_players, budget, noise):
    planted = _planted(num_players, 30, 3)
    design = sparse.walsh_design(jax.random.key(0), num_players, budget)
    assert len(design.masks) <= budget
    values = np.asarray(sparse.fourier_values(planted, jnp.asarray(design.masks)))
    values = values + noise * np.random.default_rng(1).normal(size=len(values))
    fit = sparse.recover_walsh(design, values)
    assert fit.num_evaluations == len(design.masks)
    _assert_same(fit.terms, planted, 1e-9 if noise == 0 else 6 * noise / len(values) ** 0.5)
    expected = 1 - noise**2 / np.var(values)
    assert abs(float(fit.r_squared) - expected) < 5 * float(fit.r_squared_error) + 1e-12
    np.testing.assert_allclose(
        sparse.fourier_interactions(fit.terms, 1), sparse.fourier_interactions(planted, 1), atol=1e-8 + noise
    )


@pytest.mark.usefixtures("x64")
def test_walsh_recovery_says_when_there_is_nothing_sparse():
    design = sparse.walsh_design(jax.random.key(0), 100, 3000, degree=2)
    fit = sparse.recover_walsh(design, np.random.default_rng(0).normal(size=len(design.masks)))
    assert float(fit.r_squared) < 5 * float(fit.r_squared_error)
    with pytest.raises(ValueError, match="game: expected values of shape"):
        sparse.recover_walsh(design, np.zeros(3))
    with pytest.raises(ValueError, match=r"budget: expected at least [\d,]+ evaluations"):
        sparse.walsh_design(jax.random.key(0), 1000, 500)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("num_players", "degree", "budget"),
    [(30, 30, 2000), pytest.param(100, 100, 6000, marks=pytest.mark.slow), (1000, 5, 5000)],
)
def test_moebius_recovery_is_exact_at_any_degree(num_players, degree, budget):
    planted = _planted(num_players, 40, degree)
    play, asked = _player(planted), []

    def counted(masks: np.ndarray) -> np.ndarray:
        asked.append(len(masks))
        return play(masks)

    fit = sparse.recover_moebius(jax.random.key(0), Game(counted, num_players), budget)
    assert sum(asked) == fit.num_evaluations <= budget
    _assert_same(fit.terms, planted, 1e-9)
    assert float(fit.r_squared) == pytest.approx(1.0)
    np.testing.assert_allclose(
        sparse.conjunction_interactions(fit.terms, 1), sparse.conjunction_interactions(planted, 1), atol=1e-9
    )


@pytest.mark.usefixtures("x64")
def test_moebius_recovery_stands_noise_within_its_tolerance_and_tells_a_dense_game():
    planted, generator = _planted(50, 15, 4), np.random.default_rng(0)
    play = _player(planted)

    def noisy(masks: np.ndarray) -> np.ndarray:
        return play(masks) + 1e-4 * generator.normal(size=len(masks))

    fit = sparse.recover_moebius(jax.random.key(0), Game(noisy, 50), 3000, tolerance=2e-3)
    _assert_same(fit.terms, planted, 5e-3)
    dense = sparse.recover_moebius(
        jax.random.key(0), Game(lambda masks: np.sin(masks @ np.arange(12.0)), 12), 400, num_held_out=50
    )
    assert dense.num_evaluations <= 400
    assert float(dense.r_squared) < 0.9
    with pytest.raises(ValueError, match="game: expected finite values"):
        sparse.recover_moebius(jax.random.key(0), Game(lambda masks: np.full(len(masks), np.nan), 5), 200)
    with pytest.raises(ValueError, match="budget: expected more than"):
        sparse.recover_moebius(jax.random.key(0), Game(noisy, 50), 50)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_lasso_recovers_low_degree_functions(noise):
    planted, generator = _planted(16, 12, 2), np.random.default_rng(0)
    masks = generator.random((400, 16)) < 0.5
    clean = np.asarray(sparse.fourier_values(planted, jnp.asarray(masks)))
    fit = sparse.recover_low_degree(jnp.asarray(masks), jnp.asarray(clean + noise * generator.normal(size=400)), 2)
    found, expected = _as_dict(fit.terms), _as_dict(planted)
    for subset, coefficient in expected.items():
        assert abs(found[subset] - coefficient) < (1e-9 if noise == 0 else 5 * noise / 300**0.5)
    extra = [abs(found[subset]) for subset in found.keys() - expected.keys()]
    assert max(extra, default=0.0) < (1e-9 if noise == 0 else 5 * noise / 300**0.5)
    assert float(fit.r_squared) > 1 - 3 * noise**2 / np.var(clean) - 1e-9
    with pytest.raises(ValueError, match=r"degree: expected features, .* got [\d,]+ bytes"):
        sparse.recover_low_degree(jnp.asarray(masks), jnp.asarray(clean), 9)


@pytest.mark.usefixtures("x64")
def test_held_out_r_squared_and_its_error():
    line = np.arange(4.0)
    # Missing by 1/2 everywhere: 1 - (1/4) / (5/4).
    values, predictions = np.stack([line, line, np.ones(4)]), np.stack([np.full(4, 1.5), line + 0.5, np.ones(4)])
    r_squared = jax.jit(jax.vmap(held_out_r_squared))
    np.testing.assert_allclose(r_squared(values, predictions)[0], [0.0, 0.8, np.nan], atol=1e-15)
    signal, noise = np.random.default_rng(0).normal(size=(2, 2000, 100))
    found, errors = (np.asarray(part) for part in r_squared(signal + 0.5 * noise, signal))
    assert found.mean() == pytest.approx(0.8, abs=0.01)
    assert found.std() == pytest.approx(errors.mean(), rel=0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_one_bad_value_is_refused(bad):
    masks = np.random.default_rng(0).random((1000, 10)) < 0.5
    values = masks.sum(1).astype(np.float32)
    values[5] = bad
    message = r"game: expected finite values, got 1 of [\d,]+ that are NaN or infinite, the first at mask 5"
    with pytest.raises(ValueError, match=message):
        sparse.recover_low_degree(jnp.asarray(masks), jnp.asarray(values), 2)
    design = sparse.walsh_design(jax.random.key(0), 40, 1000, degree=2)
    with pytest.raises(ValueError, match=message):
        sparse.recover_walsh(design, np.where(np.arange(len(design.masks)) == 5, bad, 1.0))
    game = Game(lambda masks: np.where(np.arange(len(masks)) == 5, bad, 1.0), 10)
    with pytest.raises(ValueError, match=message):
        sparse.recover_moebius(jax.random.key(0), game, 400)


@pytest.mark.usefixtures("x64")
def test_lasso_gap_bounds_the_objective():
    generator = np.random.default_rng(0)
    features, targets = jnp.asarray(generator.normal(size=(60, 25))), jnp.asarray(generator.normal(size=60))
    penalty = jnp.asarray(0.1)

    def objective(coefficients) -> float:
        return float(jnp.sum((targets - features @ coefficients) ** 2) / 120 + 0.1 * jnp.sum(jnp.abs(coefficients)))

    solve = jax.jit(lasso, static_argnames="num_steps")
    short, long = (solve(features, targets, penalty, num_steps=steps) for steps in (10, 1000))
    assert 0 <= float(long.gap) < 1e-12 * 60 + 1e-12
    assert objective(short.coefficients) - objective(long.coefficients) <= float(short.gap) + 1e-12
    assert float(short.gap) > 1e-9
