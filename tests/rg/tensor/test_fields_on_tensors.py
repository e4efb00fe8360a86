"""Fields on tensors: the free one in closed form, the interacting one beside quadrature, Monte Carlo and its Kc."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, samplers
from jaxrg.rg import tensor as networks

pytestmark = pytest.mark.usefixtures("x64")

SQUARE = lattice.hypercubic((2, 2))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def with_moments(num_legs, chi, num_steps, mass_squared, quartic, kinetic):
    """ln Z per site with -<φ²> and -<φ⁴>, its derivatives by m² and λ."""

    def value(couplings):
        model = models.Phi4(SQUARE, *couplings, kinetic, 0.0)
        found = networks.btrg(networks.phi4_tensor(model, num_legs), chi, num_steps).log_partition[-1]
        return found, found

    slopes, found = jax.jacfwd(value, has_aux=True)(jnp.stack([mass_squared, quartic]))
    return found, *slopes


def free_field(mass_squared, kinetic):
    """ln Z = ½ ln π - ½ ∫ ln D and <φ²> = ½ ∫ 1/D, with D = m² + k Σ (2 - 2 cos p)."""
    momenta = 2 - 2 * np.cos(2 * np.pi * np.arange(512) / 512)
    energies = mass_squared + kinetic * (momenta[:, None] + momenta[None, :])
    return 0.5 * np.log(np.pi) - 0.5 * np.mean(np.log(energies)), np.mean(0.5 / energies)


def test_free_field_on_the_infinite_lattice():
    """λ is 0, but for its derivative."""
    expected, square = free_field(1.5, 0.4)
    found = with_moments(10, 12, 30, *jnp.asarray([1.5, 0.0, 0.4]))
    np.testing.assert_allclose(found[0], expected, atol=1e-8)
    np.testing.assert_allclose(found[1:], [-square, -3 * square**2], rtol=4e-6)  # Wick


@pytest.mark.slow
@pytest.mark.parametrize(("mass_squared", "kinetic", "error"), [(1.5, 0.4, 1e-7), (0.5, 0.5, 4e-5), (0.1, 0.5, 5e-3)])
def test_eight_legs_of_a_free_field(mass_squared, kinetic, error):
    found = with_moments(8, 12, 30, *jnp.asarray([mass_squared, 0.0, kinetic]))[0]
    assert 0.7 * error < abs(float(found) - free_field(mass_squared, kinetic)[0]) < 1.3 * error


@pytest.mark.slow
def test_moments_on_a_torus_of_four():
    """Against the integral over four fields, on nodes."""
    mass, quartic, kinetic = -0.2, 0.3, 0.2
    nodes, weights = np.polynomial.legendre.leggauss(40)
    field = 3.5 * nodes
    site = 3.5 * weights * np.exp(-(mass * field**2 + quartic * field**4))
    bond = np.exp(-2 * kinetic * (field[:, None] - field[None, :]) ** 2)  # both bonds of a pair
    pair = np.einsum("ab,b,bc->ac", bond, site, bond)

    def integral(at_first):
        return np.einsum("ac,ac,a,c->", pair, pair, site * at_first, site)

    moments = [integral(field**power) / integral(1) for power in (2, 4)]
    found = with_moments(9, 40, 2, *jnp.asarray([mass, quartic, kinetic]))
    np.testing.assert_allclose(found[0], np.log(integral(1)) / 4, atol=1e-6)
    np.testing.assert_allclose(-jnp.stack(found[1:]), moments, rtol=1e-5)


@pytest.mark.slow
def test_interacting_field_beside_monte_carlo():
    """<φ²> and <φ⁴> of the infinite lattice against 16 chains on 32 x 32, far wider than their correlations."""
    couplings = -0.2, 0.3, 0.2
    model = models.Phi4(lattice.hypercubic((32, 32)), *couplings)
    sampler = samplers.replicas(samplers.hmc(model, 0.2, 8), 16)

    def moments(field):
        return jnp.stack([jnp.mean(field**2), jnp.mean(field**4)])

    start, run = jax.random.split(jax.random.key(3))
    warm = samplers.run(start, sampler, sampler.init(start), 300).state
    trace = samplers.run(run, sampler, warm, 3000, observe=moments).trace
    means = np.asarray(trace).mean(axis=1)  # of every chain
    error = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    found = with_moments(12, 16, 30, *jnp.asarray(couplings))
    z = (means.mean(axis=0) + np.asarray(found[1:])) / error
    assert np.all(np.abs(z) < 5), z
    assert np.all(error < 2e-3 * means.mean(axis=0))


@pytest.mark.slow
def test_critical_point():
    """κ = 0.27088 at λ = 0.022, by how many phases the tensor at the end of a flow has."""

    @jax.jit
    def num_phases(kappa):
        tensor = networks.phi4_tensor(models.kappa_phi4(SQUARE, kappa, 0.022), 10)
        matrix = jnp.trace(networks.btrg(tensor, 12, 30).tensor.entries, axis1=0, axis2=2)
        return jnp.trace(matrix) ** 2 / jnp.trace(matrix @ matrix)

    low, high = 0.26, 0.28
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if num_phases(jnp.float64(middle)) > 1.5 else (middle, high)
    assert low == pytest.approx(0.27088, abs=1e-5)


@pytest.mark.parametrize(("mass", "quartic"), [(1.0, -0.1), (-1.0, 0.0), (0.0, 0.0)])
def test_fields_without_a_finite_integral_are_refused(mass, quartic):
    model = models.Phi4(lattice.hypercubic((2, 2)), mass, quartic)
    with pytest.raises(ValueError, match="model: expected quartic > 0, or 0 with mass_squared > 0, got"):
        networks.phi4_tensor(model, 4)
