"""Covariances of local operators against enumeration, and dimensions against the exact levels of a strip."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, samplers, tables
from jaxrg.rg import monte_carlo

RING = lattice.hypercubic((8,))
PAIRS = lattice.operators(RING, {"field": [(0,)], "near": [(0,), (1,)], "triple": [(-1,), (0,), (1,)]})
SQUARE = lattice.hypercubic((8, 8))


def test_local_operators_are_slopes_and_add_up():
    basis = lattice.operators(SQUARE, {"corner": [(0, 0), (1, 0), (0, 1)], "far": [(0, 0), (2, 1)], "one": [(0, 0)]})
    spins = jax.random.rademacher(jax.random.key(0), (8, 8), jnp.int8)
    local = monte_carlo.local_operators(basis, spins)
    floats = spins.astype(jnp.float32)
    slopes = jax.jacrev(lambda s: lattice.evaluate(basis, s))(floats) * floats[None]
    weights = np.array([3 * 4, 2 * 4, 1 * 1], np.float32)
    np.testing.assert_allclose(local, slopes / weights[:, None, None], atol=1e-6)
    np.testing.assert_allclose(
        local.sum((1, 2)), np.asarray(lattice.evaluate(basis, spins)) / np.array([4, 4, 1]), atol=1e-4
    )


@pytest.fixture(scope="module")
def ring():
    """Many chains of a ring in a field, which can be summed."""
    model = models.Ising(RING, 0.4, 0.2)
    sampler = samplers.multispin_heat_bath(model, num_chains=512)
    start = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 50).state
    local = functools.partial(monte_carlo.local_operators, PAIRS)
    found = monte_carlo.operator_covariances(
        jax.random.key(2), sampler, start, 640, lambda spins: local(spins), [0, 2, 3], num_bins=32
    )
    states = tables.all_spins(8)
    weights = np.asarray(jax.nn.softmax(-jax.vmap(model.hamiltonian)(states)), np.float64)
    values = np.asarray(jax.vmap(local)(states), np.float64)
    values = values - np.einsum("s,sax->a", weights, values)[None, :, None] / 8
    expected = [np.einsum("s,sax,sbx->ab", weights, values, np.roll(values, -r, 2)) / 8 for r in (0, 2, 3)]
    return found, np.stack(expected)


def test_covariances_are_those_of_enumeration(ring):
    found, expected = ring
    weights = found.counts / found.counts.sum()
    deviations = found.means - weights @ found.means
    products = found.covariances + (deviations[:, :, None] * deviations[:, None, :])[:, None]
    errors = products.std(axis=0) / np.sqrt(len(weights) - 1)
    scores = (products.mean(axis=0) - (expected + np.swapaxes(expected, 1, 2)) / 2) / errors
    assert np.abs(scores).max() < 4.5
    assert found.distances.tolist() == [0, 2, 3]


def test_dimensions_solve_the_generalised_problem(ring):
    """Of exact covariances as two bins of the same: the eigenvalues of C(r)^-1 C(r')."""
    _, expected = ring
    covariances = np.stack([(expected + np.swapaxes(expected, 1, 2)) / 2] * 2)
    bins = monte_carlo.Covariances(np.array([0, 2, 3]), np.ones(2), np.zeros((2, 3)), covariances)
    found = monte_carlo.scaling_dimensions(bins, bins, (0, 1), 1.7, which=[0, 1])
    values = np.linalg.eigvals(np.linalg.solve(covariances[0, 0, :2, :2], covariances[0, 1, :2, :2]))
    np.testing.assert_allclose(found.dimensions, np.sort(-np.log(values) / np.log(1.7)), rtol=1e-9)
    np.testing.assert_allclose(found.errors, 0, atol=1e-9)
    norms = np.einsum("ia,ab,ib->i", found.operators, covariances[0, 0, :2, :2], found.operators)
    np.testing.assert_allclose(norms, 1, rtol=1e-9)


@pytest.mark.slow
def test_levels_of_a_strip_are_the_exact_ones():
    """Free fermions on a ring of six sites: the gaps of the transfer matrix with and without spin flip."""
    width, length = 6, 96
    place = lattice.hypercubic((length, width))
    shapes = {"field": [0], "triple": [0, 1, 2], "fork": [0, 2, 4], "pair": [0, 1], "two": [0, 2], "three": [0, 3]}
    terms = [(tuple((0, step) for step in steps),) for steps in shapes.values()]
    basis = lattice.Operators(place, tuple(shapes), tuple(terms))
    model = models.Ising(place, exact.critical_coupling)
    sampler = samplers.multispin_heat_bath(model, num_chains=256)
    start = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 1_000).state
    found = monte_carlo.operator_covariances(
        jax.random.key(2),
        samplers.thin(sampler, 2),
        start,
        640,
        lambda spins: jnp.mean(monte_carlo.local_operators(basis, spins), axis=-1)[..., None],
        [1, 2],
        num_bins=32,
    )

    def gap(momentum):
        return 2 * np.arcsinh(np.abs(np.sin(momentum / 2)))

    momenta = 2 * np.pi * np.arange(width) / width
    vacuum = (gap(momenta + np.pi / width).sum() - gap(momenta).sum()) / 2
    expected = {"odd": vacuum, "even": 2 * gap(np.pi / width)}
    for name, which, is_odd in (("odd", [0, 1, 2], True), ("even", [3, 4, 5], False)):
        levels = monte_carlo.scaling_dimensions(found, found, (0, 1), np.e, which=which, is_odd=is_odd)
        assert abs(levels.dimensions[0] - expected[name]) < 4 * levels.errors[0] + 0.01 * expected[name]
        assert levels.errors[0] < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"near": 1}, "near: expected Covariances"),
        ({"far": 1}, "far: expected Covariances"),
        ({"places": (0, 3)}, "places: expected indices below 3 distances"),
        ({"rescaling": 1.0}, "rescaling: expected a number between 1"),
        ({"which": [5]}, "which: expected different indices of 3 operators"),
    ],
)
def test_what_cannot_be_disentangled_is_refused(ring, change, message):
    arguments = {"near": ring[0], "far": ring[0], "places": (0, 1), "rescaling": 2.0} | change
    with pytest.raises(ValueError, match=message):
        monte_carlo.scaling_dimensions(**arguments)


def test_covariances_that_are_not_positive_are_refused():
    negative = monte_carlo.Covariances(np.array([1]), np.ones(2), np.zeros((2, 1)), -np.ones((2, 1, 1, 1)))
    with pytest.raises(ValueError, match="near: expected positive covariances at distance 1"):
        monte_carlo.scaling_dimensions(negative, negative, (0, 0), 2.0)


def test_an_open_lattice_has_no_distances():
    basis = lattice.operators(lattice.hypercubic((8,), periodic=False), {"near": [(0,), (1,)]})
    with pytest.raises(ValueError, match="operators: expected a periodic lattice"):
        monte_carlo.local_operators(basis, jnp.ones(8, jnp.int8))
