"""Optimised loops against Onsager's solution, and the power of a matrix they use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact
from jaxrg.closures import as_partial
from jaxrg.rg import tensor
from jaxrg.rg.tensor.flow import nothing
from jaxrg.rg.tensor.loops import _flow, inverse_fifth_root, is_even_tensor

LOG_PARTITION = 2 * 0.915965594177219 / np.pi + np.log(2) / 2  # per site at the critical coupling, with Catalan's


def relative_error(flow) -> float:
    return abs(float(flow.log_partition[-1]) / LOG_PARTITION - 1)


def test_optimised_loops_hold_the_critical_point(x64):
    given = tensor.ising_tensor(exact.critical_coupling)
    flow = tensor.loop_tnr(given, 6, 26, observe=lambda board: (tensor.transfer_spectrum(board, 5), board.entries))
    assert relative_error(flow) < 1e-6  # plain renormalisation is at 2e-4
    late, entries = jax.tree.map(lambda values: values[8:12], flow.observed)
    np.testing.assert_allclose(late.dimensions, np.tile([0, 1 / 8, 1, 9 / 8, 9 / 8], (4, 1)), rtol=0.01)
    np.testing.assert_allclose(late.central_charge, 0.5, atol=3e-3)
    np.testing.assert_allclose(np.abs(late.spins), np.tile([0, 0, 0, 1, 1], (4, 1)), atol=0.01)
    wide = tensor.transfer_spectrum(tensor.Checkerboard(entries[1], 0.0, 1.0), 9, num_tensors=4)
    np.testing.assert_allclose(wide.dimensions, [0, 1 / 8, 1, 9 / 8, 9 / 8, 2, 2, 2, 2], rtol=0.004)
    np.testing.assert_allclose(wide.central_charge, 0.5, atol=5e-4)
    np.testing.assert_allclose(np.sort(np.abs(wide.spins)), [0, 0, 0, 1, 1, 1, 1, 2, 2], atol=0.01)
    np.testing.assert_allclose(tensor.free_energy(flow.tensor), flow.log_partition[-1], rtol=1e-12)


def test_the_parity_of_spins_is_used_and_changes_nothing(x64):
    given = tensor.ising_tensor(exact.critical_coupling)
    even, plain = (
        _flow(tensor.Checkerboard(*map(jnp.asarray, given)), as_partial(nothing), 4, 6, is_even=is_even)
        for is_even in (is_even_tensor(np.asarray(given.entries)), False)
    )
    odd = np.indices(even.tensor.entries.shape).sum(axis=0) % 2 == 1
    assert not np.any(np.asarray(even.tensor.entries)[odd])
    np.testing.assert_allclose(even.log_partition, plain.log_partition, rtol=1e-6)


def test_a_flow_goes_on_where_it_stopped(x64):
    given = tensor.ising_tensor(0.4)
    whole = tensor.loop_tnr(given, 4, 6)
    rest = tensor.loop_tnr(tensor.loop_tnr(given, 4, 4).tensor, 4, 2)
    np.testing.assert_allclose(rest.log_partition, whole.log_partition[4:], rtol=1e-9)


@pytest.mark.slow
def test_derivatives_of_the_free_energy_are_onsagers(x64):
    value = lambda K: -tensor.loop_tnr(tensor.ising_tensor(K), 4, 16).log_partition[-1]  # noqa: E731
    first = lambda K: jax.jvp(value, (K,), (1.0,))[1]  # noqa: E731
    energy, slope = jax.jvp(first, (0.4,), (1.0,))
    np.testing.assert_allclose(energy, exact.onsager_energy(0.4), rtol=2e-4)
    np.testing.assert_allclose(-slope * 0.4**2, exact.onsager_specific_heat(0.4), rtol=1e-3)
    with pytest.raises(TypeError, match="transpose_solve required for backwards mode"):
        jax.grad(value)(0.4)


@pytest.mark.slow
def test_in_float32_the_free_energy_is_good_to_rounding_of_distances():
    flow = tensor.loop_tnr(tensor.ising_tensor(exact.critical_coupling), 8, 24)
    assert flow.log_partition.dtype == jnp.float32
    assert relative_error(flow) < 3e-5


def test_networks_without_the_symmetries_are_refused():
    given = tensor.ising_tensor(0.3)
    for bad in (given.entries.at[0, 0, 0, 0].set(jnp.nan), given.entries * jnp.inf, jnp.zeros((2,) * 4)):
        with pytest.raises(ValueError, match="expected finite numbers, not all 0, got a largest size of"):
            tensor.loop_tnr(given._replace(entries=bad), 4, 2)
    with pytest.raises(ValueError, match=r"tensor.entries: expected entries that a quarter turn does not change, got"):
        tensor.loop_tnr(given._replace(entries=given.entries.at[0, 0, 1, 1].add(0.1)), 4, 2)
    with pytest.raises(ValueError, match="expected weights positive under reflection, eigenvalues of entries"):
        tensor.loop_tnr(given._replace(entries=-given.entries), 4, 2)
    with pytest.raises(ValueError, match="expected entries that reflection in the first diagonal does not change"):
        tensor.loop_tnr(tensor.Checkerboard(given.entries.at[0, 1, 0, 1].add(0.1), 0.0, 1.0), 4, 2)
    with pytest.raises(ValueError, match="expected 4 legs of the same dimension, got shape"):
        tensor.loop_tnr(tensor.Tensor(jnp.ones((2, 3, 2, 3)), 0.0, 1.0), 4, 2)
    with pytest.raises(ValueError, match=r"expected a Tensor.* or a Checkerboard of the same, got"):
        tensor.loop_tnr(given.entries, 4, 2)  # pyright: ignore[reportArgumentType]


def test_roots_of_a_density_and_their_derivative(x64):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    density = jnp.asarray(basis @ np.diag([1e-6, 1e-6, 0.3, 0.7]) @ basis.T)  # two alike, and small ones
    change = jnp.diag(jnp.array([1.0, 2.0, 3.0, 4.0])) * 1e-6
    fifth = lambda matrix: jnp.linalg.matrix_power(jnp.linalg.inv(inverse_fifth_root(matrix)), 5)  # noqa: E731
    found, slope = jax.jvp(fifth, (density,), (change,))
    np.testing.assert_allclose(found, density, atol=1e-14)
    np.testing.assert_allclose(slope, change, atol=1e-12)
