"""Potts, clock, XY and Heisenberg models against sums over their bonds, and the Ising spins inside them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models
from jaxrg.samplers.embedding import embedded_spins
from tests.rows import some_now

TORUS = lattice.hypercubic((3, 4))
OPEN = lattice.hypercubic((3, 2), periodic=(True, False))
TRIANGULAR = lattice.triangular((3, 4), periodic=(True, False))
RNG = np.random.default_rng(0)


def site_field(grid, num_components):
    return RNG.normal(size=(*grid.shape, num_components)).astype(np.float32)


MODELS = {
    "potts": models.Potts(TORUS, 3, 0.7),
    "potts_open_field": models.Potts(OPEN, 4, 0.7, [0.1, -0.2, 0.3, 0.0]),
    "potts_triangular_fields": models.Potts(TRIANGULAR, 3, -0.4, site_field(TRIANGULAR, 3)),
    "clock": models.Clock(TORUS, 5, 0.8),
    "clock_open_fields": models.Clock(OPEN, 6, 0.8, site_field(OPEN, 2)),
    "clock_triangular_field": models.Clock(TRIANGULAR, 3, 0.8, [0.3, 0.4]),
    "xy_field": models.XY(TORUS, 0.6, [0.3, -0.2]),
    "xy_triangular_fields": models.XY(TRIANGULAR, 0.6, site_field(TRIANGULAR, 2)),
    "heisenberg": models.Heisenberg(TORUS, 0.9),
    "heisenberg_open_field": models.Heisenberg(OPEN, 0.9, [0.3, 0.1, -0.5]),
    "heisenberg_triangular_fields": models.Heisenberg(TRIANGULAR, 0.9, site_field(TRIANGULAR, 3)),
}


def drawn(model):
    """A configuration, in double precision."""
    if model.sites.is_integer:
        return RNG.integers(0, model.num_states, model.shape).astype(np.int8)
    if isinstance(model, models.XY):
        return RNG.uniform(-9, 9, model.shape).astype(np.float32)
    vectors = RNG.normal(size=model.shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def features(model, values):
    """u(s) of values ``[*sites]`` or ``[*sites, 3]``, ``[*sites, n]``: of Potts states an indicator of each."""
    if isinstance(model, models.Potts):
        return np.eye(model.num_states)[np.asarray(values, int)]
    if isinstance(model, models.Heisenberg):
        return np.asarray(values, float)
    angles = np.asarray(values, float) * (2 * np.pi / model.num_states if isinstance(model, models.Clock) else 1)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def by_hand(model, configuration):
    """Pair and field part of the Hamiltonian, bond by bond."""
    u = features(model, configuration)
    flat = u.reshape(model.lattice.num_sites, -1)
    pairs = sum(flat[i] @ flat[j] for i, j in model.lattice.edges())
    field = 0.0 if model.field is None else (np.asarray(model.field, float) * u).sum()
    return pairs, field


ROWS = some_now(
    MODELS, "potts_open_field", "potts_triangular_fields", "clock_open_fields", "xy_triangular_fields", "heisenberg"
)


@jax.jit
def everything(model, configuration):
    return model.hamiltonian(configuration), model.local_field(configuration), model.observables(configuration)


@pytest.mark.parametrize("name", ROWS)
def test_hamiltonians_equal_the_sum_over_their_bonds(name):
    model = MODELS[name]
    configuration = drawn(model)
    energy, _, observed = everything(model, configuration)
    pairs, field = by_hand(model, configuration)
    np.testing.assert_allclose(energy, -float(model.coupling) * pairs - field, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(observed.energy, -pairs / model.lattice.num_sites, rtol=1e-5, atol=1e-6)
    mean = features(model, configuration).reshape(model.lattice.num_sites, -1).mean(axis=0)
    if isinstance(model, models.Potts):
        np.testing.assert_allclose(observed.fractions, mean, rtol=1e-6)
        q = model.num_states
        np.testing.assert_allclose(observed.order_parameter, (q * mean.max() - 1) / (q - 1), atol=1e-6)
    else:
        np.testing.assert_allclose(observed.magnetization, mean, atol=1e-6)


@pytest.mark.parametrize("name", ROWS)
def test_local_fields_are_the_energies_of_a_site(name):
    """f . (u(s') - u(s)) is what the Hamiltonian falls by, for other values at every site in turn."""
    model = MODELS[name]
    configuration, others = drawn(model), drawn(model)
    sites = model.lattice.num_sites
    per_value = len(model.sites.value_shape)
    changed = np.repeat(configuration[None], sites, axis=0)
    for number, site in enumerate(np.ndindex(*model.lattice.shape)):
        changed[number][site] = others[site]
    field = model.local_field(configuration)
    first = [np.moveaxis(values, -1, 0) if per_value else values for values in (configuration, others)]
    ratios = model.sites.log_ratio(jnp.asarray(first[0]), jnp.asarray(first[1]), field)
    after = jax.jit(jax.vmap(model.hamiltonian))(jnp.asarray(changed))
    change = float(model.hamiltonian(configuration)) - np.asarray(after, float)
    np.testing.assert_allclose(np.ravel(ratios), change, atol=2e-5)


@pytest.mark.parametrize("name", ROWS)
def test_any_sites_that_are_reflected_have_the_energy_of_their_ising_spins(name):
    model = MODELS[name]
    configuration = drawn(model)
    embed = jax.jit(lambda m, turn, c: embedded_spins(m, turn, c))
    moved = 0
    for turn in (0.0, 0.2, 0.5, 0.77, 0.999999):
        glass, reflected = embed(model, jnp.float32(turn), configuration)
        energy, ising = [], []
        for _ in range(3):
            spins = RNG.choice([-1, 1], model.lattice.shape).astype(np.int8)
            is_reflected = (spins < 0).reshape(spins.shape + (1,) * (configuration.ndim - spins.ndim))
            image = np.where(is_reflected, reflected, configuration).astype(configuration.dtype)
            moved += np.sum(image != configuration)
            energy.append(-float(model.coupling) * by_hand(model, image)[0] - by_hand(model, image)[1])
            ising.append(float(glass.hamiltonian(spins)))
        np.testing.assert_allclose(np.diff(energy), np.diff(ising), atol=2e-5)
        back = embed(model, jnp.float32(turn), reflected)[1]
        difference = np.asarray(back, float) - configuration
        assert np.abs(np.sin(difference / 2) if isinstance(model, models.XY) else difference).max() < 1e-5
    assert moved > 20


def test_two_states_are_ising_spins():
    """And three directions are three states, four are two Ising models."""
    spins = RNG.choice([-1, 1], TORUS.shape).astype(np.int8)
    states = ((1 - spins) // 2).astype(np.int8)
    ising = models.Ising(TORUS, 0.35)
    for model in (models.Potts(TORUS, 2, 0.7), models.Clock(TORUS, 2, 0.35)):
        shift = float(ising.hamiltonian(np.ones_like(spins))) - float(model.hamiltonian(np.zeros_like(states)))
        energy = float(model.hamiltonian(states))
        np.testing.assert_allclose(energy + shift, ising.hamiltonian(spins), rtol=1e-5)
    three = RNG.integers(0, 3, TORUS.shape).astype(np.int8)
    clock, potts = models.Clock(TORUS, 3, 0.6), models.Potts(TORUS, 3, 0.9)
    differences = [float(m.hamiltonian(three)) - float(m.hamiltonian(np.zeros_like(three))) for m in (clock, potts)]
    np.testing.assert_allclose(*differences, rtol=1e-5)
    four = (states + 2 * RNG.integers(0, 2, TORUS.shape)).astype(np.int8)  # (1, i, -1, -i) = two signs, turned by pi/4
    angles = np.pi / 2 * four + np.pi / 4
    pair = [np.sign(np.cos(angles)).astype(np.int8), np.sign(np.sin(angles)).astype(np.int8)]
    expected = sum(float(models.Ising(TORUS, 0.3).hamiltonian(s)) for s in pair)
    np.testing.assert_allclose(models.Clock(TORUS, 4, 0.6).hamiltonian(four), expected, rtol=1e-5)


REFUSED = [
    (lambda: models.Potts((4, 4), 3, 0.5), "lattice: expected a Lattice"),
    (lambda: models.Potts(TORUS, 1, 0.5), "num_states: expected an integer >= 2"),
    (lambda: models.Potts(TORUS, 200, 0.5), "num_states: expected at most 127"),
    (lambda: models.Potts(TORUS, 3, [0.5, 0.4]), "coupling: expected a scalar"),
    (lambda: models.Potts(TORUS, 3, 0.5, [0.1, 0.2]), r"field: expected shape \(3,\) or shape \(3, 4, 3\), got \(2,\)"),
    (lambda: models.Clock(TORUS, 3, math.nan), "coupling: expected finite values"),
    (lambda: models.Clock((3, 4), 3, 0.5), "lattice: expected a Lattice"),
    (lambda: models.XY(TORUS, 0.5, 0.1), r"field: expected shape \(2,\) or shape \(3, 4, 2\), got \(\)"),
    (lambda: models.Heisenberg(TORUS, 0.5, [0.1, 0.2]), r"field: expected shape \(3,\) or shape \(3, 4, 3\)"),
    (lambda: models.Heisenberg(TORUS, 0.5).action(np.ones((3, 4, 3))), "field: expected unit vectors"),
    (lambda: models.Potts(TORUS, 3, 0.5).hamiltonian(np.full((3, 4), 3)), "spins: expected states from 0 to 2, got 3"),
    (lambda: models.Potts(TORUS, 3, 0.5).observables(np.zeros((4, 3), int)), r"spins: expected shape \(3, 4\)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_no_model_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_couplings_and_fields_are_leaves():
    couplings, fields = jnp.array([0.1, 0.2, 0.3]), jnp.asarray(RNG.normal(size=(3, 3)), jnp.float32)
    states = drawn(MODELS["potts"])
    mapped = jax.vmap(lambda k, h: models.Potts(TORUS, 3, k, h).hamiltonian(states))(couplings, fields)
    alone = [models.Potts(TORUS, 3, k, h).hamiltonian(states) for k, h in zip(couplings, fields, strict=True)]
    np.testing.assert_allclose(mapped, alone, rtol=1e-6)
    slope = jax.grad(lambda k: models.Heisenberg(TORUS, k).action(drawn(MODELS["heisenberg"])))(0.5)
    assert np.isfinite(slope)
