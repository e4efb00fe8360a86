"""Information of tables against sums over p(v, e, h), entropies, and inequalities that no filter breaks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import tables
from jaxrg.rg import information


def random_joint(seed, num_visible=3, num_environment=4):
    return (
        np.random.default_rng(seed)
        .dirichlet(np.full(2 ** (num_visible + num_environment), 0.3))
        .reshape(2**num_visible, -1)
    )


def plain_information(joint):
    """By H(rows) + H(columns) - H(both)."""
    entropy = lambda p: -np.sum(p[p > 0] * np.log(p[p > 0]))  # noqa: E731
    return entropy(joint.sum(1)) + entropy(joint.sum(0)) - entropy(joint)


def plain_filter(weights):
    """p(h|v) by the normalised exponential of every h and v."""
    visible = np.asarray(tables.all_spins(len(weights), jnp.float32), float)
    hidden = np.asarray(tables.all_spins(weights.shape[1], jnp.float32), float)
    energies = np.exp(visible @ weights @ hidden.T)
    return energies / energies.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("num_hidden", [1, 2, 3])
def test_information_of_a_filter_by_brute_force(x64, num_hidden):
    joint = random_joint(num_hidden)
    weights = np.random.default_rng(1).normal(size=(3, num_hidden))
    coarse = plain_filter(weights)
    np.testing.assert_allclose(information.spin_filter(weights), coarse, atol=1e-14)
    everything = joint[:, :, None] * coarse[:, None, :]  # p(v, e, h)
    expected = plain_information(everything.sum(axis=0))
    np.testing.assert_allclose(information.filter_information(joint, coarse), expected, rtol=1e-10)
    np.testing.assert_allclose(information.filter_information(7 * joint), plain_information(joint), rtol=1e-12)


def test_no_filter_knows_more_than_its_block_or_itself(x64):
    joint = random_joint(5)
    keys = jax.random.split(jax.random.key(0), 50)
    values = [
        float(information.filter_information(joint, information.spin_filter(3 * jax.random.normal(key, (3, 2)))))
        for key in keys
    ]
    assert min(values) >= 0
    assert max(values) <= min(float(information.filter_information(joint)), 2 * np.log(2))


def test_deterministic_limits_and_fair_ties():
    found = information.spin_filter(1e6 * jnp.ones((2, 1)))
    np.testing.assert_array_equal(found[:, 1], [0, 0.5, 0.5, 1])
    identity = information.spin_filter(1e6 * jnp.eye(3))
    np.testing.assert_array_equal(identity, np.eye(8))
    joint = jnp.asarray(random_joint(2), jnp.float32)
    np.testing.assert_allclose(
        information.filter_information(joint, identity), information.filter_information(joint), rtol=1e-5
    )


def test_features_take_the_place_of_spins():
    spins = tables.all_spins(3, jnp.float32)
    features = jnp.stack([spins[:, 0] * spins[:, 1], jnp.ones(8)], axis=1)
    found = information.spin_filter(jnp.array([[0.3], [0.2]]), features)
    np.testing.assert_allclose(found[:, 1], jax.nn.sigmoid(2 * (0.3 * features[:, 0] + 0.2)), rtol=1e-6)


def test_derivatives_by_differences_and_where_weights_vanish(x64):
    joint = jnp.asarray(random_joint(3)).at[2].set(0).at[:, 5].set(0)
    weights = jax.random.normal(jax.random.key(2), (3, 2))
    value = lambda weights: information.filter_information(joint, information.spin_filter(weights))  # noqa: E731
    gradient = jax.grad(value)(weights)
    step = 1e-5 * jax.random.normal(jax.random.key(3), weights.shape)
    np.testing.assert_allclose(value(weights + step) - value(weights - step), 2 * jnp.sum(gradient * step), rtol=1e-6)
    assert bool(jnp.all(jnp.isfinite(jax.grad(information.filter_information)(joint))))


@pytest.mark.parametrize(("size", "digits"), [(1e-1, 5e-5), (1e-3, 5e-4)])
def test_small_informations_keep_digits_in_single_precision(size, digits):
    """I = ½ σ² + σ⁴/12 + ... of a table of two signs with correlation σ."""
    joint = jnp.array([[1 + size, 1 - size], [1 - size, 1 + size]], jnp.float32) / 4
    expected = ((1 + size) * np.log1p(size) + (1 - size) * np.log1p(-size)) / 2
    assert float(information.filter_information(joint)) == pytest.approx(expected, rel=digits)


def test_independent_tables_have_none():
    joint = np.outer([0.3, 0.7], [0.1, 0.2, 0.7])
    assert abs(float(information.filter_information(joint))) < 1e-7


def test_relevant_functions_expand_the_table(x64):
    joint = random_joint(4)
    found = information.relevant_functions(joint, 7)
    rows, columns = joint.sum(1), joint.sum(0)
    ratio = 1 + np.einsum("k,kv,ke->ve", found.correlations, found.visible, found.environment)
    np.testing.assert_allclose(rows[:, None] * ratio * columns, joint, atol=1e-12)
    visible = np.asarray(found.visible)
    np.testing.assert_allclose(visible * rows @ visible.T, np.eye(7), atol=1e-10)
    np.testing.assert_allclose(visible @ rows, 0, atol=1e-10)
    assert bool(jnp.all(jnp.diff(found.correlations) <= 0))


def test_a_weak_unit_keeps_most_of_the_most_relevant_function(x64):
    joint = random_joint(6)
    found = information.relevant_functions(joint, 7)
    size = 1e-3

    def kept(function):
        coarse = information.spin_filter(jnp.full((1, 1), size), function[:, None])
        return float(information.filter_information(joint, coarse))

    values = [kept(function) for function in found.visible]
    np.testing.assert_allclose(values, 0.5 * (size * found.correlations) ** 2, rtol=1e-4)
    rows = joint.sum(axis=1)
    for key in jax.random.split(jax.random.key(0), 20):
        other = jax.random.normal(key, (8,))
        other = other - rows @ other
        assert kept(other / jnp.sqrt(rows @ other**2)) < values[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"joint": [[1.0, -0.1]]}, "joint: expected weights >= 0"),
        ({"joint": [1.0, 2.0]}, "joint: expected weights"),
        ({"joint": [[1.0], [1.0]], "coarse": [[1.0]]}, "coarse: expected p"),
        ({"joint": [[1.0], [1.0]], "coarse": [[0.5, 0.6], [0.5, 0.5]]}, "coarse: expected rows"),
    ],
)
def test_refusals_of_tables(arguments, message):
    with pytest.raises(ValueError, match=message):
        information.filter_information(**arguments)


def test_refusals_of_filters_and_functions():
    with pytest.raises(ValueError, match="weights: expected"):
        information.spin_filter(jnp.ones((3, 9)))
    with pytest.raises(ValueError, match="features: expected"):
        information.spin_filter(jnp.ones((3, 1)), jnp.ones((4, 2)))
    with pytest.raises(ValueError, match="num_functions: expected fewer"):
        information.relevant_functions(jnp.ones((2, 3)), 2)
