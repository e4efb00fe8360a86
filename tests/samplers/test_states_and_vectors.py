"""Chains of Potts, clock, XY and Heisenberg models: whole matrices, then closed forms, enumeration and literature."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxrg import exact, lattice, models, samplers, stats
from jaxrg.samplers.embedding import embedded_spins
from jaxrg.samplers.spins import site_indices
from tests.rows import some_now
from tests.samplers import transition_matrices as matrices

KEY = jax.random.key(1)
TRIANGLE = lattice.hypercubic((3,))


def over_and_bath(model):
    return samplers.mixture([samplers.over_relaxation(model), samplers.heat_bath(model)], [0.6, 0.4])


EMBEDDED = {
    "antiferromagnet": (models.Potts(TRIANGLE, 3, -0.9, [0.3, 0.0, -0.2]), 3),
    "clock": (models.Clock(TRIANGLE, 4, 0.8, [0.2, -0.4]), 4),
    "clock_without_field": (models.Clock(TRIANGLE, 3, -0.7), 3),
}


@pytest.mark.parametrize(
    ("name", "kernel"),
    some_now(
        itertools.product(EMBEDDED, [matrices.wolff, matrices.swendsen_wang]),
        ("antiferromagnet", matrices.wolff),
        ("clock_without_field", matrices.swendsen_wang),
    ),
)
def test_embedded_clusters_of_states_are_in_detailed_balance(name, kernel):
    """The mean over all mirrors of what the clusters of the embedded Ising model do, as a matrix on all states."""
    model, num_mirrors = EMBEDDED[name]
    table = np.asarray(matrices.configurations(model))
    embed = jax.jit(lambda turn, c: embedded_spins(model, turn, c))
    matrix = np.zeros((len(table), len(table)))
    flips = matrices.states(3) < 0
    for start, state in enumerate(table):
        for turn in (np.arange(num_mirrors) + 0.5) / num_mirrors:
            glass, reflected = embed(jnp.float32(turn), state)
            after = matrices.index_of(model, np.where(flips, reflected, state))
            np.add.at(matrix[start], after, kernel(glass)[-1] / num_mirrors)  # from all embedded spins +1
    weights = matrices.boltzmann(model)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-5)
    flow = weights[:, None] * matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-6)
    assert np.linalg.matrix_power(matrix, 60).min() > 0, "expected to reach every configuration"


RANDOM = np.random.default_rng(2)
SQUARE = lattice.hypercubic((4, 4))
FIELDS = {
    "potts": models.Potts(SQUARE, 3, 0.6, RANDOM.normal(scale=0.3, size=(4, 4, 3)).astype(np.float32)),
    "clock": models.Clock(lattice.triangular((3, 3)), 5, 0.2, [0.1, 0.3]),
    "xy": models.XY(SQUARE, 0.4, RANDOM.normal(scale=0.3, size=(4, 4, 2)).astype(np.float32)),
    "heisenberg": models.Heisenberg(lattice.triangular((3, 3)), 0.3, [0.2, 0.0, 0.3]),
}


def exchanged(model, key, configuration):
    """``[*sites]`` exp(H(s) - H(s')) for another value s' of each site, each as likely."""
    space = model.sites
    ndim = len(space.value_shape)
    values = jnp.moveaxis(configuration, -1, 0) if ndim else configuration
    proposed = space.propose(key, site_indices(model), values)
    return jnp.exp(space.log_ratio(values, proposed, model.local_field(configuration)))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("potts", samplers.heat_bath),
        *(
            pytest.param(name, make, marks=pytest.mark.slow)
            for name in FIELDS
            for make in (samplers.metropolis, samplers.wolff_embedding, samplers.heat_bath)
            if (name, make) != ("potts", samplers.heat_bath)
        ),
        pytest.param("xy", over_and_bath, marks=pytest.mark.slow),
    ],
)
def test_every_site_exchanges_its_value_at_no_cost_on_average(name, make):
    """<exp(-dH)> = 1 for another value at every site, whatever the lattice and the couplings."""
    model = FIELDS[name]
    chain = samplers.replicas(samplers.thin(make(model), 3), 32)

    def observe(configuration):
        # Of bits that no step has used: the proposals want a key that differs from state to state.
        seed = jax.lax.bitcast_convert_type(model.hamiltonian(configuration), jnp.int32)
        return exchanged(model, jax.random.fold_in(jax.random.key(77), seed), configuration)

    run = samplers.run(KEY, chain, chain.init(KEY), 600, observe=observe)
    found = stats.summary(run.trace[:, 60:])
    scores = (np.asarray(found.mean) - 1) / np.asarray(found.error)
    assert np.all(np.abs(scores) < 5)
    assert np.asarray(found.error).max() < 0.05


@functools.cache
def enumerated():
    """Energy per site, <m²> and <m⁴> of the 3 x 3 torus with three states, by enumeration of its 19683 states."""
    model = models.Potts(lattice.hypercubic((3, 3)), 3, 0.8)
    table = matrices.configurations(model)
    seen = jax.jit(jax.vmap(model.observables))(table)
    weights = matrices.boltzmann(model)
    square = (3 * (np.asarray(seen.fractions, float) ** 2).sum(axis=1) - 1) / 2
    return model, [(weights * x).sum() for x in (np.asarray(seen.energy, float), square, square**2)]


@pytest.mark.parametrize(
    "make", some_now([samplers.swendsen_wang, samplers.wolff, samplers.heat_bath], samplers.swendsen_wang)
)
def test_potts_chains_agree_with_enumeration(make):
    model, (energy, square, fourth) = enumerated()
    chain = samplers.replicas(make(model), 32)
    run = samplers.run(KEY, chain, chain.init(KEY), 1500, observe=model.observables)
    powers = (3 * jnp.sum(run.trace.fractions**2, axis=-1) - 1) / 2
    series = {"energy": run.trace.energy, "square": powers, "fourth": powers**2}
    wanted = {"energy": energy, "square": square, "fourth": fourth}
    if make is samplers.swendsen_wang:  # the estimators of its clusters too
        series |= {"clusters": run.info.magnetization_squared, "fourth of clusters": run.info.magnetization_fourth}
        wanted |= {"clusters": square, "fourth of clusters": fourth}
    found = stats.summary(jax.tree.map(lambda x: x[:, 50:], series))
    for name, expected in wanted.items():
        assert abs(float(found[name].mean) - expected) < 5 * float(found[name].error), name
    if make is samplers.swendsen_wang:
        assert float(found["clusters"].error) < float(found["square"].error)


ALL_SITES = [samplers.heat_bath, samplers.metropolis, samplers.random_scan_metropolis, over_and_bath]
CHAIN = lattice.hypercubic((8,), periodic=False)
OPEN_CHAINS = {
    "xy": (models.XY(CHAIN, 1.3), scipy.special.i1(1.3) / scipy.special.i0(1.3)),
    "heisenberg": (models.Heisenberg(CHAIN, 1.7), 1 / math.tanh(1.7) - 1 / 1.7),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPEN_CHAINS)
@pytest.mark.parametrize("make", [*ALL_SITES, samplers.wolff_embedding, samplers.swendsen_wang_embedding])
def test_open_chains_have_their_closed_forms(name, make):
    """Bonds are independent: <u · u'> is I1/I0 of planar spins and coth K - 1/K of unit vectors."""
    model, aligned = OPEN_CHAINS[name]
    chain = samplers.replicas(make(model), 32)
    run = samplers.run(KEY, chain, chain.init(KEY), 2000, observe=lambda c: model.observables(c).energy)
    found = stats.summary(run.trace[:, 100:])
    assert abs(float(found.mean) + 7 / 8 * aligned) < 5 * float(found.error)
    assert float(found.error) < 0.01


def two_in_a_field(model):
    """<u1 · u2> and the mean component along the field of two spins, by quadrature of unit vectors."""
    coupling, h = float(model.coupling), float(np.linalg.norm(model.field))
    if isinstance(model, models.XY):
        angles = 2 * np.pi * (np.arange(400) + 0.5) / 400
        first, second = np.cos(angles)[:, None], np.cos(angles)[None, :]
        aligned = np.cos(angles[:, None] - angles[None, :])
        weights = np.exp(coupling * aligned + h * (first + second))
        return (weights * aligned).sum() / weights.sum(), (weights * (first + second)).sum() / weights.sum() / 2
    points, measure = np.polynomial.legendre.leggauss(60)
    azimuth = 2 * np.pi * (np.arange(100) + 0.5) / 100
    x, y, turn = np.meshgrid(points, points, azimuth, indexing="ij")
    aligned = x * y + np.sqrt((1 - x**2) * (1 - y**2)) * np.cos(turn)
    weights = np.exp(coupling * aligned + h * (x + y)) * measure[:, None, None] * measure[None, :, None]
    return (weights * aligned).sum() / weights.sum(), (weights * (x + y)).sum() / weights.sum() / 2


PAIR = lattice.hypercubic((2,), periodic=False)


@pytest.mark.slow
@pytest.mark.parametrize("model", [models.XY(PAIR, 1.1, [0.3, 0.4]), models.Heisenberg(PAIR, 1.4, [0.36, 0.48, 0.8])])
@pytest.mark.parametrize("make", [*ALL_SITES, samplers.wolff_embedding, samplers.swendsen_wang_embedding])
def test_two_spins_in_a_field_agree_with_quadrature(model, make):
    aligned, along = two_in_a_field(model)
    direction = model.field / jnp.linalg.norm(model.field)
    chain = samplers.replicas(make(model), 32)

    def observe(configuration):
        seen = model.observables(configuration)
        return {"aligned": -2 * seen.energy, "along": jnp.dot(seen.magnetization, direction)}

    found = stats.summary(samplers.run(KEY, chain, chain.init(KEY), 2000, observe=observe).trace)
    assert abs(float(found["aligned"].mean) - aligned) < 5 * float(found["aligned"].error)
    assert abs(float(found["along"].mean) - along) < 5 * float(found["along"].error)


OF_STATES = [samplers.heat_bath, samplers.metropolis, samplers.wolff_embedding, samplers.swendsen_wang_embedding]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        *itertools.product([models.Potts, models.Clock], OF_STATES),
        (models.Potts, samplers.swendsen_wang),
        (models.Potts, samplers.wolff),
    ],
)
def test_two_states_have_the_energy_of_the_ising_torus(kind, make):
    """Kaufman's torus at the critical point, L = 8: -1.49158910744 in units of J of Ising spins."""
    is_potts = kind is models.Potts
    model = kind(lattice.hypercubic((8, 8)), 2, exact.critical_coupling * (2 if is_potts else 1))
    chain = samplers.replicas(samplers.thin(make(model), 4), 32)
    run = samplers.run(KEY, chain, chain.init(KEY), 1500, observe=lambda s: model.observables(s).energy)
    found = stats.summary(run.trace[:, 100:])
    expected = -1 + -1.49158910744 / 2 if is_potts else -1.49158910744
    assert abs(float(found.mean) - expected) < 5 * float(found.error)
    assert float(found.error) < 0.004


@pytest.mark.parametrize(
    ("num_states", "energy", "power"),
    [
        pytest.param(3, -1.577350269, 0.8, marks=pytest.mark.slow),
        pytest.param(4, -1.5, 0.5, marks=pytest.mark.exhaustive),
    ],
)
def test_potts_energies_at_the_critical_point_are_those_of_the_literature(num_states, energy, power):
    """-(1 + 1/sqrt(q)), to which those of tori tend as L^-(2 - y_T), y_T = 6/5 and 3/2 (the latter with logarithms)."""
    sides, found = np.array([8, 16, 32]), []
    for side in sides.tolist():
        model = models.Potts(lattice.hypercubic((side, side)), num_states, math.log(1 + math.sqrt(num_states)))
        chain = samplers.replicas(samplers.swendsen_wang(model), 16)
        run = samplers.run(KEY, chain, chain.init(KEY), 8000, observe=lambda s, m=model: m.observables(s).energy)
        found.append(stats.summary(run.trace[:, 200:]))
    means, errors = (np.array([float(getattr(f, part)) for f in found]) for part in ("mean", "error"))
    assert np.all(np.diff(means) > 0)
    assert np.all(means < energy)
    design = np.stack([np.ones(3), sides**-power], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    limit = (covariance @ design.T @ (means / errors))[0]
    error = math.sqrt(covariance[0, 0])
    assert error < 0.008
    # Logarithms make the power of q = 4 an approximation on these sides.
    assert abs(limit - energy) < 4 * error + (0 if num_states == 3 else 0.02)


def test_potts_antiferromagnets_have_no_clusters_of_equal_states():
    ring = lattice.hypercubic((6,))
    for make in (samplers.swendsen_wang, samplers.wolff):
        with pytest.raises(ValueError, match=r"model: expected couplings >= 0, got -0.5.*wolff_embedding"):
            make(models.Potts(ring, 3, -0.5))
        with pytest.raises(ValueError, match=r"model: expected a PottsModel .* got Clock without bond_couplings"):
            make(models.Clock(ring, 3, 0.5))
    energies = jax.jit(jax.vmap(lambda k: run_of(models.Potts(ring, 3, k))))(jnp.array([0.5, -0.5]))
    assert np.all(np.isfinite(energies[0]))
    assert np.all(np.isnan(energies[1])), "expected a traced coupling below zero to be reported"


def run_of(model):
    chain = samplers.swendsen_wang(model)
    return samplers.run(KEY, chain, chain.init(KEY), 3, observe=lambda s: model.observables(s).energy).trace


def test_moves_that_a_model_does_not_have_are_refused():
    square = lattice.hypercubic((4, 4))
    for model in (models.Ising(square, 0.4), models.Potts(square, 3, 0.4)):
        with pytest.raises(ValueError, match="model: expected planar spins or unit vectors"):
            samplers.over_relaxation(model)
    heisenberg = models.Heisenberg(square, 0.4)
    for make in (lambda m: samplers.hmc(m, 0.1, 3), lambda m: samplers.ensembles.tempered_smc(KEY, m, 4)):
        with pytest.raises(ValueError, match="model: expected a field whose components are free, got Heisenberg"):
            make(heisenberg)


def test_starts_are_checked_by_the_sites_of_a_model():
    square = lattice.hypercubic((4, 4))
    potts = samplers.heat_bath(models.Potts(square, 3, 0.4))
    vectors = samplers.heat_bath(models.Heisenberg(square, 0.4))
    for chain in (potts, samplers.replicas(potts, 2)):
        with pytest.raises(ValueError, match="spins: expected states from 0 to 2, got 3"):
            chain.init(KEY, np.full((4, 4), 3))
        assert chain.init(KEY, np.full((4, 4), 2)).spins.dtype == jnp.int8
    with pytest.raises(ValueError, match="spins: expected states from 0 to 2, got -1"):
        samplers.replicas(potts, 2).init(KEY, np.stack([np.zeros((4, 4), int), np.full((4, 4), -1)]))
    for chain in (vectors, samplers.replicas(vectors, 2)):
        with pytest.raises(ValueError, match="field: expected unit vectors, got one of length 2"):
            chain.init(KEY, np.broadcast_to([0.0, 0.0, 2.0], (4, 4, 3)))
        assert chain.init(KEY, np.broadcast_to([0.0, 0.6, 0.8], (4, 4, 3))).field.shape[-1] == 3


@pytest.mark.slow
def test_over_relaxation_keeps_the_energy_and_moves_everything():
    for model in (models.XY(SQUARE, 1.1, [0.2, 0.1]), models.Heisenberg(lattice.triangular((3, 3)), 1.1)):
        chain = samplers.over_relaxation(model)
        start = chain.init(KEY)
        run = samplers.run(KEY, chain, start, 500, observe=model.hamiltonian)
        np.testing.assert_allclose(run.trace, model.hamiltonian(start.field), atol=2e-3)
        assert np.abs(run.state.field - start.field).max() > 0.5
