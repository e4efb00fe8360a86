"""Renormalised networks of the Ising model against Onsager's solution, and where nothing is cut, enumeration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.closures import as_partial
from jaxrg.rg.tensor.flow import nothing
from jaxrg.rg.tensor.higher_order import hotrg
from jaxrg.rg.tensor.initial import ising_tensor
from jaxrg.rg.tensor.loop_tnr import Checkerboard, flow_of, matrix_power
from jaxrg.rg.tensor.square import btrg, trg

LOG_PARTITION = 2 * 0.915965594177219 / np.pi + np.log(2) / 2  # per site at the critical coupling, with Catalan's


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def relative_error(flow) -> float:
    return abs(float(flow.log_partition[-1]) / LOG_PARTITION - 1)


@pytest.mark.parametrize(
    ("scheme", "num_steps", "published"), [(trg, 40, 6.91e-5), (btrg, 40, 1.06e-5), (hotrg, 20, 1.4e-5)]
)
def test_free_energy_at_the_critical_coupling(x64, scheme, num_steps, published):
    flow = scheme(ising_tensor(exact.critical_coupling), 8, num_steps)
    assert relative_error(flow) == pytest.approx(published, rel=0.08)


@pytest.mark.parametrize("scheme", [trg, hotrg])
def test_a_small_torus_is_its_sum_over_states(x64, scheme):
    coupling, num_steps = 0.3, 2
    flow = scheme(ising_tensor(coupling), 16, num_steps)
    num_sites = round(float(flow.tensor.num_sites))
    side = round(np.sqrt(num_sites))

    def hamiltonian(spins):
        values = spins.astype(float)
        return -coupling * jnp.sum(values * (jnp.roll(values, 1, 0) + jnp.roll(values, 1, 1)))

    expected = float(exact.log_partition(hamiltonian, (side, side))) / num_sites
    assert float(flow.log_partition[-1]) == pytest.approx(expected, rel=1e-12)


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
