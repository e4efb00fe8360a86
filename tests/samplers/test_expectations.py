"""Means over a chain as functions of the couplings: their derivatives are those of enumeration."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, samplers
from jaxrg.samplers.ensembles import expectation
from tests.rows import some_now

SQUARE = lattice.hypercubic((3, 3))
OPEN = lattice.hypercubic((2, 3), periodic=False)
BURN_IN = {"num_burn_in": 50, "num_chains": 4}


def ising(coupling):
    return models.Ising(SQUARE, coupling)


def energy_of(spins):
    return models.Ising(SQUARE, 1.0).hamiltonian(spins)


def glass(couplings):
    return models.Glass(OPEN, couplings["J"], field=couplings["h"])


def pair_of(spins):
    return spins[0, 0] * spins[1, 1]


def score(draws, expected):
    """The largest distance of the mean of independent draws from what is expected, in errors.

    Ratios of means over n configurations have a bias of about one over their number, a thousandth at most here.
    """
    draws, expected = np.asarray(draws, np.float64), np.asarray(expected, np.float64)
    scale = np.abs(expected).max()
    error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.all(error < 0.1 * scale)  # enough to tell
    return np.max(np.abs(draws.mean(axis=0) - expected) / np.hypot(error, 1e-3 * scale))


@pytest.mark.parametrize("sampler", some_now([samplers.heat_bath, samplers.wolff], samplers.heat_bath))
def test_derivatives_by_the_coupling_are_those_of_enumeration(sampler):
    def exact_mean(coupling):
        return exact.expectation(ising(coupling).hamiltonian, energy_of, (3, 3))

    def of(key):
        mean = expectation(key, energy_of, ising, num_steps=1000, sampler=sampler, **BURN_IN)
        value, tangent = jax.jvp(mean, (0.25,), (2.0,))
        return value, tangent / 2, jax.grad(mean)(0.25), jax.hessian(mean)(0.25)

    value, tangent, slope, curvature = jax.jit(jax.vmap(of))(jax.random.split(jax.random.key(0), 24))
    assert score(value, exact_mean(0.25)) < 5
    np.testing.assert_allclose(tangent, slope, rtol=1e-4)
    assert score(slope, jax.grad(exact_mean)(0.25)) < 5
    assert score(curvature, jax.hessian(exact_mean)(0.25)) < 5


@pytest.mark.slow
def test_derivatives_by_bonds_and_fields_are_those_of_enumeration():
    noise = np.random.default_rng(0)
    couplings = {"J": 0.4 * noise.normal(size=(2, 2, 3)), "h": 0.2 * noise.normal(size=(2, 3))}
    couplings = jax.tree.map(jnp.float32, couplings)

    def exact_mean(couplings):
        return exact.expectation(glass(couplings).hamiltonian, pair_of, (2, 3))

    def of(key):
        mean = expectation(key, pair_of, glass, num_steps=2000, **BURN_IN)
        along = functools.partial(jax.jvp, jax.grad(mean), (couplings,))
        return jax.grad(mean)(couplings), along((couplings,))[1]

    slope, curvature = jax.jit(jax.vmap(of))(jax.random.split(jax.random.key(1), 24))
    exact_slope, exact_curvature = jax.jvp(jax.grad(exact_mean), (couplings,), (couplings,))
    for name in ("J", "h"):
        assert score(slope[name], exact_slope[name]) < 5
        assert score(curvature[name], exact_curvature[name]) < 5


def test_a_call_is_a_function_of_its_key_and_other_couplings_compile_nothing():
    count = 0

    def observe(spins):
        nonlocal count
        count += 1
        return spins[0, 0] * spins[0, 1]

    observe = jax.tree_util.Partial(observe)
    first = expectation(jax.random.key(0), observe, ising, num_steps=50, num_burn_in=5)
    value, traces = first(0.2), count
    again = expectation(jax.random.key(0), observe, ising, num_steps=50, num_burn_in=5)
    assert float(again(0.2)) == float(value)
    assert float(expectation(jax.random.key(1), observe, ising, num_steps=50, num_burn_in=5)(0.3)) != float(value)
    assert count == traces


def test_bad_input_is_refused_in_words():
    for given, message in (
        ({"key": 0}, "key: expected a typed key"),
        ({"observe": 1}, "observe: expected a function"),
        ({"family": 0.5}, "family: expected a function"),
        ({"num_steps": 0}, "num_steps: expected an integer >= 1"),
        ({"num_burn_in": -1}, "num_burn_in: expected an integer >= 0"),
    ):
        plain = {"key": jax.random.key(0), "observe": pair_of, "family": ising, "num_steps": 5, "num_burn_in": 0}
        with pytest.raises(ValueError, match=message):
            expectation(**plain | given)
