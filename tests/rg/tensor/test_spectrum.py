"""Levels of transfer matrices, and where they are read."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models
from jaxrg.rg import tensor as networks

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("scheme", [networks.trg, networks.btrg])
def test_levels_of_the_critical_ising_model(scheme):
    tensor = networks.ising_tensor(exact.critical_coupling)
    found = scheme(tensor, 12, 12, observe=lambda each: networks.transfer_spectrum(each, 4)).observed
    dimensions = [networks.plateau(found.dimensions[:, level]).value for level in range(1, 4)]
    np.testing.assert_allclose(dimensions[:2], [0.125, 1.0], rtol=0.02)
    np.testing.assert_allclose(dimensions[2], 1.125, rtol=0.05)
    assert abs(float(networks.plateau(found.central_charge).value) - 0.5) < 0.01
    np.testing.assert_allclose(jnp.abs(found.spins[6]), [0, 0, 0, 1], atol=0.05)


def test_the_spectrum_knows_no_gauge_and_no_factor():
    tensor = networks.trg(networks.ising_tensor(0.44), 6, 6).tensor
    random = np.random.default_rng(0)
    turn = jnp.asarray(random.normal(size=(6, 6)) + 3 * np.eye(6))
    inverse = jnp.linalg.inv(turn)
    entries = jnp.einsum("abcd,ax,zc,by,wd->xyzw", tensor.entries, turn, inverse, turn, inverse)
    expected = networks.transfer_spectrum(tensor, 3)
    found = networks.transfer_spectrum(networks.Tensor(7 * entries, 0.0, 1), 3)
    np.testing.assert_allclose(found.dimensions, expected.dimensions, atol=1e-9)
    np.testing.assert_allclose(found.central_charge, expected.central_charge, atol=1e-9)


def test_two_rings_of_two_spins():
    """Levels of the exact row matrix of two spins."""
    coupling = 0.3
    found = networks.transfer_spectrum(networks.ising_tensor(coupling), 4)
    spins = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    row = np.exp(coupling * (spins @ spins.T) + 2 * coupling * spins.prod(1)[None, :])
    values = np.sort(np.abs(np.linalg.eigvals(row)))[::-1]
    np.testing.assert_allclose(found.dimensions, np.log(values[0] / values) / np.pi, atol=1e-12)


@pytest.mark.parametrize("is_checkerboard", [False, True])
def test_a_ring_of_four_is_four_tensors(is_checkerboard):
    """Against all eigenvalues of the row, whose phases of a shift tell levels apart."""
    random = np.random.default_rng(1)
    entries = random.uniform(0.5, 1.5, (2, 2, 2, 2))
    kind = networks.Checkerboard if is_checkerboard else networks.Tensor
    found = networks.transfer_spectrum(kind(jnp.asarray(entries), 0.0, 1.0), 4, num_tensors=4)
    other = entries.transpose(1, 2, 3, 0) if is_checkerboard else entries
    row = np.einsum("laxe,xbyf,ycwg,wdlh->abcdfghe", entries, other, entries, other)
    levels = np.linalg.eigvals(row.reshape(16, 16))
    levels = levels[np.argsort(-np.abs(levels))][:4]
    np.testing.assert_allclose(found.dimensions, 2 / np.pi * np.log(abs(levels[0] / levels)), atol=1e-9)
    np.testing.assert_allclose(np.sort(found.spins), np.sort(2 / np.pi * np.angle(levels)), atol=1e-9)
    with pytest.raises(ValueError, match="num_tensors: expected 2 or 4, got 3"):
        networks.transfer_spectrum(kind(jnp.asarray(entries), 0.0, 1.0), 4, num_tensors=3)


def test_a_ring_too_large_for_memory_is_refused():
    with pytest.raises(ValueError, match=r"tensor: expected a ring of 4 tensors .* within"):
        networks.transfer_spectrum(networks.Tensor(jnp.ones((32,) * 4), 0.0, 1.0), 4, num_tensors=4)


def test_plateau():
    values = [np.inf, 0.3, 0.126, 0.125, 0.126, 0.2, 0.0, 0.0, 0.0]
    found = networks.plateau(values, width=3)
    np.testing.assert_allclose([found.value, found.drift, found.start], [0.377 / 3, 0.001, 2])
    assert int(networks.plateau([0.0, 0.0, np.inf], width=2).start) == -1
    assert np.isnan(networks.plateau([1.0, 1.0, np.nan], width=2).value)
    with pytest.raises(ValueError, match="at least 4 steps"):
        networks.plateau([1.0])


def test_a_gaussian_field_on_a_torus_of_four():
    """Z = pi^2 / sqrt(det), with m² + k Σ (2 - 2 cos p) for the momenta 0 and pi."""
    mass, kinetic = 1.5, 0.4
    model = models.Phi4(lattice.hypercubic((2, 2)), mass, 0.0, kinetic, 0.1)
    flow = networks.trg(networks.phi4_tensor(model, 8), 30, 2)
    modes = [mass + 4 * kinetic * number for number in (0, 1, 1, 2)]
    expected = 2 * np.log(np.pi) - 0.5 * np.sum(np.log(modes)) - 0.4
    np.testing.assert_allclose(4 * flow.log_partition[-1], expected, atol=2e-6)


def test_an_interacting_field_on_a_torus_of_four():
    """Against the integral over four fields, by Hermite's nodes."""
    model = models.kappa_phi4(lattice.hypercubic((2, 2)), 0.2, 0.3)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    field, measure = 3.2 * nodes, 3.2 * weights
    site = measure * np.exp(-(model.mass_squared * field**2 + model.quartic * field**4 + model.constant))
    bond = np.exp(-2 * float(model.kinetic) * (field[:, None] - field[None, :]) ** 2)  # both bonds of a pair
    pair = np.einsum("ab,b,bc->ac", bond, site, bond)
    expected = np.log(np.einsum("ac,ac,a,c->", pair, pair, site, site))
    flow = networks.trg(networks.phi4_tensor(model, 8), 30, 2)
    np.testing.assert_allclose(4 * flow.log_partition[-1], expected, atol=2e-6)


def test_three_states_of_potts():
    """2/15 and c = 4/5 at ln(1 + sqrt 3)."""
    tensor = networks.potts_tensor(3, jnp.log(1 + jnp.sqrt(3.0)))
    found = networks.btrg(tensor, 12, 10, observe=lambda each: networks.transfer_spectrum(each, 4)).observed
    dimensions = [float(networks.plateau(found.dimensions[:, level]).value) for level in (1, 2)]
    np.testing.assert_allclose(dimensions, 2 / 15, rtol=0.05)
    assert abs(float(networks.plateau(found.central_charge).value) - 0.8) < 0.05


def test_levels_that_there_are_not_are_refused():
    tensor = networks.Tensor(jnp.ones((9,) * 4), 0.0, 1.0)
    with pytest.raises(ValueError, match="num_levels: expected at most 16 of a ring of 4 tensors, got 80"):
        networks.transfer_spectrum(tensor, 80, num_tensors=4)
    with pytest.raises(ValueError, match="num_levels: expected at most 81 of a ring of 2 tensors, got 82"):
        networks.transfer_spectrum(tensor, 82)
    with pytest.raises(ValueError, match=r"tensor: expected a ring of 2 tensors .* within"):
        networks.transfer_spectrum(networks.Tensor(jnp.ones((80,) * 4, jnp.float32), 0.0, 1.0), 2)
