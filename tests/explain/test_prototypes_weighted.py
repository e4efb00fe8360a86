"""Weights that are never negative against all subsets and SciPy, and what greedy choice loses against the optimum."""

import itertools

import jax
import numpy as np
import pytest
from scipy.optimize import nnls

from jaxrg.explain import prototypes
from jaxrg.explain.prototypes.weighted import nonnegative_weights
from tests.explain.test_prototypes import GAMMA, NUM_POINTS, cloud, gaussian, mmd_by_definition

COUNT = 4


def best_fit(matrix: np.ndarray, indices) -> tuple[np.ndarray, float]:
    """Optimal nonnegative weights and their gain l, by SciPy on the Cholesky factor."""
    indices = list(indices)
    own, means = matrix[np.ix_(indices, indices)], matrix.mean(1)[indices]
    factor = np.linalg.cholesky(own + 1e-13 * np.eye(len(indices)))
    weights, _ = nnls(factor.T, np.linalg.solve(factor, means))
    return weights, float(weights @ means - 0.5 * weights @ own @ weights)


def gain_of(matrix: np.ndarray, found) -> float:
    """l from the distance that is reported."""
    return 0.5 * (matrix.mean() - float(np.ravel(found.mmd_squared)[-1]))


def embedded(seed: int, gamma: float = GAMMA):
    points = cloud(seed)
    return prototypes.mean_embedding(points, prototypes.rbf(gamma)), gaussian(points, gamma)


@pytest.mark.parametrize("condition", [1e1, 1e4])
def test_nonnegative_weights_are_those_of_scipy(condition, x64):
    """Random problems with negative correlations, in which half of the weights are zero."""
    random = np.random.default_rng(0)
    fit = jax.jit(jax.vmap(nonnegative_weights))
    problems = []
    for _ in range(40):
        basis = np.linalg.qr(random.normal(size=(8, 8)))[0]
        own = basis @ np.diag(np.geomspace(1, 1 / condition, 8)) @ basis.T
        problems.append((own, random.normal(size=8), np.arange(8) < 7, np.zeros(8)))
    found = np.asarray(fit(*map(np.stack, zip(*problems, strict=True))))
    for weights, (own, means, _, _) in zip(found, problems, strict=True):
        factor = np.linalg.cholesky(own[:7, :7])
        exact, _ = nnls(factor.T, np.linalg.solve(factor, means[:7]))
        np.testing.assert_allclose(weights[:7], exact, atol=1e-9 * condition)
        assert weights[7] == 0
    assert 0.3 < np.mean(found == 0) < 0.8


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_optimal_after_every_choice(seed):
    found, matrix = embedded(seed)
    for choose in (prototypes.protodash, prototypes.protogreedy):
        chosen = choose(found, COUNT)
        weights, gain = best_fit(matrix, chosen.indices)
        np.testing.assert_allclose(chosen.weights, weights, atol=2e-4)
        assert gain_of(matrix, chosen) == pytest.approx(gain, abs=1e-6)
        assert np.all(np.diff(chosen.mmd_squared) <= 1e-7)
        distance = mmd_by_definition(matrix, chosen.indices, chosen.weights)
        assert float(chosen.mmd_squared[-1]) == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_each_choice_is_the_best_of_all_candidates(seed):
    found, matrix = embedded(seed)
    by_gain = prototypes.protogreedy(found, COUNT).indices.tolist()
    by_gradient = prototypes.protodash(found, COUNT).indices.tolist()
    for size in range(COUNT):
        rest = set(range(NUM_POINTS)) - set(by_gain[:size])
        gains = {index: best_fit(matrix, [*by_gain[:size], index])[1] for index in rest}
        assert gains[by_gain[size]] > max(gains.values()) - 1e-7
        weights, _ = best_fit(matrix, by_gradient[:size]) if size else (np.zeros(0), 0)
        gradient = matrix.mean(1) - matrix[:, by_gradient[:size]] @ weights
        gradient[by_gradient[:size]] = -np.inf
        assert gradient[by_gradient[size]] > gradient.max() - 1e-6


def test_exchanges_of_weighted_prototypes_end_at_a_local_optimum():
    found, matrix = embedded(4)
    start = [0, 1, 2, 3]
    result = prototypes.swap_weighted(found, start)
    gain = best_fit(matrix, result.indices)[1]
    assert bool(result.is_local_optimum)
    assert int(result.num_swaps) > 0
    assert gain > best_fit(matrix, start)[1]
    assert gain_of(matrix, result) == pytest.approx(gain, abs=1e-6)
    indices = result.indices.tolist()
    for place, new in itertools.product(range(COUNT), set(range(NUM_POINTS)) - set(indices)):
        other = [*indices[:place], new, *indices[place + 1 :]]
        assert best_fit(matrix, other)[1] < gain + 1e-5


def test_doubles_get_one_weight():
    points = np.repeat(cloud(0, 5), 3, axis=0)
    found = prototypes.mean_embedding(points, prototypes.rbf(GAMMA))
    chosen = prototypes.protodash(found, 15)
    assert np.all(np.isfinite(chosen.weights))
    assert np.all(np.asarray(chosen.weights) >= 0)
    assert float(chosen.mmd_squared[-1]) == pytest.approx(0, abs=1e-5)
    assert float(np.sum(chosen.weights)) == pytest.approx(1, abs=1e-2)


@pytest.mark.slow
def test_what_greedy_choice_loses_against_all_subsets():
    """MMD² can be several times the optimum, the weighted fit loses a few per cent, and exchanges help both."""
    ratios, shares = [], []
    subsets = np.array(list(itertools.combinations(range(NUM_POINTS), COUNT)))
    for seed in range(12):
        found, matrix = embedded(seed)
        best = min(mmd_by_definition(matrix, subset) for subset in subsets)
        most = max(best_fit(matrix, subset)[1] for subset in subsets)
        greedy, weighted = prototypes.mmd_critic(found, COUNT), prototypes.protogreedy(found, COUNT)
        better = prototypes.swap(found, greedy.indices)
        refitted = prototypes.swap_weighted(found, weighted.indices)
        ratios.append([float(greedy.mmd_squared[-1]) / best, float(better.mmd_squared) / best])
        shares.append([gain_of(matrix, weighted) / most, gain_of(matrix, refitted) / most])
    ratios, shares = np.array(ratios), np.array(shares)
    assert ratios.min() > 1 - 1e-3
    assert shares.max() < 1 + 1e-4
    assert ratios[:, 0].mean() > 1.2  # no guarantee, and it shows
    assert np.all(ratios[:, 1] <= ratios[:, 0] + 1e-5)
    assert ratios[:, 1].mean() < ratios[:, 0].mean() - 0.1
    assert shares[:, 0].min() > 0.9
    assert np.all(shares[:, 1] >= shares[:, 0] - 1e-5)
