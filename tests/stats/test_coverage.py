"""Stated errors hold: processes whose exact error is known, and the series that no estimator may call converged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import errors
from jaxrg import lattice, models, samplers, stats
from jaxrg.models import Observables


def check(row: errors.Row, repeats: int) -> None:
    """Coverage of what is called converged within the contract's 3 and 2 per cent, and four deviations of chance."""
    if row.called <= 0.5:
        return
    called = row.called * repeats
    one, two = 0.03 + 4 * (0.2166 / called) ** 0.5, 0.02 + 4 * (0.0434 / called) ** 0.5
    assert abs(row.one_sigma - 0.6827) < one, row
    assert abs(row.two_sigma - 0.9545) < two, row


@pytest.mark.slow
def test_coverage_of_summaries() -> None:
    rows = list(errors.coverage_of_processes(True, 300, ("summary",)))
    for row in rows:
        check(row, 300)
        assert row.called > 0.5, row


SOONER = ("summary", "gamma_method", "jackknife")  # the others are exhaustive


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SOONER else pytest.mark.exhaustive)
        for name in errors.ESTIMATORS
    ],
)
def test_coverage_of_every_estimator(name: str) -> None:
    rows = list(errors.coverage_of_processes(True, 400, (name,)))
    for row in rows:
        check(row, 400)
    assert any(row.called > 0.5 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heat_bath", "wolff", "multispin_heat_bath"])
def test_coverage_of_real_chains(name: str) -> None:
    coupling = errors.COUPLINGS["at Tc"]
    for row in errors.coverage_of_sampler(name, "at Tc", coupling, 400):
        check(row, 400)


def summary_of(x: np.ndarray) -> stats.Summary:
    return jax.tree.map(np.asarray, stats.summary(x))


@pytest.mark.parametrize("samples", [99, 1000, 20_000])
def test_alternating_series_are_worth_no_negative_number_of_samples(samples: int) -> None:
    found = summary_of((np.arange(samples) % 2).astype(np.float32)[None])
    assert found.num_effective_samples > samples
    assert found.error >= 0


@pytest.mark.slow
def test_recoil_of_a_checkerboard_sweep_is_no_correlation() -> None:
    """Heat bath at small coupling: the error of the mean is the scatter of 1024 independent chains."""
    ising = models.Ising(lattice.hypercubic((8, 8)), 0.1)
    sampler = samplers.multispin_metropolis(ising, num_chains=1024)
    warm = samplers.run(jax.random.key(0), sampler, sampler.init(jax.random.key(1)), 64).state
    magnetization = samplers.run(jax.random.key(2), sampler, warm, 512, observe=models.magnetization).trace
    found = summary_of(magnetization)
    scatter = np.asarray(magnetization).mean(axis=1).std(ddof=1) / np.sqrt(1024)
    np.testing.assert_allclose(found.error, scatter, rtol=0.1)
    np.testing.assert_allclose(found.tau_int, 0.1115, rtol=0.1)  # recomputed from the means of 1024 chains
    assert found.is_converged


def test_oscillation_is_no_correlation() -> None:
    """x_t = a x_(t-1) + b x_(t-2) + noise with poles 0.8 at 120 degrees: tau_int 0.0378, error 0.0032."""
    process = errors.process("", errors.swinging(0.8, 120), samples=2**14)
    coefficients = errors.swinging(0.8, 120)[1:]
    exact_constant = 1 / (1 - sum(coefficients)) ** 2
    found = summary_of(process.draw(np.random.default_rng(1), 1)[0])
    variance = (1 - coefficients[1]) / ((1 + coefficients[1]) * ((1 - coefficients[1]) ** 2 - coefficients[0] ** 2))
    np.testing.assert_allclose(exact_constant / variance / 2, 0.0378, rtol=0.01)
    np.testing.assert_allclose(found.tau_int, exact_constant / variance / 2, rtol=0.25)
    assert found.is_converged


def test_frozen_trending_and_disagreeing_chains_are_flagged() -> None:
    rng = np.random.default_rng(1)
    good = rng.standard_normal((4, 1000)).astype(np.float32)
    assert summary_of(good).is_converged
    frozen = good.copy()
    frozen[2] = frozen[2, 0]
    assert not summary_of(frozen).is_converged
    wide = good * np.array([[1.0], [1.0], [1.0], [3.0]], np.float32)
    assert not summary_of(wide).is_converged
    assert summary_of(wide).r_hat > 1.1
    trend = good + np.linspace(0, 1, 1000, dtype=np.float32)
    assert not summary_of(trend).is_converged


@pytest.mark.slow
def test_a_start_off_equilibrium_is_reported() -> None:
    x = np.random.default_rng(2).standard_normal((2, 2000)).astype(np.float32)
    x[:, :200] += 3
    found = summary_of(x)
    assert 100 <= found.equilibration <= 400
    assert not found.is_converged
    assert summary_of(x[:, 256:]).equilibration == 0


def test_a_known_slow_time_is_taken_into_account() -> None:
    x = np.random.default_rng(3).standard_normal((1, 4000)).astype(np.float32)
    assert summary_of(x).is_converged
    assert not np.asarray(stats.summary(x, tau_exp=100.0).is_converged)


@pytest.mark.slow
def test_the_slowest_observable_sets_the_band_of_all() -> None:
    draw = errors.autoregression(0.99, chains=1, samples=100_000)
    slow = draw(np.random.default_rng(4), 1)[0].astype(np.float32)
    fast = np.random.default_rng(5).standard_normal((1, 100_000)).astype(np.float32)
    alone = stats.gamma_method(lambda mean: mean, fast)
    together = stats.gamma_method(lambda mean: mean["fast"], {"fast": fast, "slow": slow})
    assert float(together.num_degrees_of_freedom) < float(alone.num_degrees_of_freedom) / 2


@pytest.mark.slow
def test_integers_far_from_zero_and_half_precision_keep_their_errors() -> None:
    rng = np.random.default_rng(6)
    small = rng.integers(0, 10, (1, 10_000))
    expected = summary_of(small).error
    for offset, dtype in ((2**30, np.int32), (2**30, np.int64), (-(2**31), np.int64), (0, np.int8), (0, np.uint8)):
        np.testing.assert_allclose(summary_of((small + offset).astype(dtype)).error, expected, rtol=1e-5)
    half = small.astype(np.float16)
    np.testing.assert_allclose(summary_of(half).error, expected, rtol=1e-5)
    edges = np.where(small > 4, 2**31 - 1, -(2**31)).astype(np.int32)
    np.testing.assert_allclose(summary_of(edges).error * 2.0**-32, summary_of(small > 4).error, rtol=1e-5)


def test_estimates_print_as_physicists_write_them() -> None:
    found = stats.summary(np.random.default_rng(7).standard_normal((4, 1000)).astype(np.float32))
    text = str(found._replace(mean=jnp.float32(-1.44532), error=jnp.float32(0.0049)))
    assert text == "-1.4453(49)"
    assert repr(stats.summary(Observables(np.ones((1, 8), np.float32), np.ones((1, 8), np.float32)))).count("NOT") == 2


@pytest.mark.slow
def test_rows_that_follow_one_another_are_flagged_by_the_bootstrap() -> None:
    draw = errors.autoregression(0.9, chains=1, samples=4000)
    rows = draw(np.random.default_rng(8), 1)[0, 0].astype(np.float32)
    one = stats.bootstrap(jax.random.key(0), jnp.mean, rows)
    blocks = stats.bootstrap(jax.random.key(0), jnp.mean, rows, block_length=300)
    assert not one.is_converged
    assert blocks.is_converged
    np.testing.assert_allclose(blocks.error, (19 / 4000) ** 0.5, rtol=0.3)
    assert stats.bootstrap(jax.random.key(0), jnp.mean, np.random.default_rng(9).permutation(rows)).is_converged
