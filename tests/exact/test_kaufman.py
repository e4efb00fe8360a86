import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice

KC = exact.critical_coupling

# Energy, specific heat and ln Z per site at Kc, from the product formula at 60 digits.
CRITICAL = {
    4: (-1.565623787638319, 0.7832668259289094, 0.9701197161722052),
    8: (-1.491589107439707, 1.145559239894409, 0.9397153248292055),
    16: (-1.453064852813477, 1.498704959400026, 0.9321963149809878),
    32: (-1.433658466146248, 1.846767590039559, 0.9303203901841238),
}


@functools.partial(jax.jit, static_argnums=1)
def torus(coupling, shape):
    """Energy, specific heat and ln Z, each per site."""
    num_sites = shape[0] * shape[1]
    free_energy = exact.torus_log_partition(coupling, shape) / num_sites
    return exact.torus_energy(coupling, shape), exact.torus_specific_heat(coupling, shape), free_energy


@jax.jit
def infinite(coupling):
    return exact.onsager_energy(coupling), exact.onsager_specific_heat(coupling), exact.onsager_free_energy(coupling)


log_partition = jax.jit(exact.torus_log_partition, static_argnums=1)


@functools.partial(jax.jit, static_argnums=1)
def moments(coupling, shape):
    """The same from a sum over all states."""
    geometry = lattice.hypercubic(shape)
    num_sites = geometry.num_sites

    def bonds(spins):
        return sum(jnp.sum(spins * lattice.shift(geometry, spins, bond)) for bond in geometry.bonds).astype(float)

    def hamiltonian(spins):
        return -coupling * bonds(spins)

    first, second = exact.expectation(hamiltonian, lambda spins: (bonds(spins), bonds(spins) ** 2), shape)
    free_energy = exact.log_partition(hamiltonian, shape) / num_sites
    return -first / num_sites, coupling**2 * (second - first**2) / num_sites, free_energy


@pytest.mark.parametrize("size", CRITICAL)
def test_critical_tori_have_their_known_values(x64, size):
    np.testing.assert_allclose(torus(KC, (size, size)), CRITICAL[size], rtol=1e-13)


@pytest.mark.parametrize("shape", [(2, 3), (5, 3), (4, 4)])
def test_agrees_with_enumeration(x64, shape):
    """Odd and even sides, single and double bonds, both phases, the antiferromagnet and the free spins."""
    couplings = [0.0, 1e-3, 0.2, KC, 0.9]
    if all(side % 2 == 0 for side in shape):
        couplings += [-0.3, -KC, -0.9]
    for coupling in couplings:
        got, expected = torus(coupling, shape), moments(coupling, shape)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_curvature_at_zero_coupling_counts_the_bonds(x64):
    """Four pairs with a double bond each: nothing may be lost to an absolute value or an underflow at K = 0."""
    curvature = jax.jit(jax.grad(lambda coupling: -exact.torus_energy(coupling, (2, 2))))
    np.testing.assert_allclose(4 * curvature(0.0), 4 * 2**2, rtol=1e-13)


@pytest.mark.parametrize("coupling", [0.2, KC, 0.6, 1.5])
def test_large_torus_is_finite_and_reaches_the_infinite_lattice(x64, coupling):
    energy, specific_heat, free_energy = torus(coupling, (1024, 1024))
    assert np.all(np.isfinite([energy, specific_heat, free_energy]))
    if coupling != KC:  # corrections e^{-L/ξ}; two ground states
        degeneracy = np.log(2) / 1024**2 if coupling > KC else 0.0
        expected_energy, expected_specific_heat, expected_free_energy = infinite(coupling)
        np.testing.assert_allclose(energy, expected_energy, rtol=1e-14)
        np.testing.assert_allclose(specific_heat, expected_specific_heat, rtol=2e-12)
        np.testing.assert_allclose(free_energy, expected_free_energy + degeneracy, rtol=1e-15)
    else:  # Ferdinand & Fisher: C = (8 Kc²/π) ln L + constant + O(1/L)
        _, half, _ = torus(coupling, (512, 512))
        np.testing.assert_allclose((specific_heat - half) / np.log(2), 8 * KC**2 / np.pi, atol=3e-4)


def test_is_analytic_across_the_critical_point(x64):
    """The energy's change over an interval around Kc is the Gauss-Legendre integral of its derivative."""
    shape, reach = (32, 32), 0.02
    nodes, weights = np.polynomial.legendre.leggauss(40)
    slopes = [-float(torus(coupling, shape)[1]) / coupling**2 for coupling in KC + reach * nodes]
    change = torus(KC + reach, shape)[0] - torus(KC - reach, shape)[0]
    np.testing.assert_allclose(reach * np.dot(weights, slopes), change, rtol=1e-12)


def test_symmetries_batches_and_elongated_tori(x64):
    couplings = jnp.array([-0.5, 0.1, KC, 0.5, 2.0])
    batch = jax.jit(jax.vmap(lambda coupling: exact.torus_log_partition(coupling, (6, 10))))(couplings)
    np.testing.assert_allclose(batch, [log_partition(coupling, (10, 6)) for coupling in couplings], rtol=1e-15)
    np.testing.assert_allclose(batch[0], batch[3], rtol=1e-15)
    strip = jax.jit(lambda coupling: exact.strip_log_partition(coupling, (1000, 3)))
    for coupling in (0.3, KC, 0.8):  # one leading eigenvalue, or two
        np.testing.assert_allclose(log_partition(coupling, (1000, 3)), strip(coupling), rtol=1e-13)


def test_single_precision_holds_what_it_says():
    with jax.enable_x64(True):
        expected = {size: [float(value) for value in torus(KC, (size, size))] for size in (32, 1024)}
    for size, tolerances in {32: (2e-6, 2e-5), 1024: (2e-5, 2e-3)}.items():
        energy, specific_heat, free_energy = torus(jnp.float32(KC), (size, size))
        assert energy.dtype == specific_heat.dtype == free_energy.dtype == jnp.float32
        np.testing.assert_allclose(energy, expected[size][0], atol=tolerances[0])
        np.testing.assert_allclose(specific_heat, expected[size][1], atol=tolerances[1])
        np.testing.assert_allclose(free_energy, expected[size][2], rtol=3e-7)


def test_strong_couplings_leave_the_ground_states():
    for coupling in (20.0, 300.0):  # far beyond where e^{4K} overflows
        energy, specific_heat, free_energy = torus(jnp.float32(coupling), (32, 32))
        np.testing.assert_allclose(free_energy, 2 * coupling + np.log(2) / 1024, rtol=1e-6)
        np.testing.assert_allclose([energy, specific_heat], [-2, 0], atol=1e-6)


def test_frustrated_tori_and_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"coupling: expected K >= 0 .* got -0.5 on \(3, 4\)"):
        exact.torus_log_partition(-0.5, (3, 4))
    value, slope = jax.jit(jax.value_and_grad(exact.torus_log_partition), static_argnums=1)(-0.5, (3, 4))
    assert jnp.isnan(value)
    assert jnp.isnan(slope)
    for shape, message in {(4, 4, 4): "2 sides, got 3", (1, 4): ">= 2, got 1", (4, 2.5): "got 2.5"}.items():
        with pytest.raises(ValueError, match=f"shape: expected .*{message}"):
            exact.torus_log_partition(0.4, shape)
    with pytest.raises(ValueError, match=r"coupling: expected shape \(\), got \(2,\)"):
        exact.torus_log_partition(jnp.ones(2), (4, 4))
    with pytest.raises(ValueError, match="coupling: expected finite"):
        exact.torus_log_partition(jnp.nan, (4, 4))
