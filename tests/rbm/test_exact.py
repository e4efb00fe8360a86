"""Exact answers by three routes, streamed and not, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rbm
from jaxrg.rbm import exact
from jaxrg.tables import all_spins

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of a few states, so that small machines are streamed."""
    monkeypatch.setattr(exact, "CHUNK_ELEMENTS", 32)


@pytest.mark.parametrize("shape", [(5, 3), (3, 6)])
def test_three_routes_to_the_partition_function_agree(shape, random_machine, reference_energies, log_sum_exp):
    machine = random_machine(0, *shape)

    @jax.jit
    def routes(machine):
        over_visible = -jax.vmap(rbm.visible_hamiltonian, (None, 0))(machine, all_spins(shape[0]))
        over_hidden = -jax.vmap(rbm.hidden_hamiltonian, (None, 0))(machine, all_spins(shape[1]))
        return rbm.log_partition(machine), jax.nn.logsumexp(over_visible), jax.nn.logsumexp(over_hidden)

    joint = log_sum_exp(-reference_energies(machine))
    np.testing.assert_allclose(routes(machine), joint, rtol=0, atol=1e-13)


def test_streaming_in_chunks_changes_nothing(small_chunks, random_machine, reference_energies, log_sum_exp):
    machine = random_machine(1, 8, 7, scale=2.0)
    assert exact._num_low(rbm.transpose(machine), exact.CHUNK_ELEMENTS) == 2
    joint = log_sum_exp(-reference_energies(machine))

    @jax.jit
    def everything(machine):
        value, gradient = jax.value_and_grad(rbm.log_partition)(machine)
        return value, gradient, rbm.visible_distribution(machine), rbm.hidden_distribution(machine)

    value, gradient, of_visible, of_hidden = everything(machine)
    np.testing.assert_allclose(value, joint, rtol=0, atol=1e-13)
    expected = np.exp(-reference_energies(machine) - joint)
    np.testing.assert_allclose(of_visible, expected.sum(1), rtol=1e-12)
    np.testing.assert_allclose(of_hidden, expected.sum(0), rtol=1e-12)
    visible, hidden = np.asarray(all_spins(8, jnp.float64)), np.asarray(all_spins(7, jnp.float64))
    np.testing.assert_allclose(gradient.weights, visible.T @ expected @ hidden, rtol=0, atol=1e-13)
    np.testing.assert_allclose(gradient.visible_bias, expected.sum(1) @ visible, rtol=0, atol=1e-13)


def test_streamed_sum_spans_hundreds_of_orders_of_magnitude(small_chunks):
    # State 0 (all down) comes first and has the smallest weight, the last one the largest.
    machine = rbm.RBM(jnp.zeros((8, 9)), jnp.full(8, 100.0), jnp.zeros(9))
    expected = 9 * np.log(2) + 8 * np.log(2 * np.cosh(100.0))
    np.testing.assert_allclose(rbm.log_partition(machine), expected, rtol=1e-15)
    flipped = machine._replace(visible_bias=-machine.visible_bias)
    np.testing.assert_allclose(rbm.log_partition(flipped), expected, rtol=1e-15)


def test_compensated_float32_sum_keeps_what_a_plain_one_loses(small_chunks):
    # 2**16 equal states, 4 a chunk: a plain float32 total of 2**14 terms would be off by about 1e-5 of itself.
    machine = rbm.RBM(jnp.full((16, 17), 1e-3, jnp.float32), jnp.full(16, 0.3, jnp.float32), jnp.zeros(17, jnp.float32))
    in_double = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), machine)
    found, expected = rbm.log_partition(machine), rbm.log_partition(in_double)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7)


def test_distributions_sum_to_one_and_follow_the_bit_order(random_machine):
    machine = random_machine(3)
    distribution = rbm.visible_distribution(machine)
    np.testing.assert_allclose(distribution.sum(), 1.0, rtol=1e-14)
    log_probability = jax.jit(jax.vmap(rbm.log_probability, (None, 0)))(machine, all_spins(5))
    np.testing.assert_allclose(np.exp(log_probability), distribution, rtol=1e-12)


def test_likelihood_and_its_gradient_are_exact(random_machine, reference_energies):
    machine = random_machine(4)
    generator = np.random.default_rng(0)
    data = jnp.asarray(generator.choice([-1, 1], size=(7, 5)), jnp.int8)
    energies = reference_energies(machine)
    joint = np.exp(-energies)
    joint /= joint.sum()
    rows = (np.asarray(data) > 0) @ (1 << np.arange(5))
    expected = np.log(joint.sum(1))[rows].mean()
    counts = jnp.asarray(np.bincount(rows, minlength=32).astype(float))

    @jax.jit
    def everything(machine):
        value, gradient = jax.value_and_grad(rbm.log_likelihood)(machine, data)
        return value, gradient, rbm.negative_log_likelihood(machine, all_spins(5), counts)

    value, gradient, weighted = everything(machine)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(weighted, -expected, rtol=1e-13)

    visible, hidden = np.asarray(all_spins(5, jnp.float64)), np.asarray(all_spins(3, jnp.float64))
    conditional = joint[rows] / joint[rows].sum(1, keepdims=True)
    positive = np.asarray(data, float).T @ (conditional @ hidden) / len(rows)
    np.testing.assert_allclose(gradient.weights, positive - visible.T @ joint @ hidden, rtol=0, atol=1e-13)


def test_many_machines_at_once_and_new_weights_do_not_recompile(random_machine):
    machines = [random_machine(seed) for seed in range(3)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)
    together = jax.vmap(rbm.log_partition)(batch)
    compiled = exact._log_partition._cache_size()
    np.testing.assert_allclose(together, [rbm.log_partition(machine) for machine in machines], rtol=1e-14)
    assert exact._log_partition._cache_size() <= compiled + 1


def test_nan_is_not_hidden_and_too_many_units_are_refused(random_machine):
    machine = random_machine(5)
    assert jnp.isnan(rbm.log_partition(machine._replace(hidden_bias=jnp.full(3, jnp.nan))))
    with pytest.raises(ValueError, match=r"machine, units of the smaller layer: expected at most 30, .* got 35"):
        rbm.log_partition(rbm.init(jax.random.key(0), 40, 35))
    with pytest.raises(
        ValueError, match=r"num_visible: expected at most 26 .* got 30, which needs 25,769,803,776 bytes"
    ):
        rbm.visible_distribution(rbm.init(jax.random.key(0), 30, 25))
    with pytest.raises(ValueError, match=r"weights: expected shape \(2,\), got \(3,\)"):
        rbm.log_likelihood(machine, jnp.ones((2, 5)), jnp.ones(3))
    with pytest.raises(ValueError, match=r"data: expected shape \(2, 5\), got \(2, 4\)"):
        rbm.log_likelihood(machine, jnp.ones((2, 4)))


@pytest.mark.slow
def test_the_largest_enumeration_stays_below_one_gigabyte():
    machine = rbm.RBM(jnp.zeros((24, 1600)), jnp.full(24, 0.1), jnp.full(1600, 0.2))
    compiled = exact._log_partition.lower(machine, chunk_elements=exact.CHUNK_ELEMENTS).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes < 1e9
    gradient = jax.jit(jax.grad(rbm.log_partition)).lower(machine).compile().memory_analysis()
    assert gradient is not None
    assert gradient.temp_size_in_bytes < 1e9
    machine = rbm.RBM(jnp.zeros((24, 24)), jnp.full(24, 0.1), jnp.full(24, 0.2))
    expected = 24 * np.log(2 * np.cosh(0.1)) + 24 * np.log(2 * np.cosh(0.2))
    np.testing.assert_allclose(rbm.log_partition(machine), expected, rtol=1e-13)
