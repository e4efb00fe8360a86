import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models


@pytest.mark.parametrize("num_sites", [2, 5])
def test_agrees_with_enumeration_to_the_second_derivative(x64, num_sites):
    geometry = lattice.hypercubic((num_sites,))

    def enumerated(parameters):
        model = models.Ising(geometry, parameters[0], parameters[1])
        return exact.log_partition(model.hamiltonian, (num_sites,))

    def closed(parameters):
        return exact.chain_log_partition(parameters[0], parameters[1], num_sites)

    both = [jax.jit(lambda p, fn=fn: (*jax.value_and_grad(fn)(p), jax.hessian(fn)(p))) for fn in (enumerated, closed)]
    for parameters in ([0.6, 0.0], [0.6, -0.4], [0.0, 0.4], [0.0, 0.0], [-0.6, 0.0], [-0.6, 0.4]):
        expected, got = (fn(jnp.array(parameters)) for fn in both)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), got, expected)


def test_long_chains_and_strong_couplings(x64):
    np.testing.assert_allclose(exact.chain_log_partition(0.5, 0.0, 10**6) / 10**6, np.log(2 * np.cosh(0.5)), rtol=1e-14)
    for coupling in (300.0, -300.0):  # two ground states
        np.testing.assert_allclose(exact.chain_log_partition(coupling, 0.0, 10), 3000 + np.log(2), rtol=1e-15)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="num_sites: expected an integer >= 2, got 1"):
        exact.chain_log_partition(0.5, 0.0, 1)
    with pytest.raises(ValueError, match="num_sites: expected an integer >= 2, got '8'"):
        exact.chain_log_partition(0.5, 0.0, "8")
    with pytest.raises(ValueError, match=r"coupling: expected shape \(\), got \(2,\)"):
        exact.chain_log_partition(jnp.ones(2), 0.0, 4)


@pytest.mark.parametrize("is_double", [False, True], ids=["float32", "float64"])
def test_cold_and_frustrated_chains_keep_their_digits_and_derivatives(is_double):
    r"""Closed forms of ln Z, of its slopes in K and of :math:`\chi = N e^{2K} (1 - t^N)/(1 + t^N)`, t = tanh K."""

    @functools.partial(jax.jit, static_argnums=2)
    def found(coupling, field, num_sites):
        fn = functools.partial(exact.chain_log_partition, num_sites=num_sites)
        slopes = jax.grad(fn, (0, 1))(coupling, field)
        return fn(coupling, field), *slopes, jax.grad(jax.grad(fn, 1), 1)(coupling, field)

    with jax.enable_x64(is_double):
        dtype = jnp.float64 if is_double else jnp.float32
        for coupling, num_sites in itertools.product((-60.0, -22.0, -5.0, 3.0, 22.0, 60.0), (8, 9)):
            got = found(dtype(coupling), dtype(0), num_sites)
            size, parity = abs(coupling), 1 if coupling > 0 or num_sites % 2 == 0 else -1
            log_t = np.log1p(-2 / (np.exp(2 * size) + 1))  # of tanh |K|
            power, lower = np.exp(num_sites * log_t), np.exp((num_sites - 2) * log_t)
            rest = -np.expm1(num_sites * log_t)  # 1 - |t|^N
            partition = np.log(1 + power if parity > 0 else rest)
            log_z = num_sites * (size + np.log1p(np.exp(-2 * size))) + partition
            sign = np.sign(coupling)
            numerator = 1 + lower if parity > 0 else -np.expm1((num_sites - 2) * log_t)
            slope = sign * num_sites * np.exp(log_t) * numerator / np.exp(partition)
            ratio = rest / (1 + power) if parity > 0 else (1 + power) / rest
            susceptibility = num_sites * np.exp(2 * coupling) * ratio
            tolerance = 1e-10 if is_double else 1e-5
            expected = (log_z, slope, 0, susceptibility)
            np.testing.assert_allclose(
                got, expected, rtol=tolerance, atol=tolerance, err_msg=str((coupling, num_sites))
            )
