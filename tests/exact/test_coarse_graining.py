"""Coarse-graining by kernels written here; `tests/rg/test_kernels.py` holds the library's kernels to the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, tables, transforms

pytestmark = pytest.mark.usefixtures("x64")


def soft_majority(coarse, fine):
    """The kernel exp(p h Σs) / 2 cosh(p Σs) of every 2 × 2 block, normalised for any p."""
    sums = 0.3 * jnp.sum(fine.reshape(2, 2, 2, 2), axis=(1, 3), dtype=fine.dtype).astype(float)
    return jnp.sum(coarse.astype(float) * sums - jnp.logaddexp(sums, -sums))


def test_a_normalised_kernel_conserves_the_free_energy_in_any_chunks():
    model = models.Ising(lattice.hypercubic((4, 4)), 0.37, 0.11)
    results = [
        exact.coarse_grain(model.hamiltonian, (4, 4), soft_majority, (2, 2), chunk_size=size) for size in (1024, None)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14), *results)
    result = results[0]
    np.testing.assert_allclose(-result.fine_free_energy, exact.log_partition(model.hamiltonian, (4, 4)), rtol=1e-14)
    np.testing.assert_allclose(result.coarse_free_energy, result.fine_free_energy, rtol=1e-14)
    np.testing.assert_allclose(result.log_rho, np.zeros(2**16), atol=1e-14)

    # The table itself, from all pairs at once.
    fine, coarse = tables.all_spins(16).reshape(-1, 4, 4), tables.all_spins(4).reshape(-1, 2, 2)
    weights = np.exp(jax.jit(jax.vmap(jax.vmap(soft_majority, (None, 0)), (0, None)))(coarse, fine))
    by_hand = -np.log(weights @ np.exp(-np.asarray(exact.energies(model.hamiltonian, (4, 4)))))
    np.testing.assert_allclose(result.hamiltonian, by_hand, rtol=1e-13)


def test_decimated_chain_has_its_exact_coupling_and_derivatives():
    energy = models.Ising(lattice.hypercubic((8,)), 1.0).hamiltonian

    def decimate(coarse, fine):
        return jnp.where(jnp.all(coarse == fine[::2]), 0.0, -jnp.inf)

    def coarse_coupling(coupling):
        result = exact.coarse_grain(lambda s: coupling * energy(s), (8,), decimate, (4,), chunk_size=8)
        return -transforms.walsh(result.hamiltonian)[0b0011]

    slope = jax.grad(coarse_coupling)
    value, first, second = jax.jit(lambda k: (coarse_coupling(k), slope(k), jax.grad(slope)(k)))(0.8)
    np.testing.assert_allclose(value, 0.5 * np.log(np.cosh(1.6)), rtol=1e-13)
    np.testing.assert_allclose(first, np.tanh(1.6), rtol=1e-13)
    np.testing.assert_allclose(second, 2 / np.cosh(1.6) ** 2, rtol=1e-12)


def test_states_without_weight_have_infinite_logarithms_and_no_derivative():
    def copy(coarse, fine):  # both coarse spins copy the first fine one, and no coarse state follows from (-1, -1)
        is_allowed = jnp.all(coarse == fine[0]) & jnp.any(fine > 0)
        return jnp.where(is_allowed, 0.0, -jnp.inf)

    @jax.jit
    def both(coupling):
        def coarse_grained(coupling):
            hamiltonian = lambda s: -coupling * (s[0] * s[1]).astype(float)  # noqa: E731
            return exact.coarse_grain(hamiltonian, (2,), copy, (2,), chunk_size=1)

        return coarse_grained(coupling), jax.jacobian(coarse_grained)(coupling)

    result, slope = both(0.4)
    np.testing.assert_allclose(result.hamiltonian, [0.4, np.inf, np.inf, -np.log(2 * np.cosh(0.4))], rtol=1e-14)
    np.testing.assert_allclose(slope.hamiltonian, [1, 0, 0, -np.tanh(0.4)], rtol=1e-14)
    np.testing.assert_array_equal(result.log_rho, [-np.inf, 0, 0, 0])
    np.testing.assert_array_equal(slope.log_rho, np.zeros(4))
    expected = -np.log(np.exp(-0.4) + 2 * np.cosh(0.4))
    np.testing.assert_allclose(result.coarse_free_energy, expected, rtol=1e-14)


def test_wrong_arguments_are_refused():
    def coarse_grain(shape=(4,), kernel=lambda h, s: 0.0, coarse_shape=(2,), hamiltonian=lambda s: 0.0, **options):
        return exact.coarse_grain(hamiltonian, shape, kernel, coarse_shape, **options)

    with pytest.raises(ValueError, match="log_kernel: expected a scalar"):
        coarse_grain(kernel=lambda h, s: h)
    with pytest.raises(ValueError, match="hamiltonian: expected a scalar"):
        coarse_grain(hamiltonian=lambda s: s)
    with pytest.raises(
        ValueError, match=r"shape: expected at most 27 for tables .* got 30, which needs 17,179,869,184"
    ):
        coarse_grain(shape=(30,))
    with pytest.raises(ValueError, match=r"coarse_shape: expected at most 25 for tables .* got 26"):
        coarse_grain(coarse_shape=(26,))
    with pytest.raises(ValueError, match="chunk_size: expected a power of two, got 3"):
        coarse_grain(chunk_size=3)
