"""Swendsen's equations against the exact flow of a small torus, and their errors against many runs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact, lattice, models, rg, samplers, tables
from jaxrg.rg import monte_carlo

NAMES = ["nearest_neighbour", "next_nearest_neighbour", "plaquette"]
FINE = lattice.standard_operators(lattice.hypercubic((4, 4)), NAMES)
COARSE = lattice.standard_operators(lattice.hypercubic((2, 2)), NAMES)
KERNELS = {"majority": rg.majority_kernel(2), "decimation": rg.decimation_kernel(2)}


def majority(key, spins):
    return rg.majority(key, spins, 2)


def flow(kernel, couplings):
    """K' of 2 x 2 blocks of a 4 x 4 torus, exact, as three operators are all even ones of a 2 x 2 torus."""
    model = models.OperatorModel(FINE, couplings)
    return rg.project(exact.coarse_grain(model.hamiltonian, (4, 4), kernel, (2, 2)).hamiltonian, COARSE).couplings


exact_slopes = jax.jit(jax.jacfwd(flow, argnums=1))


@jax.jit
def weights_and_operators(kernel, couplings):
    """Weights of all pairs of a fine and a coarse configuration, and the operators of both."""
    model = models.OperatorModel(FINE, couplings)
    fine, coarse = tables.all_spins(16).reshape(-1, 4, 4), tables.all_spins(4).reshape(-1, 2, 2)
    weights = jax.nn.softmax(-jax.vmap(model.hamiltonian)(fine))
    transfer = jnp.exp(jax.vmap(lambda f: jax.vmap(lambda c: kernel(c, f))(coarse))(fine))
    of_fine, of_coarse = (
        jax.vmap(functools.partial(lattice.evaluate, basis))(states)
        for basis, states in ((FINE, fine), (COARSE, coarse))
    )
    return weights[:, None] * transfer, of_fine, of_coarse


def exact_moments(kernel, couplings) -> monte_carlo.Moments:
    """Averages over all pairs, twice, as two bins of the same."""
    joint, of_fine, of_coarse = (np.asarray(part, np.float64) for part in weights_and_operators(kernel, couplings))
    means = joint.sum(1) @ of_fine, joint.sum(0) @ of_coarse
    a, b = of_fine - means[0], of_coarse - means[1]
    across = a.T @ joint @ b
    blocks = [[(a.T * joint.sum(1)) @ a, across], [across.T, (b.T * joint.sum(0)) @ b]]
    covariances = np.array(blocks).transpose(0, 2, 1, 3)
    return monte_carlo.Moments(np.ones(2), np.stack([means] * 2), np.stack([covariances] * 2))


@pytest.mark.parametrize("name", KERNELS)
def test_the_matrix_is_the_derivative_of_the_exact_flow(x64, name):
    couplings = jnp.array([0.35, 0.05, 0.01])
    found = monte_carlo.jacobian(exact_moments(KERNELS[name], couplings))
    exact_matrix = exact_slopes(KERNELS[name], couplings)
    np.testing.assert_allclose(found.matrix, exact_matrix, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.errors, 0, atol=1e-10)


def test_exponents_of_the_fixed_point_are_those_of_the_exact_map(x64):
    """K* and y_T of the 2 x 2 majority rule on 4 x 4 sites, computed for this project."""
    fixed = rg.fixed_point(lambda k: flow(KERNELS["majority"], k), jnp.array([0.3, 0.09, 0.0]))
    np.testing.assert_allclose(fixed.couplings, [0.29976, 0.08709, -0.00126], atol=1e-5)
    found = monte_carlo.linearise(exact_moments(KERNELS["majority"], fixed.couplings), 2)
    np.testing.assert_allclose(found.scaling.exponents[0], 0.92921, atol=1e-5)
    assert found.scaling.kinds[0] == "relevant"


@pytest.fixture(scope="module")
def measured():
    """Many chains of a torus that can be enumerated."""
    couplings = jnp.array([0.35, 0.05, 0.01])
    sampler = samplers.replicas(samplers.heat_bath(models.OperatorModel(FINE, couplings)), 256)
    start = samplers.run(jax.random.key(1), sampler, sampler.init(jax.random.key(0)), 50).state
    steps = monte_carlo.ladder(FINE, majority)
    return couplings, sampler, monte_carlo.measure(jax.random.key(2), sampler, start, 640, steps, num_bins=32)


def test_a_stream_gives_the_exact_flow_within_its_errors(measured):
    couplings, _, run = measured
    found = monte_carlo.jacobian(run.moments)
    with jax.enable_x64(True):
        expected = np.asarray(exact_slopes(KERNELS["majority"], couplings.astype(jnp.float64)))
    scores = (found.matrix - expected) / found.errors
    assert np.abs(scores).max() < 4
    assert 0.3 < np.sqrt(np.mean(scores**2)) < 2
    assert run.moments.counts.sum() == 640 * 256


def test_stored_samples_give_what_a_stream_of_them_gives(measured):
    """Without chance in the blocks, to rounding."""
    _, sampler, run = measured
    spins = sampler.measure(lambda spins: spins, run.state)
    steps = monte_carlo.ladder(FINE, lambda key, s: rg.majority(None, s, 2))
    found = monte_carlo.moments(jax.random.key(0), spins, steps, num_bins=4)
    one_by_one = np.asarray(jax.jit(jax.vmap(lambda s: steps(jax.random.key(0), s)))(spins), np.float64)
    values = one_by_one.reshape(4, 64, -1)
    np.testing.assert_allclose(found.means.reshape(4, -1), values.mean(1), rtol=1e-5)
    covariances = np.stack([np.cov(part.T, bias=True) for part in values]).reshape(found.covariances.shape)
    np.testing.assert_allclose(found.covariances, covariances, rtol=1e-4, atol=1e-3)
    # The levels of one configuration, one by one.
    coarse = rg.majority(None, spins[0], 2)
    expected = [lattice.evaluate(FINE, spins[0]), lattice.evaluate(COARSE, coarse)]
    np.testing.assert_array_equal(one_by_one[0], expected)


def test_the_jackknife_leaves_bins_out(measured):
    moments = measured[2].moments
    for is_odd in (False, True):
        found = monte_carlo.jacobian(moments, is_odd=is_odd)
        without = monte_carlo.Moments(*(part[1:] for part in moments))
        np.testing.assert_allclose(monte_carlo.jacobian(without, is_odd=is_odd).matrix, found.replicates[0], rtol=1e-9)


def test_errors_of_eigenvalues_are_those_of_their_scatter():
    """Matrices of many short runs against the error of one: normal operators whose flow is known."""
    random = np.random.default_rng(0)
    flow_matrix = np.array([[2.0, 0.3], [0.1, 0.5]])

    def moments(seed):
        random = np.random.default_rng(seed)
        fine = random.normal(size=(32, 400, 2))
        coarse = fine @ flow_matrix.T + random.normal(size=fine.shape)
        values = np.stack([fine, coarse], axis=2).reshape(32, 400, 4)
        covariances = np.stack([np.cov(part.T, bias=True) for part in values]).reshape(32, 2, 2, 2, 2)
        return monte_carlo.Moments(np.full(32, 400), values.mean(1).reshape(32, 2, 2), covariances)

    runs = [monte_carlo.linearise(moments(seed), 2) for seed in random.integers(0, 2**31, 60)]
    values = np.stack([run.scaling.eigenvalues for run in runs])
    errors = np.stack([run.eigenvalue_errors for run in runs])
    np.testing.assert_allclose(np.sqrt(np.mean(errors**2, axis=0)), values.real.std(axis=0), rtol=0.35)
    np.testing.assert_allclose(runs[0].exponent_errors, errors[0] / np.abs(values[0]) / np.log(2), rtol=1e-6)


def test_complex_pairs_are_reported():
    """A rotation has no real eigenvalue."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    covariances = np.zeros((2, 2, 2, 2, 2))
    covariances[:, 0, :, 0], covariances[:, 1, :, 1] = np.eye(2), np.eye(2)
    covariances[:, 1, :, 0] = turn
    found = monte_carlo.linearise(monte_carlo.Moments(np.ones(2), np.zeros((2, 2, 2)), covariances), 2)
    assert sorted(found.scaling.eigenvalues.imag) == pytest.approx([-1, 1])


def test_dependent_operators_are_refused():
    square = lattice.hypercubic((8, 8))
    doubled = lattice.Operators(square, ("one", "two"), ((((0, 0), (0, 1)),), (((0, 0), (0, 7)),)))
    with pytest.raises(ValueError, match=r"operators: expected independent ones .* two = 1 one"):
        monte_carlo.ladder(doubled, majority)
    far = lattice.operators(square, {"near": [(0, 0), (0, 1)], "far": [(0, 0), (0, 3)]})
    with pytest.raises(ValueError, match=r"num_levels: .* far = 1 near"):  # three steps are one on four sites
        monte_carlo.ladder(far, majority, 2)


def test_operators_that_do_not_vary_are_refused():
    steps = monte_carlo.ladder(FINE, majority)
    found = monte_carlo.moments(jax.random.key(0), jnp.ones((8, 4, 4), jnp.int8), steps, num_bins=2)
    with pytest.raises(ValueError, match="moments: expected operators that vary independently at level 1"):
        monte_carlo.jacobian(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"which": [0, 0]}, "which: expected different indices of 3 operators"),
        ({"which": [3]}, "which: expected different indices of 3 operators"),
        ({"level": 2}, "coarse: expected a level above fine = 1 and below 2"),
        ({"rescaling": 1.0}, "rescaling: expected a number between 1"),
    ],
)
def test_what_cannot_be_linearised_is_refused(measured, change, message):
    with pytest.raises(ValueError, match=message):
        monte_carlo.linearise(**{"moments": measured[2].moments, "rescaling": 2} | change)


def test_a_field_is_blocked_by_means():
    """Of a Gaussian field without stiffness, block means times b^{d/2} are the same field: T is diagonal, b^{d/2}."""

    def operators(field):
        return jnp.stack([jnp.sum(field), jnp.sum(field**3 - 3 * field)])

    def blocking(key, field):
        return 2 * jnp.mean(lattice.to_blocks(field, 2), axis=-1)

    steps = monte_carlo.ladder(operators, blocking)
    fields = jax.random.normal(jax.random.key(0), (20_000, 4, 4))
    found = monte_carlo.linearise(monte_carlo.moments(jax.random.key(1), fields, steps), 2, is_odd=True)
    scores = (np.sort(found.scaling.eigenvalues.real)[::-1] - [2, 0.5]) / found.eigenvalue_errors
    assert np.abs(scores).max() < 4
