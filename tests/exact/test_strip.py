import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models
from tests.rows import some_now

pytestmark = pytest.mark.usefixtures("x64")
KC = exact.critical_coupling

free_energy = jax.jit(exact.strip_free_energy, static_argnums=1, static_argnames=("periodic", "num_iterations"))
correlation_length = jax.jit(exact.strip_correlation_length, static_argnums=1, static_argnames="periodic")


def kaufman_eigenvalues(along: float, across: float, width: int) -> tuple[float, float]:
    """ln λ₀ and ln λ₁ of a periodic strip without field, from Onsager's angles γ_l."""
    dual = -0.5 * np.log(np.tanh(along))
    angles = np.pi * np.arange(2 * width) / width
    cosh = np.cosh(2 * across) * np.cosh(2 * dual) - np.sinh(2 * across) * np.sinh(2 * dual) * np.cos(angles)
    gamma = np.arccosh(cosh)
    gamma[0] = 2 * (across - dual)
    bulk = 0.5 * width * np.log(2 * np.sinh(2 * along))
    return bulk + 0.5 * gamma[1::2].sum(), bulk + 0.5 * gamma[::2].sum()


@pytest.mark.parametrize("width", [3, 6])
def test_leading_eigenvalues_are_kaufmans(width):
    for couplings in [(0.3, 0.3), (KC, KC), (0.7, 0.4), (0.2, 0.9)]:
        first, second = kaufman_eigenvalues(*couplings, width)
        np.testing.assert_allclose(free_energy(jnp.array(couplings), width), first / width, rtol=1e-14)
        # The gap is a difference of logarithms: rounding over the gap.
        length = correlation_length(jnp.array(couplings), width)
        np.testing.assert_allclose(length, 1 / (first - second), rtol=1e-14 / (first - second) + 1e-12)


@pytest.mark.parametrize("periodic", some_now([True, False], False))
def test_is_the_limit_of_long_rectangles_with_all_derivatives(periodic):
    """Anisotropic couplings, one of them negative, and a field: value, gradient and a second derivative."""

    def strip(parameters):
        return exact.strip_free_energy(parameters[:2], 4, field=parameters[2], periodic=periodic, num_iterations=100)

    def rectangle(parameters):  # a torus of length n differs by (λ₁/λ₀)^n
        boundaries = (True, periodic)
        return exact.strip_log_partition(parameters[:2], (64, 4), field=parameters[2], periodic=boundaries) / 256

    parameters = jnp.array([-0.4, 0.3, 0.2])
    got, expected = (
        jax.jit(lambda p, fn=fn: (*jax.value_and_grad(fn)(p), jax.grad(lambda q: jax.grad(fn)(q)[2])(p)))(parameters)
        for fn in (strip, rectangle)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13), got, expected)


def test_width_extrapolates_to_onsager_with_central_charge_one_half():
    widths = np.array([6, 8, 12])
    finite = np.array([float(free_energy(KC, int(width))) for width in widths])
    charges = 6 * widths**2 / np.pi * (finite - float(jax.jit(exact.onsager_free_energy)(KC)))
    assert np.all(np.diff(charges) < 0)
    np.testing.assert_allclose(charges[-1], 0.5, atol=3e-3)  # corrections O(1/w²)
    # The magnetic exponent η = 1/4 from the amplitude, ξ = w / (π η).
    np.testing.assert_allclose(correlation_length(KC, 12) / 12, 4 / np.pi, rtol=4e-3)


def test_correlation_length_of_a_chain_and_of_antiferromagnets():
    for coupling in (0.3, -0.3, 1.2):
        length = correlation_length(coupling, 1, periodic=False)
        np.testing.assert_allclose(length, -1 / np.log(np.tanh(abs(coupling))), rtol=1e-11)
    ferromagnet = correlation_length(jnp.array([0.5, 0.5]), 6)
    for couplings in ([0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]):
        np.testing.assert_allclose(correlation_length(jnp.array(couplings), 6), ferromagnet, rtol=1e-11)


def test_leading_eigenvalues_in_a_field_are_those_of_the_dense_matrix():
    width, coupling, field = 3, 0.5, 0.1
    row = models.Ising(lattice.hypercubic((width,)), coupling, field)
    states = np.array([[1 if index >> site & 1 else -1 for site in range(width)] for index in range(8)])
    half = np.exp(-0.5 * np.asarray(exact.energies(row.hamiltonian, (width,))))
    dense = half[:, None] * np.exp(coupling * states @ states.T) * half[None, :]
    eigenvalues = np.sort(np.linalg.eigvalsh(dense))
    length = correlation_length(coupling, width, field=field)
    np.testing.assert_allclose(length, 1 / np.log(eigenvalues[-1] / eigenvalues[-2]), rtol=1e-11)
    np.testing.assert_allclose(free_energy(coupling, width, field=field), np.log(eigenvalues[-1]) / 3, rtol=1e-14)


def test_unsettled_iterations_are_nan_and_lost_gaps_infinite():
    value, slope = jax.jit(jax.value_and_grad(lambda k: exact.strip_free_energy(k, 6, num_iterations=3)))(KC)
    assert jnp.isnan(value)
    assert jnp.isnan(slope)
    assert correlation_length(3.0, 6) == jnp.inf
    np.testing.assert_allclose(free_energy(3.0, 6), jax.jit(exact.onsager_free_energy)(3.0), rtol=1e-10)
    np.testing.assert_allclose(free_energy(0.0, 6, field=0.4), np.log(2 * np.cosh(0.4)), rtol=1e-14)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="width: expected at most 16 sites, got 17"):
        exact.strip_free_energy(0.4, 17)
    with pytest.raises(ValueError, match="width: expected an integer >= 2, got 1"):
        exact.strip_free_energy(0.4, 1)
    with pytest.raises(ValueError, match=r"coupling: expected a scalar, .* got shape \(3,\)"):
        exact.strip_free_energy(jnp.ones(3), 4)
    with pytest.raises(ValueError, match="num_iterations: expected an integer >= 1, got 0"):
        exact.strip_free_energy(0.4, 4, num_iterations=0)


def dense_free_energy(along: float, across: float, width: int, field: float, *, closes: bool) -> float:
    """ln of the largest eigenvalue of the transfer matrix, a site."""
    states = np.array(list(itertools.product([-1, 1], repeat=width)), float)
    bonds = (states[:, 1:] * states[:, :-1]).sum(1) + closes * states[:, 0] * states[:, -1]
    row = across * bonds + field * states.sum(1)
    dense = np.exp(0.5 * row[:, None] + along * states @ states.T + 0.5 * row[None, :])
    return float(np.log(np.linalg.eigvalsh(dense)[-1]) / width)


@pytest.mark.parametrize("is_double", [False, True], ids=["float32", "float64"])
def test_rows_that_alternate_in_a_field_settle(is_double):
    """Their transfer matrix has a negative eigenvalue nearly as large as the positive one."""
    dtype = jnp.float64 if is_double else jnp.float32
    both = jax.jit(jax.value_and_grad(lambda k, h: exact.strip_free_energy(k, 4, field=h)))
    for along, across, field in [(-1.0, 1.0, 0.3), (-1.0, -1.0, 0.3), (-2.0, 0.5, 1.0), (-0.44, -0.44, -2.0)]:
        value, slopes = both(jnp.array([along, across], dtype), dtype(field))
        expected = dense_free_energy(along, across, 4, field, closes=True)
        np.testing.assert_allclose(value, expected, rtol=1e-14 if is_double else 5e-7)
        step = 1e-5
        for axis, change in enumerate(np.eye(2) * step):
            ends = [
                dense_free_energy(along + sign * change[0], across + sign * change[1], 4, field, closes=True)
                for sign in (1, -1)
            ]
            np.testing.assert_allclose(slopes[axis], (ends[0] - ends[1]) / (2 * step), atol=1e-6)
    assert round(dense_free_energy(-1, 1, 4, 0.3, closes=True), 8) == 2.00058936
