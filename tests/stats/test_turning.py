"""Broken lines that are found again, and the search against ordinary least squares at every knot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import stats


def test_the_knot_is_the_best_of_least_squares(x64):
    times = np.sort(np.random.default_rng(0).uniform(0, 10, 25))
    curves = np.random.default_rng(1).normal(size=(2, 3, 25)) + 0.4 * np.abs(times - 6)
    turn = jax.jit(lambda curves: stats.turning_point(times, curves))(jnp.asarray(curves))
    for row in np.ndindex(2, 3):
        fits = []
        for knot in times[2:-2]:
            design = np.stack([np.ones(25), times, np.maximum(0, times - knot)], axis=1)
            coefficients, residual, *_ = np.linalg.lstsq(design, curves[row], rcond=None)
            fits.append((residual[0], knot, coefficients[1], coefficients[1] + coefficients[2]))
        best = min(fits)
        spread = np.sum((curves[row] - curves[row].mean()) ** 2)
        measured = [turn.r_squared[row], turn.time[row], turn.slope_before[row], turn.slope_after[row]]
        np.testing.assert_allclose(measured, [1 - best[0] / spread, *best[1:]], rtol=1e-9)


def test_a_turn_is_found_in_float32_on_a_large_offset():
    times = jnp.log(jnp.arange(1.0, 41.0))
    curve = 1000 - 2 * times + 5 * jnp.maximum(0, times - times[11])
    turn = jax.jit(lambda curve: stats.turning_point(times, curve))(curve)
    assert float(turn.time) == pytest.approx(float(times[11]))
    assert (float(turn.slope_before), float(turn.slope_after)) == pytest.approx((-2, 3), abs=1e-2)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="times: expected increasing numbers"):
        stats.turning_point(jnp.array([0.0, 1.0, 1.0, 2.0, 3.0]), jnp.zeros(5))
    with pytest.raises(ValueError, match="curve: expected 5 values"):
        stats.turning_point(jnp.arange(5.0), jnp.zeros(4))
    with pytest.raises(ValueError, match="curve: expected more than 4 points"):
        stats.turning_point(jnp.arange(4.0), jnp.zeros(4))


def test_a_curve_with_nan_and_a_constant_one_have_no_turn() -> None:
    curves = np.stack([np.full(10, np.nan), np.where(np.arange(10) == 5, np.nan, 1.0), np.zeros(10)]).astype(np.float32)
    assert np.isnan(np.asarray(stats.turning_point(np.arange(10.0), curves).time)).all()
