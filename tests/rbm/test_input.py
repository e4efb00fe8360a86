"""What machines and data may be made of: any numbers in, spins ±1, and nothing taken in silence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, training
from jaxrg.tables import all_spins

WEIGHTS = np.array([[1, 0], [-1, 2], [0, 1]])
VISIBLE_BIAS, HIDDEN_BIAS = np.array([1, 0, -1]), np.array([0, 1])
FORMS = {
    "integers": lambda x: jnp.asarray(x, jnp.int32),
    "int8": lambda x: jnp.asarray(x, jnp.int8),
    "half precision": lambda x: jnp.asarray(x, jnp.float16),
    "doubles of NumPy": lambda x: x.astype(np.float64),
    "lists": lambda x: x.tolist(),
}


def of_states() -> np.ndarray:
    """-H(v) of the eight states, from the definition."""
    spins = np.array([[1 if index >> k & 1 else -1 for k in range(3)] for index in range(8)])
    return spins @ VISIBLE_BIAS + np.log(2 * np.cosh(HIDDEN_BIAS + spins @ WEIGHTS)).sum(1)


@pytest.mark.parametrize("form", FORMS)
def test_machines_of_any_numbers_are_machines_of_floats(form):
    machine = rbm.RBM(*map(FORMS[form], (WEIGHTS, VISIBLE_BIAS, HIDDEN_BIAS)))
    weights = of_states()
    log_partition = np.log(np.exp(weights).sum())
    np.testing.assert_allclose(rbm.log_partition(machine), log_partition, rtol=1e-6)
    np.testing.assert_allclose(rbm.visible_distribution(machine), np.exp(weights - log_partition), rtol=1e-5)
    up = jnp.ones(3)
    np.testing.assert_allclose(rbm.hidden_mean(machine, up), np.tanh([0, 4]), rtol=1e-6)
    np.testing.assert_allclose(rbm.log_likelihood(machine, [[1, 1, 1]]), weights[7] - log_partition, rtol=1e-5)
    gradients, *_ = rbm.likelihood_gradient(jax.random.key(0), machine, None, up[None])
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    fields = rbm.receptive_fields([machine])
    np.testing.assert_allclose(fields[0], WEIGHTS)
    assert {leaf.dtype for leaf in rbm.gibbs_sampler(machine).init(jax.random.key(0))} == {
        jnp.dtype("int8"),
        jnp.dtype("uint32"),
    }


def test_arrays_that_do_not_make_a_machine_are_refused():
    machine, spins = rbm.RBM(jnp.ones((3, 2)), jnp.zeros(3), jnp.zeros(2)), jnp.ones(3)
    wrong = {
        r"visible_bias: expected shape \(3,\), got \(2,\)": machine._replace(visible_bias=jnp.zeros(2)),
        r"hidden_bias: expected shape \(2,\), got \(2, 1\)": machine._replace(hidden_bias=jnp.zeros((2, 1))),
        r"weights: expected shape \(num_visible, num_hidden\), got \(3,\)": machine._replace(weights=jnp.ones(3)),
        r"weights: expected units in both layers, got shape \(3, 0\)": machine._replace(weights=jnp.ones((3, 0))),
        "weights: expected real numbers, got 'a'": machine._replace(weights="a"),
        "machine: expected an RBM of weights, .*, got a tuple": tuple(machine),
    }
    functions = (
        lambda machine: rbm.hidden_mean(machine, spins),
        lambda machine: rbm.log_likelihood(machine, spins[None]),
        lambda machine: rbm.contrastive_divergence_gradient()(jax.random.key(0), machine, None, spins[None]),
        lambda machine: rbm.persistent_chains(jax.random.key(0), machine, 2),
        lambda machine: rbm.reconstruct(jax.random.key(0), [machine], spins),
        rbm.log_partition,
        rbm.to_binary,
        rbm.gibbs_sampler,
    )
    for message, bad in wrong.items():
        for function in functions:
            with pytest.raises(ValueError, match=message.replace("machine:", r"(machine|stack\[0\]):")):
                function(bad)


ZERO_ONE = jnp.array([[0, 1, 1], [1, 0, 1]], jnp.int8)
OF_DATA = {
    "likelihood gradient": lambda machine, data: rbm.likelihood_gradient(jax.random.key(0), machine, None, data)[0],
    "log-likelihood": rbm.log_likelihood,
    "negative": rbm.negative_log_likelihood,
    "cd": lambda machine, data: rbm.contrastive_divergence_gradient()(jax.random.key(0), machine, None, data)[0],
    "pcd": lambda machine, data: rbm.persistent_contrastive_divergence_gradient()(
        jax.random.key(0), machine, jnp.ones((2, 2), jnp.int8), data
    )[0],
    "reconstruct": lambda machine, data: rbm.reconstruct(jax.random.key(0), [machine, rbm.transpose(machine)], data[0]),
    "mean": lambda machine, data: rbm.hidden_mean(machine, data[0]),
    "energy": lambda machine, data: rbm.energy(machine, data[0], jnp.ones(2)),
    "hamiltonian": lambda machine, data: rbm.visible_hamiltonian(machine, data[1]),
    "probability": lambda machine, data: rbm.log_probability(machine, data[0]),
}


@pytest.mark.parametrize("name", OF_DATA)
def test_data_of_zeros_and_ones_are_refused_or_make_nan(name):
    machine = rbm.RBM(jnp.asarray(WEIGHTS, jnp.float32), jnp.zeros(3), jnp.zeros(2))
    of_data = OF_DATA[name]
    for data in (ZERO_ONE, ZERO_ONE.astype(bool), np.asarray(ZERO_ONE, float).tolist()):
        with pytest.raises(ValueError, match=r"expected spins \+1 or -1, got 0 or 1; 2 \* .*rbm.from_binary"):
            of_data(machine, jnp.asarray(data) if isinstance(data, list) else data)
    compiled = jax.jit(of_data)
    assert all(np.isnan(leaf).any() for leaf in jax.tree.leaves(compiled(machine, ZERO_ONE)))
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(compiled(machine, 2 * ZERO_ONE - 1)))


def test_draws_inside_a_jit_of_what_is_no_spin_are_no_spins():
    machine = rbm.RBM(jnp.asarray(WEIGHTS, jnp.float32), jnp.zeros(3), jnp.zeros(2))
    assert jax.jit(rbm.sample_hidden)(jax.random.key(0), machine, ZERO_ONE[0]).tolist() == [0, 0]
    assert jax.jit(rbm.lift)(jax.random.key(0), machine, ZERO_ONE).tolist() == [[0, 0], [0, 0]]


def test_no_derivative_goes_through_a_draw():
    machine = rbm.RBM(jnp.asarray(WEIGHTS, jnp.float32), jnp.zeros(3), jnp.zeros(2))
    key, up = jax.random.key(0), jnp.ones(3)
    for draw in (
        lambda machine: rbm.sample_hidden(key, machine, up).sum(dtype=jnp.float32),
        lambda machine: rbm.gibbs_step(key, machine, up)[0].sum(dtype=jnp.float32),
        lambda machine: rbm.reconstruct(key, [machine], up).sum(),
        lambda machine: rbm.lift(key, machine, up[None]).sum(dtype=jnp.float32),
    ):
        for differentiate in (jax.grad(draw), jax.jit(jax.grad(draw))):
            with pytest.raises(ValueError, match="expected no derivative through drawn spins"):
                differentiate(machine)

    def contrast(machine):
        frozen = jax.lax.stop_gradient(machine)
        drawn = rbm.sample_visible(key, frozen, rbm.sample_hidden(key, frozen, up))
        return rbm.visible_hamiltonian(machine, drawn)

    drawn = rbm.sample_visible(key, machine, rbm.sample_hidden(key, machine, up))
    np.testing.assert_allclose(jax.grad(contrast)(machine).visible_bias, -np.asarray(drawn, float))


def test_chains_are_asked_for_in_words():
    machine = rbm.RBM(jnp.asarray(WEIGHTS, jnp.float32), jnp.zeros(3), jnp.zeros(2))
    with pytest.raises(ValueError, match=r"chains: expected .* as aux, such as rbm.persistent_chains.*, got None"):
        rbm.persistent_contrastive_divergence_gradient()(jax.random.key(0), machine, None, jnp.ones((2, 3)))


def test_batches_of_weighted_data_average_to_the_gradient_of_all():
    machine = rbm.init(jax.random.key(0), 3, 2, scale=0.5)
    states, weights = all_spins(3), np.array([5.0, 0.0, 1.0, 2.0, 0.5, 0.5, 6.0, 1.0], np.float32)
    p = weights / weights.sum()
    # The gradient of all the data, from the definition: -<v m> of the data and + of the machine.
    v, w = np.asarray(states, float), np.asarray(machine.weights, float)
    means, q = np.tanh(v @ w), np.prod(2 * np.cosh(v @ w), axis=1)
    expected = v.T @ ((q / q.sum() - p)[:, None] * means)
    for aux, given in ((None, weights / weights.mean()), (jnp.float32(weights.mean()), weights)):
        for size in (8, 2):
            parts = []
            for start in range(0, 8, size):
                rows = slice(start, start + size)
                if given[rows].sum() > 0:
                    batch = states[rows], jnp.asarray(given[rows])
                    parts.append(rbm.likelihood_gradient(jax.random.key(0), machine, aux, batch)[0].weights)
            np.testing.assert_allclose(np.sum(parts, axis=0) * size / 8, expected, atol=1e-6)


def test_weighted_data_in_small_batches_learn_their_distribution():
    states = all_spins(4)
    target = np.exp(0.5 * np.sum(np.asarray(states) * np.roll(states, 1, axis=1), axis=1))
    target /= target.sum()
    machine = rbm.init(jax.random.key(0), 4, 4, scale=0.3)
    optimizer = optax.adam(optax.exponential_decay(0.05, 200, 0.7))
    run = training.fit(
        jax.random.key(1),
        rbm.likelihood_gradient,
        optimizer,
        machine,
        states,
        weights=7 * target,
        num_epochs=500,
        batch_size=4,
    )
    learned = np.asarray(rbm.visible_distribution(run.params), float)
    assert np.sum(target * np.log(target / learned)) < 1e-3
