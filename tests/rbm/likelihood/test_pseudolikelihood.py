"""The pseudolikelihood against conditionals of the enumerated distribution, its gradient, and as a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import lattice, models, rbm, training
from jaxrg.rbm.units import Binary, Gaussian, GreyLevels, Potts, Spins
from jaxrg.tables import all_spins


def conditionals(probabilities: np.ndarray, num_visible: int) -> np.ndarray:
    """``[states, sites]`` ln p(v_i | rest) of every state."""
    states = np.arange(2**num_visible)
    flipped = states[:, None] ^ (1 << np.arange(num_visible))
    return np.log(probabilities[:, None] / (probabilities[:, None] + probabilities[flipped]))


@pytest.mark.usefixtures("x64")
def test_it_is_the_sum_of_conditionals(random_machine):
    machine, states = random_machine(0), all_spins(5)
    rows = conditionals(np.asarray(rbm.visible_distribution(machine)), 5)
    for index in (0, 7, 21):
        np.testing.assert_allclose(
            rbm.likelihood.pseudo_log_likelihood(machine, states[index][None]), rows[index].sum(), rtol=1e-10
        )
    np.testing.assert_allclose(rbm.likelihood.pseudo_log_likelihood(machine, states), rows.sum(1).mean(), rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_gradient_is_that_of_finite_differences_and_keeps_memory_small(random_machine):
    machine, data = random_machine(1), all_spins(5)[:9]
    gradient = jax.grad(rbm.likelihood.pseudo_log_likelihood)(machine, data)
    direction = random_machine(2)
    step = 1e-5

    def along(sign: float) -> float:
        moved = jax.tree.map(lambda x, d: x + sign * step * d, machine, direction)
        return float(rbm.likelihood.pseudo_log_likelihood(moved, data))

    slope = sum(float(jnp.sum(g * d)) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    np.testing.assert_allclose((along(1) - along(-1)) / (2 * step), slope, rtol=1e-7)
    large = rbm.init(jax.random.key(0), 256, 64, dtype=jnp.float32)
    batch = jnp.ones((100, 256), jnp.int8)
    compiled = jax.jit(jax.grad(rbm.likelihood.pseudo_log_likelihood)).lower(large, batch).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 0.1 * 4 * 100 * 256 * 64  # not one field for every site


def test_large_fields_do_not_overflow():
    machine = rbm.RBM(jnp.full((3, 2), 60.0), jnp.zeros(3), jnp.zeros(2))
    np.testing.assert_allclose(rbm.likelihood.pseudo_log_likelihood(machine, jnp.ones((1, 3))), 0, atol=1e-6)
    against = rbm.likelihood.pseudo_log_likelihood(machine, jnp.array([[1, 1, -1]]))
    # A flip of the last unit takes both hidden fields from 60 to 180; one of another turns their sign.
    np.testing.assert_allclose(against, -240 - 2 * np.log(2), rtol=1e-5)


@pytest.mark.slow
def test_as_a_loss_it_learns_the_distribution():
    """All states of an Ising ring with their weights as data: the machine ends near in KL."""
    ring = models.Ising(lattice.hypercubic((6,)), jnp.float32(0.5))
    states = all_spins(6)
    target = jax.nn.softmax(-jax.vmap(ring.hamiltonian)(states))
    draws = jax.random.choice(jax.random.key(0), 64, (2000,), p=target)
    data = states[draws]
    machine = rbm.init(jax.random.key(1), 6, 6, scale=0.1)

    def loss_fn(key, machine, batch):
        return -rbm.likelihood.pseudo_log_likelihood(machine, batch)

    run = training.fit(
        jax.random.key(2), training.gradient_of(loss_fn), optax.adam(0.02), machine, data, num_epochs=30, batch_size=100
    )
    entropy = -jnp.sum(target * jnp.log(target))
    kl = [float(rbm.negative_log_likelihood(m, states, target) - entropy) for m in (machine, run.params)]
    assert kl[0] > 0.4
    assert kl[1] < 0.03


def test_bad_data_are_refused(random_machine):
    machine = random_machine(0)
    with pytest.raises(ValueError, match=r"data: expected shape \(num_samples, 5\), got \(5,\)"):
        rbm.likelihood.pseudo_log_likelihood(machine, jnp.ones(5))
    with pytest.raises(ValueError, match=r"data: expected spins \+1 or -1, got 0"):
        rbm.likelihood.pseudo_log_likelihood(machine, jnp.zeros((2, 5)))
    assert jnp.isnan(jax.jit(rbm.likelihood.pseudo_log_likelihood)(machine, jnp.zeros((2, 5))))


@pytest.mark.parametrize(
    ("visible", "hidden"), [(Binary(), Spins()), (Potts(3), Spins()), (GreyLevels(4), Gaussian(0.25))]
)
def test_units_of_any_states_by_enumeration(visible, hidden):
    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        shape = 3 * visible.num_features, 2 * hidden.num_features
        arrays = (jnp.asarray(0.7 * generator.normal(size=size)) for size in (shape, shape[:1], shape[1:]))
        machine = rbm.RBM(*arrays, visible, hidden)
        num_states = visible.num_states
        states = np.array(list(np.ndindex(*(num_states,) * 3)))
        energies = np.asarray(jax.vmap(rbm.visible_hamiltonian, (None, 0))(machine, jnp.asarray(states)))
        table = energies.reshape((num_states,) * 3)
        data = states[[3, 5, 6]]
        expected = 0.0
        for state in data:
            for unit in range(3):
                line = [tuple(np.where(np.arange(3) == unit, s, state)) for s in range(num_states)]
                weights = np.exp(-np.array([table[place] for place in line]))
                expected += np.log(weights[state[unit]] / weights.sum()) / len(data)
        np.testing.assert_allclose(
            rbm.likelihood.pseudo_log_likelihood(machine, jnp.asarray(data)), expected, rtol=1e-12
        )
    with pytest.raises(ValueError, match="expected visible units of few states"):
        rbm.likelihood.pseudo_log_likelihood(
            rbm.init(jax.random.key(0), 3, 2, visible_units=Gaussian()), jnp.zeros((2, 3))
        )
