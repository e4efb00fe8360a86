"""Kadanoff's lower bound: published digits, the sum that defines it, and the exact free energy above it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, rg
from jaxrg.rg import real_space
from jaxrg.rg.real_space import SquareCouplings


def energy(couplings, s):
    a, b, c, d = s
    sides, diagonals = a * b + b * c + c * d + d * a, a * c + b * d
    corners = a * b * c + b * c * d + c * d * a + d * a * b
    return np.dot(couplings, [sides, diagonals, a * b * c * d, a + b + c + d, corners])


def test_a_step_is_the_sum_over_a_square(x64):
    couplings, parameter = SquareCouplings(0.2, 0.1, -0.03, 0.05, 0.02), 0.7
    step = real_space.lower_bound_step(couplings, parameter)
    states = list(itertools.product((-1, 1), repeat=4))
    for mu in states:
        terms = [
            4 * energy(couplings, s) + parameter * np.dot(mu, s) - np.log(2 * np.cosh(parameter * sum(s)))
            for s in states
        ]
        expected = np.log(np.sum(np.exp(terms)))
        np.testing.assert_allclose(energy(step.couplings, mu) + step.constant, expected, rtol=1e-13)


def test_the_fixed_point_to_all_published_digits(x64):
    found = real_space.lower_bound_fixed_point()
    assert abs(found.parameter - 0.765983) < 5e-7
    np.testing.assert_allclose(found.couplings, [0.139717, 0.139717, -0.006865, 0, 0], atol=5e-7)
    np.testing.assert_allclose(rg.scaling(found.matrix, 2).exponents[:2], [1.87532, 1.00088], atol=6e-6)
    step = real_space.lower_bound_step(found.couplings, found.parameter)
    np.testing.assert_allclose(step.couplings, found.couplings, atol=1e-13)
    # ln Z is stationary in the p of the first step, the others held at p*
    later = jnp.full(39, found.parameter)

    def bound(p):
        return real_space.lower_bound_log_partition(found.couplings, jnp.append(p, later))

    value, slope = jax.value_and_grad(bound)(found.parameter)
    assert abs(slope) < 1e-9
    np.testing.assert_allclose(value, found.log_partition, rtol=1e-11)


@pytest.mark.parametrize("is_double", [True, False])
def test_no_parameter_gives_less_than_onsager(is_double):
    with jax.enable_x64(is_double):
        couplings, parameters = jnp.linspace(0.05, 1.2, 24), jnp.linspace(0.0, 1.5, 31)

        def bound(k, p):
            return real_space.lower_bound_log_partition(SquareCouplings(k / 2), p)

        table = jax.vmap(jax.vmap(bound, (None, 0)), (0, None))(couplings, parameters)
        excess = np.min(table, axis=1) - jax.vmap(exact.onsager_free_energy)(couplings)
        excess = np.asarray(excess)
    assert np.all(excess > 0)
    assert np.max(excess) < 0.025  # the worst is near Kc
    assert excess[-1] < 1e-4


def test_the_best_parameter_moves_as_the_implicit_function_says(x64):
    def best(coupling):
        def bound(p):
            return real_space.lower_bound_log_partition(SquareCouplings(coupling / 2), p)

        return real_space.minimum(bound, 0.5).parameters

    program = jax.jit(lambda coupling: jax.jvp(best, (coupling,), (1.0,)))
    found, slope = program(0.3)
    bound = [float(real_space.lower_bound_log_partition(SquareCouplings(0.15), found + x)) for x in (-1e-3, 0, 1e-3)]
    assert bound[1] < min(bound[0], bound[2])
    difference = (program(0.3 + 1e-4)[0] - program(0.3 - 1e-4)[0]) / 2e-4
    assert slope > 1
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_other_couplings_are_refused():
    with pytest.raises(ValueError, match=r"couplings: expected SquareCouplings, got 0.3"):
        real_space.lower_bound_step(0.3, 0.7)
    with pytest.raises(ValueError, match=r"parameter: expected one number or 40, one for each level, got \(3,\)"):
        real_space.lower_bound_log_partition(SquareCouplings(0.2), jnp.ones(3))
    with pytest.raises(ValueError, match=r"field: expected finite values, got nan"):
        real_space.lower_bound_step(SquareCouplings(0.2, field=jnp.nan), 0.7)
    with pytest.raises(FloatingPointError, match=r"flow: expected a"):
        real_space.lower_bound_fixed_point(SquareCouplings(3.0, 3.0, 0.5), 3.0)
