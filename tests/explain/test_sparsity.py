"""The conditions of the sparsity theorem on games whose constants are known in closed form, and its bound on any."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import explain

N = 6
SIZES = np.bitwise_count(np.arange(2**N)).astype(float)
PRECISIONS = ("float32", "float64")


@pytest.fixture(params=PRECISIONS)
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


def measure(values, dtype):
    found = explain.sparsity_conditions(jnp.asarray(values, dtype))
    assert all(field.dtype == dtype for field in found)
    return found


def test_players_who_act_alone(dtype):
    """v = m: A_1 = n, all else 0; the bound is (n^1 u(1)) / τ = 6 / 0.05."""
    found = measure(3.0 + SIZES, dtype)
    assert (float(found.highest_order), float(found.strength_above)) == (1, 0)
    assert float(found.largest_drop) < 4 * jnp.finfo(dtype).eps
    np.testing.assert_allclose(found.exponent, 1.0, rtol=1e-6)
    np.testing.assert_allclose(found.mean_values, np.arange(N + 1), rtol=1e-6)
    np.testing.assert_allclose(found.sums, [0, 6, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.num_salient, [0, 6, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(found.bound, [0, 120, 0, 0, 0, 0, 0], rtol=2e-6)


def test_a_square(dtype):
    """v = m^2: every player 1, every pair 2, p = 2. From the mean values u = A_1 m/6 + A_2 C(m,2)/15 at 3 and 6,
    A_1 = (10 u(3) - 2 u(6)) / 3 and A_2 = (5 u(6) - 10 u(3)) / 3, with u(3) <= 9 and u(6) <= 36, and τ = 0.1."""
    found = measure(SIZES**2, dtype)
    assert float(found.highest_order) == 2
    np.testing.assert_allclose(found.exponent, 2.0, rtol=1e-6)
    np.testing.assert_allclose(found.sums[:3], [0, 6, 30], atol=1e-5)
    np.testing.assert_allclose(found.num_salient[:3], [0, 6, 15])
    np.testing.assert_allclose(found.bound, [0, 30 / 0.1, 60 / 0.1, 0, 0, 0, 0], rtol=1e-5)


def test_a_game_that_saturates(dtype):
    """v = 1 - (1 - q)^m: every set of k players has -(-q)^k, and u is steepest, on logarithms, from 1 to 2 players."""
    q = 0.3
    found = measure(1 - (1 - q) ** SIZES, dtype)
    np.testing.assert_allclose(found.exponent, math.log2(2 - q), rtol=2e-6)
    strengths = np.array([math.comb(N, k) * q**k for k in range(1, N + 1)])
    np.testing.assert_allclose(found.sums[1:], -np.array([(-1) ** k for k in range(1, N + 1)]) * strengths, atol=1e-5)
    assert float(found.highest_order) == 3  # 0.3^2 >= 0.05 > 0.3^3
    np.testing.assert_allclose(found.strength_above, strengths[3:].sum() / strengths.sum(), rtol=1e-3)
    np.testing.assert_allclose(found.threshold, 0.05 * q, rtol=1e-6)


def test_a_game_that_rises_and_falls(dtype):
    """v = m (n - m) is 9 at three players and 0 at six; its steepest step is from 1 to 2 players, 5 to 8."""
    found = measure(SIZES * (N - SIZES), dtype)
    np.testing.assert_allclose(found.largest_drop, 9.0, rtol=1e-6)
    np.testing.assert_allclose(found.exponent, math.log2(8 / 5), rtol=1e-5)
    assert np.all(found.num_salient <= found.bound)


def test_conditions_that_fail(dtype):
    """All together or nothing: no power of m'/m is zero. And a game in which nothing matters meets all of them."""
    together = measure(SIZES == N, dtype)
    assert np.isinf(together.exponent)
    assert np.isinf(together.bound[1:]).all()
    np.testing.assert_allclose(together.num_salient, [0, 0, 0, 0, 0, 0, 1])
    for constant in (np.zeros(2**N), np.full(2**N, 0.7)):
        nothing = measure(constant, dtype)
        assert not any(np.any(field) for field in nothing._replace(cancellation=jnp.zeros(1)))
    falling = measure(-SIZES, dtype)
    assert float(falling.largest_drop) == N
    assert np.isinf(falling.exponent)


def test_cancellation_is_counted(dtype):
    """Pairs of both signs: of 15 pairs five are -1 and ten 1, so that η = 5/15; players 2 each, so that u rises."""
    pairs = [(i, j) for i in range(N) for j in range(i)]
    masks = (np.arange(2**N)[:, None] >> np.arange(N)) & 1
    values = 2.0 * masks.sum(1)
    for number, (i, j) in enumerate(pairs):
        values += np.where(number < 5, -1, 1) * masks[:, i] * masks[:, j]
    found = measure(values, dtype)
    np.testing.assert_allclose(found.cancellation[:3], [1, 1, 5 / 15], rtol=1e-5)
    np.testing.assert_allclose(found.num_salient[1:3], [6, 15])
    assert float(found.bound[2]) >= 15


def test_the_bound_holds_for_any_game_with_an_exponent(dtype):
    random = np.random.default_rng(0)
    masks = (np.arange(2**N)[:, None] & np.arange(2**N)[None]) == np.arange(2**N)[None]
    games = []
    for scale in np.linspace(0.0, 1.0, 200):
        sizes = np.bitwise_count(np.arange(2**N))
        decay = np.exp(-random.uniform(0.3, 2) * sizes)
        games.append(masks @ (np.where(sizes == 1, 1.0, 0.0) + scale * decay * random.normal(size=2**N)))
    found = measure(np.stack(games), dtype)
    has_exponent = np.isfinite(found.exponent)
    assert has_exponent.sum() > 20
    assert np.any(np.asarray(found.largest_drop)[has_exponent] > 0)
    assert np.any(np.asarray(found.strength_above)[has_exponent] > 0)
    assert np.all(np.asarray(found.num_salient)[has_exponent] <= np.asarray(found.bound)[has_exponent] * (1 + 1e-5))
    assert np.isinf(np.asarray(found.bound)[~has_exponent]).any(axis=-1).all()


def test_the_bound_is_a_power_of_n():
    """For a fixed M and p the bound over n^p does not grow with n, while the number of sets grows as n^M."""
    ratios = []
    for n in (6, 12):
        sizes = np.bitwise_count(np.arange(2**n)).astype(np.float32)
        found = explain.sparsity_conditions(sizes**2)
        ratios.append(float(found.bound[2]) * float(found.threshold) / n**2)
    assert max(ratios) < 2.0
    assert max(ratios) / min(ratios) < 1.2


def test_nan_stays_nan_and_each_game_is_its_own():
    games = np.stack([SIZES, SIZES**2, SIZES])
    games[2, 5] = np.nan
    found = explain.sparsity_conditions(games)
    assert all(np.isnan(field[2]).all() for field in found)
    assert not any(np.isnan(field[:2]).any() for field in found)
    np.testing.assert_allclose(found.exponent[:2], [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(found.bound[1], explain.sparsity_conditions(games[1].tolist()).bound, rtol=1e-6)
    with pytest.raises(ValueError, match=r"values: expected a last axis of length 2\*\*n, got 3"):
        explain.sparsity_conditions([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"fraction: expected a number in \(0, 1\], got 0"):
        explain.sparsity_conditions(SIZES, 0)
