"""Embedded clusters: whole transition matrices on closed sets of configurations, then closed forms and literature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxrg import lattice, models, samplers, stats
from jaxrg.samplers.embedding import embedded_spins
from tests.samplers import transition_matrices

KEY = jax.random.key(1)
RING = lattice.hypercubic((3,))
CLOCK = 4  # directions: mirrors at multiples of pi/4 map multiples of pi/2 onto each other


def clock_states():
    digits = np.indices((CLOCK,) * 3).reshape(3, -1).T
    return digits * 2 * np.pi / CLOCK


def sign_states():
    lengths = np.array([0.6, 1.1, 0.9])
    return lengths * (2 * np.indices((2,) * 3).reshape(3, -1).T - 1)


def vector_states():
    angles = clock_states()
    lengths = np.array([0.8, 1.2, 1.0])
    return np.stack([lengths * np.cos(angles), lengths * np.sin(angles)], axis=-1)


TURNS = np.arange(CLOCK) / CLOCK  # all mirrors that keep the clock, which a uniform one covers evenly
CASES = {
    "xy": (models.XY(RING, 0.7), clock_states(), TURNS),
    "phi4": (models.Phi4(RING, -1.0, 0.5, 0.6), sign_states(), [0.0]),
    "complex_phi4": (models.kappa_complex_phi4(RING, 0.35, 0.4), vector_states(), TURNS),
}


def transition_matrix(model, table, turns, kernel):
    """P between configurations: the mean over mirrors of what the clusters of the embedded Ising model do."""
    flips = np.asarray(transition_matrices.states(3))
    matrix = np.zeros((len(table), len(table)))
    points = table.reshape(len(table), 3, -1)
    if isinstance(model, models.XY):
        points = np.concatenate([np.cos(points), np.sin(points)], axis=-1)
    embed = jax.jit(lambda turn, field: embedded_spins(model, turn, field))
    for start, field in enumerate(table):
        for turn in turns:
            glass, reflected = embed(jnp.float32(turn), jnp.asarray(field, jnp.float32))
            probabilities = kernel(glass)[-1]  # from all spins +1
            image = np.asarray(reflected)
            for flip, probability in zip(flips, probabilities, strict=True):
                moved = np.where((flip < 0).reshape(3, *[1] * (field.ndim - 1)), image, field).reshape(3, -1)
                if isinstance(model, models.XY):
                    moved = np.concatenate([np.cos(moved), np.sin(moved)], axis=-1)
                distances = np.abs(points - moved).max(axis=(1, 2))
                assert distances.min() < 1e-4, "expected a closed set of configurations"
                matrix[start, distances.argmin()] += probability / len(turns)
    return matrix


@pytest.mark.parametrize(
    "name", ["phi4", *(pytest.param(name, marks=pytest.mark.slow) for name in ("xy", "complex_phi4"))]
)
@pytest.mark.parametrize("kernel", [transition_matrices.wolff, transition_matrices.swendsen_wang])
def test_embedded_clusters_are_in_detailed_balance(name, kernel):
    model, table, turns = CASES[name]
    actions = np.asarray(jax.jit(jax.vmap(model.action))(jnp.asarray(table, jnp.float32)), float)
    weights = np.exp(-actions) / np.exp(-actions).sum()
    matrix = transition_matrix(model, table, turns, kernel)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    flow = weights[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-6)
    assert np.linalg.matrix_power(matrix, 60).min() > 0, "expected to reach every configuration"


@pytest.mark.slow
def test_one_step_has_the_probabilities_of_its_matrix():
    model, table, _ = CASES["phi4"]
    chain = samplers.wolff_embedding(model)
    start = 5
    state = chain.init(KEY, table[start])
    keys = jax.random.split(KEY, 20_000)
    after = jax.jit(jax.vmap(lambda key: chain.step(key, state)[0].field))(keys)
    index = np.abs(np.asarray(after)[:, None] - table[None]).max(axis=2).argmin(axis=1)
    expected = transition_matrix(model, table, [0.0], transition_matrices.wolff)[start]
    counts = np.bincount(index, minlength=len(table))
    kept = expected > 1e-6
    assert counts[~kept].sum() == 0
    found = stats.chi_squared(jnp.asarray(counts[kept]), jnp.asarray(expected[kept] / expected[kept].sum()))
    assert found.p_value > 1e-6


def xy_ring(coupling, num_sites):
    """Energy per site, from Z = (2 pi)^L sum of I_n(K)^L."""
    orders = np.arange(-40, 41)
    values, slopes = scipy.special.iv(orders, coupling), scipy.special.ivp(orders, coupling)
    return -(slopes * values ** (num_sites - 1)).sum() / (values**num_sites).sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [samplers.wolff_embedding, samplers.swendsen_wang_embedding, lambda m: samplers.hmc(m, 0.3, 6)]
)
def test_a_ring_of_planar_spins_has_its_bessel_functions(make):
    model = models.XY(lattice.hypercubic((8,)), 1.3)
    chain = samplers.replicas(make(model), 16)
    run = samplers.run(KEY, chain, chain.init(KEY), 1200, observe=model.observables)
    energy = stats.summary(run.trace.energy[:, 50:])
    assert abs(float(energy.mean) - xy_ring(1.3, 8)) < 5 * float(energy.error)


def phi4_chain(mass_squared, quartic, num_sites):
    """ln Z and <phi²> of a ring, by its transfer matrix on a grid."""
    points = np.linspace(-4, 4, 401)
    potential = mass_squared * points**2 + quartic * points**4
    transfer = np.exp(-((points[:, None] - points) ** 2) - 0.5 * (potential[:, None] + potential))
    transfer *= points[1] - points[0]
    power = np.linalg.matrix_power(transfer, num_sites)
    return np.log(np.trace(power)), np.trace(points[:, None] ** 2 * power) / np.trace(power)


@pytest.mark.slow
def test_a_ring_of_phi4_has_its_transfer_matrix():
    model = models.Phi4(lattice.hypercubic((6,)), -2.0, 0.8)
    chain = samplers.mixture([samplers.wolff_embedding(model), samplers.hmc(model, 0.25, 4)], [0.3, 0.7])
    chain = samplers.replicas(chain, 16)
    run = samplers.run(KEY, chain, chain.init(KEY), 1500, observe=lambda field: jnp.mean(field**2))
    found = stats.summary(run.trace[:, 50:])
    assert abs(float(found.mean) - phi4_chain(-2.0, 0.8, 6)[1]) < 5 * float(found.error)


@pytest.mark.slow
def test_clusters_and_trajectories_agree_on_planar_spins():
    """Every observable of one distribution, from dynamics that share nothing."""
    model = models.XY(lattice.hypercubic((6, 6)), 1.0)

    def observe(field):
        seen = model.observables(field)
        return jnp.stack([seen.energy, seen.helicity_modulus, seen.vortex_density, jnp.sum(seen.magnetization**2)])

    found = []
    for make in (samplers.wolff_embedding, lambda m: samplers.hmc(m, 0.25, 8)):
        chain = samplers.replicas(make(model), 8)
        trace = samplers.run(KEY, chain, chain.init(KEY), 1500, observe=observe).trace
        found.append(stats.summary(trace[:, 200:]))
    difference = np.asarray(found[0].mean - found[1].mean)
    assert np.all(np.abs(difference) < 5 * np.hypot(found[0].error, found[1].error))


@pytest.mark.slow
def test_the_helicity_modulus_at_the_kosterlitz_thouless_transition():
    """2/pi from above, with the logarithm of its renormalisation: (Y/T)(L) = 2/pi (1 + 1/(2 ln(L/L0)))."""
    found = {}
    for side in (8, 16):
        model = models.XY(lattice.hypercubic((side, side)), 1.11996)
        chain = samplers.replicas(samplers.swendsen_wang_embedding(model), 16)
        trace = samplers.run(
            KEY, chain, chain.init(KEY), 1000, observe=lambda f, m=model: m.observables(f).helicity_modulus
        )
        found[side] = stats.summary(trace.trace[:, 100:])
    logs = {side: 1 / (2 * (float(f.mean) * math.pi / 2 - 1)) for side, f in found.items()}
    assert 0.6366 < float(found[16].mean) < float(found[8].mean) < 0.8
    assert 0.5 < (logs[16] - logs[8]) / math.log(2) < 1.7  # one in the limit of large sides


@pytest.mark.slow
def test_the_benchmark_couplings_of_phi4_have_a_quarter_of_the_side_for_correlation_length():
    """m² = -4 at the published lambda of L = 8, by the second moment of the propagator."""
    side = 8
    model = models.Phi4(lattice.hypercubic((side, side)), -4.0, 6.008)
    waves = jnp.asarray(np.exp(-2j * np.pi * np.arange(side) / side), jnp.complex64)

    def observe(field):
        along = [jnp.abs(jnp.dot(waves, jnp.sum(field, axis=axis).astype(jnp.complex64))) ** 2 for axis in (0, 1)]
        return {"zero": jnp.sum(field) ** 2, "one": (along[0] + along[1]) / 2}

    chain = samplers.mixture([samplers.swendsen_wang_embedding(model), samplers.hmc(model, 0.16, 5)], [0.5, 0.5])
    chain = samplers.replicas(samplers.thin(chain, 4), 16)
    trace = samplers.run(KEY, chain, chain.init(KEY), 800, observe=observe).trace
    trace = jax.tree.map(lambda series: series[:, 50:], trace)
    length = stats.gamma_method(lambda m: jnp.sqrt(m["zero"] / m["one"] - 1) / (2 * math.sin(math.pi / side)), trace)
    assert abs(float(length.value) - side / 4) < 0.06
    assert float(length.error) < 0.03
