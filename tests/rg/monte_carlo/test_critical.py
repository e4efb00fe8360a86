"""Two lattices matched at the exact critical coupling, and the tangent of a manifold whose rows are parallel."""

import jax
import numpy as np
import pytest

from jaxrg import exact, lattice, models, rg, samplers
from jaxrg.rg import monte_carlo

NAMES = ["nearest_neighbour", "next_nearest_neighbour", "plaquette"]


def moments(seed, side, coupling, num_levels, num_steps=320):
    basis = lattice.standard_operators(lattice.hypercubic((side, side)), NAMES)
    sampler = samplers.multispin_heat_bath(models.Ising(basis.lattice, coupling), num_chains=256)
    steps, thinned = monte_carlo.ladder(basis, rg.majority, num_levels), samplers.thin(sampler, 4)
    # The start is a run of the same program that nobody reads.
    start = monte_carlo.measure(
        jax.random.key(seed), thinned, sampler.init(jax.random.key(seed)), 100, steps, num_bins=32
    ).state
    return monte_carlo.measure(jax.random.key(seed + 1), thinned, start, num_steps, steps, num_bins=32).moments


def test_two_lattices_match_at_the_critical_coupling():
    """From one per cent below it: 16 blocked twice beside 8 blocked once."""
    start = 0.99 * exact.critical_coupling
    large, small = moments(0, 16, start, 3), moments(1, 8, start, 2)
    found = monte_carlo.match_lattices(large, small, level=2)
    assert found.shift_error < 8e-4
    assert abs(start + found.shift - exact.critical_coupling) < 3 * found.shift_error
    assert np.abs((found.shifts - found.shift) / found.shift_errors).max() < 2
    with pytest.raises(ValueError, match="level: expected one below 3 whose finer one is below 2"):
        monte_carlo.match_lattices(large, small, level=3)


def test_the_manifold_is_orthogonal_to_parallel_rows():
    random = np.random.default_rng(0)
    normal = np.array([1.0, 2.0, -0.5])
    replicates = np.outer([3.0, -1.0, 0.2], normal) + 1e-3 * random.normal(size=(32, 3, 3)) / np.sqrt(32)
    matrix = replicates.mean(axis=0)
    jacobian = monte_carlo.Jacobian(matrix, np.full((3, 3), 1e-3), replicates, 1.0)
    found = monte_carlo.critical_manifold(jacobian)
    expected = normal / np.linalg.norm(normal)
    assert np.abs((found.normal - expected) / np.maximum(found.errors, 1e-5)).max() < 5
    np.testing.assert_allclose(found.tangents @ found.normal, 0, atol=1e-12)
    np.testing.assert_allclose(found.tangents @ found.tangents.T, np.eye(2), atol=1e-12)
    assert found.singular_values[0] > 100 * found.singular_values[1]


def test_no_jacobian_is_refused():
    with pytest.raises(ValueError, match="jacobian: expected a Jacobian"):
        monte_carlo.critical_manifold(np.eye(2))
    exact_one = monte_carlo.Jacobian(np.eye(2), np.zeros((2, 2)), np.zeros((2, 2, 2)), 1.0)
    with pytest.raises(ValueError, match="jacobian: expected rows with errors above zero"):
        monte_carlo.critical_manifold(exact_one)
