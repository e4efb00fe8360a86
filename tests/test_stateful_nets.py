"""Networks with running averages and dropout: parameters and state apart, and both trained as they should be."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxrg import nets, training

INPUTS = jax.random.normal(jax.random.key(0), (12, 3)) + 2
MOMENTUM = 0.9


class NnxNet(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(3, momentum=MOMENTUM, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.dense = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, inputs):
        return self.dense(self.dropout(self.norm(inputs)))


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, inputs, is_trained):
        hidden = linen.BatchNorm(use_running_average=not is_trained, momentum=MOMENTUM)(inputs)
        return linen.Dense(2)(linen.Dropout(0.5, deterministic=not is_trained)(hidden))


def make_nnx():
    return nets.stateful_from_nnx(NnxNet(nnx.Rngs(1)))


def make_linen():
    net = nets.stateful_from_linen(LinenNet(), train={"is_trained": True}, apply={"is_trained": False})
    return net, net.init(jax.random.key(1), INPUTS)


@pytest.fixture(params=[make_nnx, make_linen], ids=["nnx", "linen"])
def network(request):
    return request.param()


def statistic(state, name: str) -> np.ndarray:
    return next(
        np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(state) if name in jax.tree_util.keystr(path)
    )


def test_parameters_hold_no_statistics(network):
    _, (params, state) = network
    assert sorted(leaf.shape for leaf in jax.tree.leaves(params)) == [(2,), (3,), (3,), (3, 2)]
    assert [leaf.shape for leaf in jax.tree.leaves(state)] == [(3,), (3,)]


@pytest.mark.parametrize("learning_rate", [0.0, 0.1])
def test_running_averages_follow_the_batches_and_no_gradient(network, learning_rate):
    net, (params, state) = network

    def loss_fn(key, params, state, batch):
        outputs, state = net.train(key, params, state, batch)
        return jnp.mean(outputs**2), state

    run = training.fit(
        jax.random.key(2), training.stateful_gradient_of(loss_fn), optax.sgd(learning_rate), params, INPUTS,
        aux=state, num_epochs=4, batch_size=12,
    )  # fmt: skip
    inputs = np.asarray(INPUTS)
    left = MOMENTUM**4
    np.testing.assert_allclose(statistic(run.aux, "mean"), (1 - left) * inputs.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistic(run.aux, "var"), left + (1 - left) * inputs.var(0), rtol=1e-4)
    is_same = all(map(np.array_equal, jax.tree.leaves(run.params), jax.tree.leaves(params)))
    assert is_same == (learning_rate == 0)
    assert np.all(np.isfinite(net.apply((run.params, run.aux), INPUTS)))


def test_dropout_has_a_key_for_every_step_and_none_afterwards(network):
    net, (params, state) = network
    train = lambda seed: np.asarray(net.train(jax.random.key(seed), params, state, INPUTS)[0])  # noqa: E731
    np.testing.assert_array_equal(train(1), train(1))
    assert not np.allclose(train(1), train(2))
    # Half of the entries of what comes before the last layer are gone and the others twice what they were.
    ones = jax.tree.map(lambda leaf: jnp.eye(3, 2) if leaf.shape == (3, 2) else leaf, params)
    outputs = np.asarray(net.train(jax.random.key(3), ones, state, INPUTS)[0])
    normal = (np.asarray(INPUTS) - np.asarray(INPUTS).mean(0)) / np.sqrt(np.asarray(INPUTS).var(0) + 1e-5)
    kept = outputs != 0
    assert 0.2 < kept.mean() < 0.8
    np.testing.assert_allclose(outputs[kept], 2 * normal[:, :2][kept], rtol=1e-3, atol=1e-4)
    # Afterwards nothing is random, and the running averages, 0 and 1, normalise.
    after = net.apply((ones, state), INPUTS)
    np.testing.assert_allclose(after, np.asarray(INPUTS)[:, :2] / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_a_module_is_never_changed_and_taken_as_it_is_after_training():
    module = NnxNet(nnx.Rngs(1))
    module.norm.mean[...] = jnp.array([1.0, 2.0, 3.0])
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngState))))
    net, params = nets.from_nnx(module)
    outputs = net.apply(params, INPUTS)
    stateful, (same, state) = nets.stateful_from_nnx(module)
    stateful.train(jax.random.key(0), same, state, INPUTS)
    after = nnx.to_pure_dict(nnx.state(module, nnx.Not(nnx.RngState)))
    assert all(map(np.array_equal, jax.tree.leaves(after), jax.tree.leaves(before)))
    assert not module.norm.use_running_average
    assert sorted(leaf.shape for leaf in jax.tree.leaves(params)) == [(2,), (3,), (3,), (3, 2)]
    hidden = (np.asarray(INPUTS) - [1.0, 2.0, 3.0]) / np.sqrt(1 + 1e-5)
    expected = hidden @ before["dense"]["kernel"] + before["dense"]["bias"]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    # Two programs, one of which knows the averages: they may round apart.
    np.testing.assert_allclose(stateful.apply((same, state), INPUTS), outputs, rtol=1e-5, atol=1e-6)


def test_the_stateless_adaptor_refuses_state():
    net = nets.from_linen(linen.BatchNorm(use_running_average=False))
    with pytest.raises(
        ValueError, match=r"module: expected parameters alone, got also batch_stats, .*stateful_from_lin"
    ):
        net.init(jax.random.key(0), INPUTS)
    with pytest.raises(ValueError, match="got also batch_stats"):
        net.apply({"params": {}, "batch_stats": {}}, INPUTS)


def test_equal_modules_have_the_same_functions():
    assert nets.mlp((4, 2)) is nets.mlp([4, 2])
    assert nets.mlp((4, 2)) is not nets.mlp((4, 3))
    assert make_linen()[0] is make_linen()[0]


@pytest.mark.parametrize("make", [nets.from_linen, nets.from_nnx, nets.stateful_from_nnx])
def test_what_is_no_module_is_refused(make):
    with pytest.raises(ValueError, match=r"module: expected a flax.* module, got a function"):
        make(lambda inputs: inputs)
