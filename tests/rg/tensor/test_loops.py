"""Optimised loops against Onsager's solution, and the power of a matrix they use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.closures import as_partial
from jaxrg.rg.tensor.flow import nothing
from jaxrg.rg.tensor.initial import ising_tensor
from jaxrg.rg.tensor.loop_tnr import Checkerboard, flow_of, matrix_power

LOG_PARTITION = 2 * 0.915965594177219 / np.pi + np.log(2) / 2  # per site at the critical coupling, with Catalan's


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def relative_error(flow) -> float:
    return abs(float(flow.log_partition[-1]) / LOG_PARTITION - 1)


def test_optimised_loops_hold_the_critical_point(x64):
    tensor = ising_tensor(exact.critical_coupling)
    flow = flow_of(Checkerboard(*map(jnp.asarray, tensor)), as_partial(nothing), 6, 40, True)
    assert relative_error(flow) < 1e-6  # plain renormalisation is at 2e-4


def test_a_matrix_power_and_its_derivative(x64):
    random = np.random.default_rng(0)
    root = jnp.asarray(random.normal(size=(3, 3)))
    matrix = root @ root.T + jnp.eye(3)
    change = jnp.asarray(np.diag([1.0, 2.0, 3.0]))
    quarter, slope = jax.jvp(lambda m: matrix_power(m, 0.25), (matrix,), (change,))
    np.testing.assert_allclose(np.linalg.matrix_power(np.asarray(quarter), 4), matrix, rtol=1e-12)
    _, back = jax.jvp(lambda q: q @ q @ q @ q, (quarter,), (slope,))
    np.testing.assert_allclose(back, change, atol=1e-12)
    _, at_one = jax.jvp(lambda m: matrix_power(m, 0.25), (jnp.eye(3),), (change,))
    np.testing.assert_allclose(at_one, change / 4, atol=1e-12)
