"""Every kind of units: sums, means and draws against enumeration or quadrature, and machines made of them."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, samplers, training
from jaxrg.rbm.units.grey_levels import _log_sinhc

KINDS = {
    "spins": rbm.units.Spins(),
    "binary": rbm.units.Binary(),
    "potts": rbm.units.Potts(3),
    "grey levels": rbm.units.GreyLevels(4),
    "gaussian": rbm.units.Gaussian(0.25),
}
DISCRETE = [name for name, units in KINDS.items() if units.num_states]
VALUES = {"spins": [-1, 1], "binary": [0, 1], "potts": [0, 1, 2], "grey levels": [0, 1, 2, 3]}
FEATURES = {
    "spins": [[-1], [1]],
    "binary": [[0], [1]],
    "potts": np.eye(3),
    "grey levels": [[-1], [-1 / 3], [1 / 3], [1]],
}
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(60)  # ∫ g(v) exp(-v²/2) dv


def field_of(units, num_units: int, scale: float = 1.5) -> np.ndarray:
    return scale * np.random.default_rng(3).normal(size=num_units * units.num_features)


def law(name: str, field: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of a unit, the features and the weight exp(f·φ - u) of each, from the definition."""
    if name == "gaussian":
        deviation = math.exp(-0.125)
        values = NODES * deviation
        return values, values[:, None], NODE_WEIGHTS * deviation * np.exp(field[0] * values)
    features = np.array(FEATURES[name], float)
    return np.array(VALUES[name]), features, np.exp(features @ field)


def random_machine(visible_units, hidden_units, num_visible=3, num_hidden=2, scale=0.6, seed=0) -> rbm.RBM:
    generator = np.random.default_rng(seed)
    shape = num_visible * visible_units.num_features, num_hidden * hidden_units.num_features
    arrays = (jnp.asarray(scale * generator.normal(size=size)) for size in (shape, shape[:1], shape[1:]))
    return rbm.RBM(*arrays, visible_units, hidden_units)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", KINDS)
def test_sums_and_means_of_a_unit(name):
    units, num_units = KINDS[name], 5
    field = field_of(units, num_units)
    found = units.log_partition(jnp.asarray(field)), units.mean(jnp.asarray(field)).reshape(num_units, -1)
    for unit, own in enumerate(field.reshape(num_units, -1)):
        _, features, weights = law(name, own)
        np.testing.assert_allclose(found[0][unit], np.log(weights.sum()), rtol=1e-13)
        np.testing.assert_allclose(found[1][unit], weights @ features / weights.sum(), atol=1e-13)
    slope = jax.grad(lambda f: units.log_partition(f).sum())(jnp.asarray(field))
    np.testing.assert_allclose(slope, units.mean(jnp.asarray(field)), atol=1e-14)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("scale", [0.0, 1.5])
def test_draws_of_a_unit_have_its_law(name, scale, excess_chi_squared):
    units, num_draws = KINDS[name], 40_000
    field = jnp.asarray(field_of(units, 1, scale), jnp.float32)
    drawn = np.asarray(units.sample(jax.random.key(1), jnp.tile(field, num_draws)))
    values, _, weights = law(name, np.asarray(field, float))
    if name == "gaussian":
        mean, variance = float(units.mean(field)[0]), math.exp(-0.25)
        assert abs(drawn.mean() - mean) < 5 * math.sqrt(variance / num_draws)
        assert abs(drawn.var() / variance - 1) < 5 * math.sqrt(2 / num_draws)
        return
    counts = (drawn[:, None] == values[None, :]).sum(0)
    assert counts.sum() == num_draws
    assert excess_chi_squared(counts, num_draws * weights / weights.sum()) < 5


def test_grey_levels_by_the_hundred_in_float32():
    units = rbm.units.GreyLevels(256)
    field = jnp.concatenate([jnp.linspace(-300, 300, 301), jnp.geomspace(1e-7, 3, 50)])
    levels = np.linspace(-1, 1, 256)
    exponents = np.asarray(field, float)[:, None] * levels
    largest = exponents.max(1, keepdims=True)
    weights = np.exp(exponents - largest)
    expected = np.log(weights.sum(1)) + largest[:, 0]
    np.testing.assert_allclose(units.log_partition(field), expected, rtol=3e-7, atol=2e-6)
    np.testing.assert_allclose(units.mean(field), weights @ levels / weights.sum(1), atol=1e-6)
    assert abs(float(jax.grad(jax.grad(_log_sinhc))(jnp.float32(0))) - 1 / 3) < 1e-6
    extreme = units.sample(jax.random.key(0), jnp.array([-1e6, 1e6, jnp.nan]))
    assert extreme.tolist() == [0, 255, -1]


def test_two_grey_levels_are_spins():
    grey, spins = rbm.units.GreyLevels(2), rbm.units.Spins()
    field = jnp.linspace(-3, 3, 7)
    np.testing.assert_allclose(grey.log_partition(field), spins.log_partition(field), rtol=1e-6)
    np.testing.assert_allclose(grey.mean(field), spins.mean(field), rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("hidden", ["spins", "binary", "potts", "gaussian"])
@pytest.mark.parametrize("visible", DISCRETE)
def test_a_machine_of_any_units_is_enumerated(visible, hidden):
    machine = random_machine(KINDS[visible], KINDS[hidden])
    states = list(itertools.product(VALUES[visible], repeat=machine.num_visible))
    hamiltonians = []
    for state in states:
        features = np.concatenate([np.asarray(FEATURES[visible], float)[VALUES[visible].index(v)] for v in state])
        fields = np.asarray(machine.hidden_bias) + features @ np.asarray(machine.weights)
        sums = [np.log(law(hidden, own)[2].sum()) for own in fields.reshape(machine.num_hidden, -1)]
        hamiltonians.append(-features @ np.asarray(machine.visible_bias) - sum(sums))
    hamiltonians = np.array(hamiltonians)
    log_partition = np.log(np.exp(-hamiltonians).sum())
    found = jax.vmap(rbm.visible_hamiltonian, (None, 0))(machine, jnp.array(states))
    np.testing.assert_allclose(found, hamiltonians, rtol=1e-12)
    np.testing.assert_allclose(rbm.log_partition(machine), log_partition, rtol=1e-12)
    np.testing.assert_allclose(rbm.log_partition(rbm.transpose(machine)), log_partition, rtol=1e-12)
    # States count from the first unit up, so that the last digit of an index belongs to the first unit.
    table = np.exp(-hamiltonians - log_partition).reshape((len(VALUES[visible]),) * machine.num_visible)
    np.testing.assert_allclose(rbm.visible_distribution(machine), table.T.ravel(), rtol=1e-11)
    state = jnp.array(states[1])
    np.testing.assert_allclose(rbm.log_probability(machine, state), -hamiltonians[1] - log_partition, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_gaussian_layers_on_spins_and_on_each_other():
    units = rbm.units.Gaussian(jnp.array([0.2, -0.3, 0.1]))
    machine = random_machine(units, rbm.units.Spins(), num_hidden=3)
    precision = np.exp(np.asarray(units.log_precision))
    total = 0.0
    for hidden in itertools.product([-1, 1], repeat=3):
        field = np.asarray(machine.visible_bias) + np.asarray(machine.weights) @ hidden
        peaks = np.prod(np.sqrt(2 * np.pi / precision) * np.exp(field**2 / (2 * precision)))
        total += np.exp(np.asarray(machine.hidden_bias) @ hidden) * peaks
    np.testing.assert_allclose(rbm.log_partition(machine), np.log(total), rtol=1e-13)

    both = random_machine(units, rbm.units.Gaussian(0.5), num_hidden=2, scale=0.3)
    matrix = np.diag([*precision, math.exp(0.5), math.exp(0.5)])
    matrix[:3, 3:], matrix[3:, :3] = -np.asarray(both.weights), -np.asarray(both.weights).T
    field = np.concatenate([both.visible_bias, both.hidden_bias])
    expected = (field @ np.linalg.solve(matrix, field) + 5 * np.log(2 * np.pi) - np.linalg.slogdet(matrix)[1]) / 2
    np.testing.assert_allclose(rbm.log_partition(both), expected, rtol=1e-13)
    wide = both._replace(weights=both.weights * 20)
    with pytest.raises(ValueError, match=r"weights: expected a largest singular value below 1 .*, got"):
        rbm.log_partition(wide)
    assert np.isnan(jax.jit(rbm.log_partition)(wide))
    with pytest.raises(ValueError, match="largest singular value"):
        rbm.gibbs_sampler(wide)


@pytest.mark.usefixtures("x64")
def test_hidden_gaussian_units_make_the_hopfield_model():
    patterns = jnp.array([[1, -1], [1, 1], [-1, 1], [1, 1.0]])
    hopfield = rbm.RBM(0.4 * patterns, jnp.zeros(4), jnp.zeros(2), hidden_units=rbm.units.Gaussian())
    couplings = 0.16 * patterns @ patterns.T
    states = jnp.array(list(itertools.product([-1, 1], repeat=4)))
    energies = -jnp.einsum("si,ij,sj->s", *(part.astype(float) for part in (states, couplings, states))) / 2
    shifted = jax.vmap(rbm.visible_hamiltonian, (None, 0))(hopfield, states) + math.log(2 * math.pi)
    np.testing.assert_allclose(shifted, energies, atol=1e-12)


@pytest.mark.parametrize("visible", ["binary", "potts", "grey levels", "gaussian"])
def test_gibbs_sampling_has_the_law_of_the_machine(visible, excess_chi_squared):
    units = KINDS[visible]
    machine = random_machine(units, rbm.units.Spins(), num_visible=2)
    machine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machine)
    sampler = samplers.thin(samplers.replicas(rbm.gibbs_sampler(machine), 64), 12)
    start = sampler.init(jax.random.key(0))
    drawn = samplers.run(jax.random.key(1), sampler, start, 200, observe=lambda units: units).trace[:, 20:]
    drawn = np.asarray(drawn).reshape(-1, 2)
    if visible == "gaussian":
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), machine)
            of_bias = jax.grad(lambda bias: rbm.log_partition(wide._replace(visible_bias=bias)))
            means = np.asarray(of_bias(wide.visible_bias))
        errors = drawn.std(0) / math.sqrt(len(drawn) / 2)
        assert np.all(np.abs(drawn.mean(0) - means) < 5 * errors)
        return
    first = VALUES[visible][0]
    index = (drawn - first) @ np.array([1, units.num_states])
    counts = np.bincount(index, minlength=units.num_states**2)
    expected = len(drawn) * np.asarray(rbm.visible_distribution(machine), float)
    assert excess_chi_squared(counts, expected) < 5


@pytest.mark.parametrize(
    ("visible", "hidden"),
    [("binary", "spins"), ("potts", "binary"), ("grey levels", "gaussian"), ("gaussian", "spins"), ("gaussian",) * 2],
)
def test_contrastive_divergence_of_many_steps_is_the_likelihood_gradient(visible, hidden):
    machine = random_machine(KINDS[visible], KINDS[hidden], scale=0.2 if visible == hidden else 0.4)
    machine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machine)
    data = KINDS[visible].sample(jax.random.key(5), jnp.zeros((4, len(machine.visible_bias))))
    exact = jax.grad(rbm.negative_log_likelihood)(machine, data)
    gradient_fn = rbm.contrastive_divergence_gradient(num_steps=20)

    @jax.jit
    @jax.vmap
    def estimates(key):
        return gradient_fn(key, machine, None, data)[0]

    found = estimates(jax.random.split(jax.random.key(2), 3000))
    for estimate, value in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        error = np.asarray(estimate).std(0) / math.sqrt(3000)
        assert np.all(np.abs(np.asarray(estimate).mean(0) - value) < 5 * error + 1e-6)


WRONG = {
    "spins": ([0, 1, 1], r"rbm\.units\.Binary\(\)"),
    "binary": ([-1, 1, 1], "expected units 0 or 1, got -1"),
    "potts": ([0, 1, 3], "expected integers from 0 to 2, got 3"),
    "grey levels": ([0.5, 1, 1], "expected integers 0 to 3, got"),
    "gaussian": ([0, np.inf, 1], "expected finite real units"),
}


@pytest.mark.parametrize("name", KINDS)
def test_units_of_another_kind_are_refused_or_make_nan(name):
    machine = random_machine(KINDS[name], rbm.units.Spins())
    machine = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machine)
    value, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        rbm.visible_hamiltonian(machine, value)
    assert np.isnan(jax.jit(rbm.visible_hamiltonian)(machine, jnp.array(value, jnp.float32)))


def test_machines_and_stacks_of_units_that_do_not_fit_are_refused():
    machine = rbm.init(jax.random.key(0), 4, 2, visible_units=rbm.units.Potts(3))
    assert machine.weights.shape == (12, 2)
    assert (machine.num_visible, machine.num_hidden) == (4, 2)
    with pytest.raises(ValueError, match="expected 5 rows or columns for each of the visible_units, got 12"):
        rbm.log_partition(machine._replace(visible_units=rbm.units.Potts(5)))
    with pytest.raises(ValueError, match="expected units such as"):
        rbm.log_partition(machine._replace(hidden_units=rbm.units.Spins))
    with pytest.raises(ValueError, match=r"log_precision: expected one number or shape \(12,\)"):
        rbm.log_partition(machine._replace(visible_units=rbm.units.Gaussian(jnp.zeros(3))))
    with pytest.raises(ValueError, match="num_states"):
        rbm.units.Potts(1)
    with pytest.raises(ValueError, match="log_precision"):
        rbm.units.Gaussian(float("nan"))
    above = rbm.init(jax.random.key(0), 2, 2, visible_units=rbm.units.Binary())
    with pytest.raises(ValueError, match="expected visible units at level 2 as the hidden ones of level 1"):
        rbm.receptive_fields([machine, above])
    with pytest.raises(ValueError, match=r"expected visible_units of rbm.units.Binary\(\)"):
        rbm.from_binary(machine)


def test_a_stack_learns_from_any_units():
    data = jax.random.randint(jax.random.key(0), (40, 5), 0, 3)
    stack, _ = rbm.train_stack(
        jax.random.key(1), data, (4, 3), num_epochs=1, batch_size=10, visible_units=rbm.units.Potts(3)
    )
    assert [machine.visible_units for machine in stack] == [rbm.units.Potts(3), rbm.units.Spins()]
    means = rbm.reconstruct(jax.random.key(2), stack, data[0])
    np.testing.assert_allclose(means.reshape(5, 3).sum(1), 1, rtol=1e-6)


def test_a_gradient_of_real_units_may_be_nan():
    machine = random_machine(rbm.units.Gaussian(0.5), rbm.units.Spins())
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, machine)
    assert np.isnan(broken.visible_units.log_precision)
    for function in (rbm.gibbs_sampler, lambda machine: rbm.tempering.tempered_gibbs_sampler([machine, machine])):
        with pytest.raises(ValueError, match="log_precision: expected finite values"):
            function(machine._replace(visible_units=broken.visible_units))
    axes = jax.tree.map(lambda _: 0, machine)
    pair = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), machine)
    assert jax.vmap(rbm.log_partition, (axes,))(pair).shape == (2,)
    with pytest.raises(training.NonFiniteError):
        training.fit(
            jax.random.key(0),
            rbm.contrastive_divergence_gradient(),
            optax.sgd(1e30),
            rbm.init(jax.random.key(1), 4, 3, visible_units=rbm.units.Gaussian(), scale=0.3),
            jax.random.normal(jax.random.key(2), (64, 4)),
            num_epochs=3,
            batch_size=16,
        )
