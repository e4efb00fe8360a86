"""Contrastive divergence against its chain's expectation and the exact gradient; penalties; lowering everywhere."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm
from jaxrg.tables import all_spins


def contrastive_divergence(key, machine, batch, *, num_steps: int = 1) -> rbm.RBM:
    return rbm.contrastive_divergence_gradient(num_steps=num_steps)(key, machine, None, batch)[0]


def persistent_contrastive_divergence(key, machine, batch, chains, *, num_steps: int = 1):
    return rbm.persistent_contrastive_divergence_gradient(num_steps=num_steps)(key, machine, chains, batch)[:2]


ESTIMATES = {
    "cd": contrastive_divergence,
    "pcd": lambda key, machine, batch: persistent_contrastive_divergence(key, machine, batch, batch[:, 1:])[0],
}


def expected_contrast(machine: rbm.RBM, data_distribution: np.ndarray, num_steps: int) -> rbm.RBM:
    """The CD-k gradient's expectation: k powers of the block-Gibbs matrix, over every state."""
    visible, hidden = (np.asarray(all_spins(bias.shape[0]), float) for bias in machine[1:3])
    means = np.tanh(np.asarray(machine.hidden_bias) + visible @ np.asarray(machine.weights))

    def probability(means: np.ndarray, states: np.ndarray) -> np.ndarray:
        return np.prod((1 + means[:, None] * states[None]) / 2, axis=-1)

    back = np.tanh(np.asarray(machine.visible_bias) + hidden @ np.asarray(machine.weights).T)
    transition = probability(means, hidden) @ probability(back, visible)
    difference = data_distribution @ np.linalg.matrix_power(transition, num_steps) - data_distribution
    return rbm.RBM(visible.T @ (difference[:, None] * means), difference @ visible, difference @ means)


def flat(machine: rbm.RBM) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(machine)])


@pytest.mark.usefixtures("x64")
def test_bias_of_contrastive_divergence_falls_to_nothing_as_k_grows(random_machine):
    machine = random_machine(0, 4, 3)
    data_distribution = np.random.default_rng(1).dirichlet(np.ones(16))
    loss = jax.jit(jax.grad(rbm.negative_log_likelihood))(machine, all_spins(4), jnp.asarray(data_distribution))
    steps = [1, 2, 4, 8, 16, 32, 64, 128]
    bias = [np.linalg.norm(flat(expected_contrast(machine, data_distribution, k)) - flat(loss)) for k in steps]
    assert all(later < earlier / 1.5 for earlier, later in itertools.pairwise(bias) if earlier > 1e-10)
    assert bias[0] > 0.01
    assert bias[-1] < 1e-10


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_steps", [1, 3])
def test_contrastive_divergence_has_the_expectation_of_its_chain(num_steps, random_machine):
    machine = random_machine(0, 4, 3)
    data = jnp.asarray(np.random.default_rng(2).choice([-1, 1], size=(6, 4)), jnp.int8)
    rows = (np.asarray(data) > 0) @ np.array([1, 2, 4, 8])
    expected = expected_contrast(machine, np.bincount(rows, minlength=16) / len(rows), num_steps)
    keys = jax.random.split(jax.random.key(3), 4000)
    estimate = jax.jit(jax.vmap(lambda key: contrastive_divergence(key, machine, data, num_steps=num_steps)))(keys)
    for found, value in zip(jax.tree.leaves(estimate), jax.tree.leaves(expected), strict=True):
        error = np.asarray(found.std(0)) / np.sqrt(len(keys))
        assert error.max() < 0.02
        assert np.all(np.abs(np.asarray(found.mean(0)) - value) < 5 * error)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_steps", [1, 2])
def test_persistent_chains_stay_in_equilibrium_and_give_the_exact_gradient(
    num_steps, random_machine, excess_chi_squared
):
    machine = random_machine(4, 4, 3)
    data = jnp.asarray(np.random.default_rng(5).choice([-1, 1], size=(6, 4)), jnp.int8)
    exact = jax.jit(jax.grad(rbm.negative_log_likelihood))(machine, data)
    distribution = rbm.hidden_distribution(machine)
    num_chains = 40_000
    chains = all_spins(3)[jax.random.choice(jax.random.key(6), 8, (num_chains,), p=distribution)]
    update = jax.jit(persistent_contrastive_divergence, static_argnames="num_steps")
    estimate, moved = update(jax.random.key(7), machine, data, chains, num_steps=num_steps)
    for found, value in zip(jax.tree.leaves(estimate), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(found, value, rtol=0, atol=5 / np.sqrt(num_chains))
    assert 0.05 < float(jnp.mean(moved != chains)) < 0.9
    counts = np.bincount((np.asarray(moved) > 0) @ np.array([1, 2, 4]), minlength=8)
    expected = num_chains * np.asarray(distribution)
    assert excess_chi_squared(counts, expected) < 5


@pytest.mark.parametrize("name", ESTIMATES)
def test_many_machines_at_once_and_any_dtype_of_spins(name, random_machine):
    estimate = ESTIMATES[name]
    machines = [random_machine(seed, 4, 3) for seed in range(2)]
    data = all_spins(4)[:6]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)

    @jax.jit
    def everything(key):
        alone = [estimate(key, machine, data) for machine in machines]
        together = jax.vmap(estimate, (None, 0, None))(key, stacked, data)
        return alone, together, estimate(key, machines[0], data.astype(jnp.float32))

    alone, together, from_floats = everything(jax.random.key(1))
    for index, gradient in enumerate(alone):
        assert jax.tree.structure(gradient) == jax.tree.structure(machines[0])
        np.testing.assert_allclose(
            flat(jax.tree.map(lambda leaf, i=index: leaf[i], together)), flat(gradient), atol=1e-6
        )
    np.testing.assert_allclose(flat(from_floats), flat(alone[0]), atol=1e-6)


def test_bad_input_is_refused(random_machine):
    machine, key = random_machine(0, 4, 3), jax.random.key(0)
    with pytest.raises(ValueError, match=r"batch: expected shape \(num_samples, 4\), got \(4,\)"):
        contrastive_divergence(key, machine, jnp.ones(4))
    with pytest.raises(ValueError, match=r"batch: expected shape \(2, 4\), got \(2, 3\)"):
        contrastive_divergence(key, machine, jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"batch: expected spins \+1 or -1, got 0"):
        contrastive_divergence(key, machine, jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match="num_steps: expected an integer >= 1, got 0"):
        contrastive_divergence(key, machine, jnp.ones((2, 4)), num_steps=0)
    with pytest.raises(ValueError, match="num_steps"):
        rbm.persistent_contrastive_divergence_gradient(num_steps=0)
    with pytest.raises(ValueError, match=r"chains: expected shape \(2, 3\), got \(2, 4\)"):
        persistent_contrastive_divergence(key, machine, jnp.ones((2, 4)), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match="num_chains"):
        rbm.persistent_chains(key, machine, 0)


def test_penalties_act_on_the_weights_alone():
    machine = rbm.RBM(jnp.array([[2.0, -0.5, 0.0]]), jnp.ones(1), jnp.ones(3))
    zero = jax.tree.map(jnp.zeros_like, machine)
    l1, _ = rbm.l1_penalty(0.25).update(zero, optax.EmptyState(), machine)
    assert l1.weights.tolist() == [[0.25, -0.25, 0.0]]
    # What the docstring recommends for L2.
    decay = optax.add_decayed_weights(0.25, mask=rbm.RBM(True, False, False))  # type: ignore[arg-type]
    l2, _ = decay.update(zero, decay.init(machine), machine)
    assert l2.weights.tolist() == [[0.5, -0.125, 0.0]]
    shrunk = optax.apply_updates(machine, rbm.soft_threshold(0.75).update(zero, optax.EmptyState(), machine)[0])
    assert shrunk.weights.tolist() == [[1.25, 0.0, 0.0]]
    for gradient in (l1, l2):
        assert not gradient.visible_bias.any()
        assert not gradient.hidden_bias.any()
    assert shrunk.visible_bias.tolist() == [1.0]
    # The true gradient of lambda * sum |W|.
    slope = jax.grad(lambda weights: 0.25 * jnp.sum(jnp.abs(weights)))(machine.weights)
    assert slope[0, :2].tolist() == l1.weights[0, :2].tolist()
    with pytest.raises(ValueError, match="strength: expected a finite value >= 0, got -1"):
        rbm.l1_penalty(-1)
    with pytest.raises(ValueError, match="threshold: expected a finite value >= 0, got nan"):
        rbm.soft_threshold(float("nan"))
    with pytest.raises(ValueError, match="params: expected the machine"):
        rbm.l1_penalty(0.1).update(zero, optax.EmptyState())


@pytest.mark.usefixtures("x64")
def test_soft_threshold_reaches_the_minimum_of_the_penalised_loss():
    target = jnp.array([[1.0, 0.05, -0.4]])
    machine = rbm.RBM(jnp.zeros((1, 3)), jnp.zeros(1), jnp.zeros(3))
    rate, strength = 0.1, 0.2
    optimizer = optax.chain(optax.sgd(rate), rbm.soft_threshold(rate * strength))
    state = optimizer.init(machine)
    update = jax.jit(optimizer.update)
    for _ in range(300):
        gradients = jax.tree.map(jnp.zeros_like, machine)._replace(weights=machine.weights - target)
        updates, state = update(gradients, state, machine)
        machine = optax.apply_updates(machine, updates)
    # argmin of (W - t)^2 / 2 + strength |W| is t shrunk by the strength.
    np.testing.assert_allclose(machine.weights, [[0.8, 0.0, -0.2]], rtol=0, atol=1e-12)
    assert float(machine.weights[0, 1]) == 0.0


def test_kernels_lower_for_every_platform(random_machine):
    machine, key, data = random_machine(0, 4, 3), jax.random.key(0), all_spins(4)
    stack = [machine, random_machine(1, 3, 2)]
    kernels = {
        "energies": lambda: (rbm.energy(machine, data[0], data[0, :3]), rbm.hidden_hamiltonian(machine, data[0, :3])),
        "exact": lambda: (jax.grad(rbm.log_likelihood)(machine, data), rbm.visible_distribution(machine)),
        "gibbs": lambda: rbm.gibbs_step(key, machine, data[0]),
        "cd": lambda: contrastive_divergence(key, machine, data, num_steps=2),
        "pcd": lambda: persistent_contrastive_divergence(key, machine, data, data[:, :3]),
        "stack": lambda: (rbm.reconstruct(key, stack, data[0]), rbm.lift(key, machine, data)),
        "fields": lambda: rbm.locality(rbm.receptive_fields(stack)[1], (2, 2)),
        "binary": lambda: rbm.from_binary(rbm.to_binary(machine)[0]),
    }
    exported = jax.export.export(
        jax.jit(lambda: [kernel() for kernel in kernels.values()]), platforms=["cpu", "cuda", "tpu"]
    )()
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "custom_call" not in exported.mlir_module().replace("stablehlo.custom_call @Sharding", "")
