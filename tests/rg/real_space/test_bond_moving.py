"""Migdal and Kadanoff's maps against closed forms and chains that are multiplied out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rg
from jaxrg.rg import real_space

MAPS = {"move": real_space.move_then_decimate, "decimate": real_space.decimate_then_move}


def decimated_by_hand(coupling, rescaling, num_states):
    matrix = np.exp(coupling * np.eye(num_states))
    power = np.linalg.matrix_power(matrix, rescaling)
    return np.log(power[0, 0] / power[0, 1])


@pytest.mark.parametrize("num_states", [2, 3, 7])
def test_decimation_is_a_power_of_the_transfer_matrix(num_states, x64):
    for rescaling in (2, 3):
        for coupling in (-0.4, 0.3, 0.999, 1.001, 4.0):
            found = real_space.move_then_decimate(coupling, rescaling, ndim=1, num_states=num_states)
            expected = decimated_by_hand(coupling, rescaling, num_states)
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-14)
    both = [real_space.decimate_then_move(0.7, 3, ndim=3, num_states=num_states)]
    both.append(9 * decimated_by_hand(0.7, 3, num_states))
    both.append(real_space.move_then_decimate(0.7 / 9, 3, ndim=3, num_states=num_states))
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)
    np.testing.assert_allclose(both[2], decimated_by_hand(0.7, 3, num_states), rtol=1e-12)


@pytest.mark.parametrize("is_double", [True, False])
def test_ising_spins_to_all_digits_from_weak_to_strong(is_double):
    with jax.enable_x64(is_double):
        couplings = jnp.array([0.0, 1e-6, 0.3, 0.6, 3.0, 40.0, 500.0])
        found, slopes = jax.vmap(jax.value_and_grad(real_space.move_then_decimate))(couplings)
        x = 4 * np.asarray(couplings, np.float64)
        tolerance = 1e-12 if is_double else 3e-6
        # ln cosh x / 2, and for small x its series, as the sum of logarithms has no digits there
        expected = np.where(x < 1e-3, x**2 / 4 - x**4 / 24, (np.logaddexp(x, -x) - np.log(2)) / 2)
        np.testing.assert_allclose(found, expected, rtol=tolerance)
        np.testing.assert_allclose(slopes, 2 * np.tanh(x), rtol=10 * tolerance)


def test_fixed_points_of_both_orders_to_all_digits(x64):
    for name, factor in (("move", 1), ("decimate", 2)):
        found = rg.fixed_point(MAPS[name], 0.3 * factor)
        assert abs(found.couplings - factor * 0.304688931718) < 1e-11
        assert abs(rg.scaling(found.matrix, 2).exponents[0] - 0.747235719) < 5e-9
    critical = rg.critical_coupling(real_space.move_then_decimate, rg.fixed_point(MAPS["move"], 0.3), 1.0)
    assert abs(critical.value - 0.304688931718) < 1e-11


def test_a_small_rescaling_is_exact_at_the_critical_point(x64):
    """At b -> 1 Migdal's map keeps duality, and Kc = ln(1 + sqrt(q)) with it; there y_T = 2 - 2 Kc / sqrt(q)."""
    for num_states in (2, 3, 5):
        critical = np.log(1 + np.sqrt(num_states))
        flow = functools.partial(real_space.move_then_decimate, rescaling=1 + 1e-6, num_states=num_states)
        found = rg.fixed_point(lambda k, flow=flow: k + 1e6 * (flow(k) - k), critical + 0.01)
        assert abs(found.couplings - critical) < 2e-6
        assert abs(found.matrix[0, 0] - 1 - (2 - 2 * critical / np.sqrt(num_states))) < 2e-5


def test_what_is_no_rescaling_is_refused():
    with pytest.raises(ValueError, match="rescaling: expected a number between 1 and inf, got 1"):
        real_space.move_then_decimate(0.3, 1.0)
    with pytest.raises(ValueError, match="ndim: expected an integer >= 1, got 0"):
        real_space.decimate_then_move(0.3, ndim=0)
    with pytest.raises(ValueError, match="num_states: expected an integer >= 2, got 1"):
        real_space.decimate_then_move(0.3, num_states=1)
    with pytest.raises(ValueError, match=r"coupling: expected shape \(\), got \(2,\)"):
        real_space.decimate_then_move([0.3, 0.2])
