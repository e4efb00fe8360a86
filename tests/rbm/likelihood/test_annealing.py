"""Annealed importance sampling: invariant moves, unbiased weights both ways, stages, digits, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm
from jaxrg.rbm import likelihood, tempering
from jaxrg.rbm.likelihood.ways import anneal, as_way
from jaxrg.rbm.tempering.ladders import between
from jaxrg.tables import all_spins

OPTIONS = {"num_particles": 2000}


def single(machine: rbm.RBM) -> rbm.RBM:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), machine)


def exact_samples(key, machine: rbm.RBM, count: int):
    states = all_spins(machine.weights.shape[0])
    return states[jax.random.choice(key, len(states), (count,), p=rbm.visible_distribution(machine))]


def test_moves_leave_the_tempered_distribution_invariant(random_machine, excess_chi_squared):
    """Exact samples at one temperature, two stages that go nowhere: the same distribution, and no weight."""
    machine = single(random_machine(0, 4, 3, 1.2))
    way = as_way(machine, None, 1)
    for beta, seed in ((0.0, 1), (0.45, 2), (1.0, 3)):
        at = between(way.reference, machine, jnp.float32(beta))
        samples = exact_samples(jax.random.key(seed), at, 20_000)
        weights, after = jax.jit(anneal)(
            way, jax.random.key(10 + seed), jnp.full(5, beta), jnp.int32(2), samples.astype(jnp.int8)
        )
        np.testing.assert_array_equal(weights.rest, 0)
        counts = np.bincount((np.asarray(after) > 0) @ np.array([1, 2, 4, 8]), minlength=16)
        assert excess_chi_squared(counts, 20_000 * np.asarray(rbm.visible_distribution(at))) < 5
        assert 0.05 < float(jnp.mean(after != samples)) < 0.95


@pytest.mark.parametrize("stages", [[1.0], [0.3, 1.0], [0.2, 0.5, 0.8, 1.0]])
def test_weights_are_unbiased_both_ways_for_any_stages(stages, random_machine):
    """<w> = Z from the reference and <1/w> = 1/Z from exact samples, and ln Z between the mean ln w."""
    machine = single(random_machine(1, 6, 4, 0.6))
    exact = float(rbm.log_partition(machine))
    stages = np.pad(np.float32(stages), (0, 4 - len(stages)), constant_values=1)  # one program for all
    forward = likelihood.annealed_importance(
        jax.random.key(2), machine, inverse_temperatures=stages, num_particles=20_000
    )
    samples = exact_samples(jax.random.key(3), machine, 20_000)
    reverse = likelihood.reverse_annealed_importance(jax.random.key(4), machine, samples, stages)
    for found, sign in ((forward, 1), (reverse, -1)):
        assert abs(float(found.log_partition.value) - exact) < 4.5 * float(found.log_partition.error)
        assert sign * (float(found.bound.value) - exact) < 3 * float(found.bound.error)
        mean = np.mean(np.exp(sign * (np.asarray(found.log_weights, float) - exact)))
        np.testing.assert_allclose(sign * np.log(mean) + exact, found.log_partition.value, atol=2e-4)
    assert int(forward.num_stages) == int(np.sum(stages < 1)) + 1


@pytest.mark.slow
def test_finer_stages_close_the_gap(random_machine):
    machine = single(random_machine(2, 12, 8, 0.6))
    exact = float(rbm.log_partition(machine))
    gaps, numbers = [], []
    for fraction in (0.8, 0.95, 0.99):
        found = likelihood.annealed_importance(jax.random.key(0), machine, effective_fraction=fraction, **OPTIONS)
        gaps.append(exact - float(found.bound.value))
        numbers.append(int(found.num_stages))
        betas = np.asarray(found.inverse_temperatures)
        assert betas[numbers[-1] - 1] == 1
        assert np.all(np.diff(betas[: numbers[-1]]) > 0)
        assert np.all(betas[numbers[-1] :] == 1)
        assert found.visible.shape == (1, 2000, 12)
    assert gaps[0] > 1.5 * gaps[1] > 2 * gaps[2] > 0
    assert numbers[0] < numbers[1] < numbers[2] < 100


@pytest.mark.slow
def test_a_reference_near_the_data_needs_fewer_stages():
    """Strong fields: biases alone are most of the machine."""
    key = jax.random.key(0)
    machine = rbm.init(key, 30, 8, scale=0.15)._replace(hidden_bias=jnp.full(8, 2.0))
    data = jax.vmap(lambda key: rbm.gibbs_step(key, machine, jnp.ones(30, jnp.int8))[0])(jax.random.split(key, 500))
    near = tempering.independent_units(machine, data)
    found = [
        likelihood.annealed_importance(jax.random.key(1), machine, reference=reference, **OPTIONS)
        for reference in (None, near)
    ]
    exact = rbm.log_partition(machine)
    for estimate in found:
        assert abs(float(estimate.log_partition.value - exact)) < 4 * float(estimate.log_partition.error)
    assert int(found[1].num_stages) < int(found[0].num_stages)


@pytest.mark.slow
def test_moves_per_stage_tighten_the_bound(random_machine):
    machine = single(random_machine(4, 12, 8, 0.9))
    stages = jnp.linspace(0.05, 1, 20)
    one, many = (
        likelihood.annealed_importance(
            jax.random.key(0), machine, inverse_temperatures=stages, num_moves=num_moves, **OPTIONS
        )
        for num_moves in (1, 10)
    )
    assert float(many.bound.value) > float(one.bound.value) + 3 * float(many.bound.error)


@pytest.mark.slow
def test_a_thousand_nats_keep_their_digits():
    """A hundred copies of a small machine are a large one with a hundred times its ln Z, about 1400."""
    copies = 100
    small = rbm.init(jax.random.key(0), 8, 4, scale=0.12)._replace(visible_bias=jnp.linspace(-1, 1.5, 8))
    with jax.enable_x64(True):
        exact = copies * float(rbm.log_partition(jax.tree.map(lambda x: jnp.asarray(np.asarray(x, float)), small)))
    large = rbm.RBM(
        jnp.kron(jnp.eye(copies), small.weights),
        jnp.tile(small.visible_bias, copies),
        jnp.tile(small.hidden_bias, copies),
    )
    found = likelihood.annealed_importance(jax.random.key(1), large, num_particles=300, effective_fraction=0.95)
    assert exact > 900
    error = float(found.log_partition.error)
    assert error < 0.2
    assert abs(float(found.log_partition.value) - exact) < 4 * error
    weights = np.asarray(found.log_weights, float)[0]
    scatter = weights.std(ddof=1) / np.sqrt(300)
    np.testing.assert_allclose(found.bound.error, scatter, rtol=0.3)


@pytest.mark.slow
def test_it_runs_inside_a_program_and_compiles_once(random_machine):
    @jax.jit
    def validate(key, machine):
        return likelihood.annealed_importance(key, machine, num_particles=100).log_partition.value

    values = [float(validate(jax.random.key(seed), single(random_machine(seed, 6, 4)))) for seed in range(3)]
    exact = [float(rbm.log_partition(random_machine(seed, 6, 4))) for seed in range(3)]
    np.testing.assert_allclose(values, exact, atol=0.5)
    assert validate._cache_size() == 1
    broken = single(random_machine(0, 6, 4))._replace(hidden_bias=jnp.full(4, jnp.nan))
    assert np.isnan(validate(jax.random.key(0), broken))
    for machine in (broken, broken._replace(weights=broken.weights * jnp.nan, hidden_bias=jnp.zeros(4))):
        with pytest.raises(FloatingPointError, match=r"annealed_importance: expected .* other end, got a NaN"):
            likelihood.annealed_importance(jax.random.key(0), machine, num_particles=100)


def test_bad_input_is_refused(random_machine):
    machine, key = single(random_machine(0, 4, 3)), jax.random.key(0)
    with pytest.raises(ValueError, match="reference: expected a machine without weights"):
        likelihood.annealed_importance(key, machine, reference=machine)
    with pytest.raises(ValueError, match="reference: expected a machine of"):
        likelihood.annealed_importance(key, machine, reference=single(random_machine(0, 5, 3)))
    with pytest.raises(ValueError, match="num_particles: expected an integer >= 16, got 2"):
        likelihood.annealed_importance(key, machine, num_particles=2)
    with pytest.raises(ValueError, match="effective_fraction: expected a number between 0 and 1"):
        likelihood.annealed_importance(key, machine, effective_fraction=1.0)
    for wrong in ([0.5, 0.4, 1.0], [0.5], [0.0, 1.0]):
        with pytest.raises(ValueError, match="inverse_temperatures: expected numbers that rise from above 0 to 1"):
            likelihood.annealed_importance(key, machine, inverse_temperatures=wrong)
    with pytest.raises(ValueError, match="samples: expected"):
        likelihood.reverse_annealed_importance(key, machine, jnp.ones((3, 4)), [1.0])
    with pytest.raises(ValueError, match="samples: expected shape"):
        likelihood.reverse_annealed_importance(key, machine, jnp.ones((30, 5)), [1.0])
