"""Optimal filters against all filters of a grid, and filters learned from samples against both."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import exact, nets
from jaxrg.rg import information

K = float(exact.critical_coupling)


def test_the_optimum_of_two_spins_is_that_of_a_grid(x64):
    joint = np.random.default_rng(0).dirichlet(np.full(32, 0.5)).reshape(4, 8)
    found = information.optimal_filter(jax.random.key(0), joint, 1, norm=1.5, num_starts=3)
    angles = np.linspace(0, np.pi, 2001)
    grid = 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)[:, :, None]
    values = jax.vmap(lambda weights: information.filter_information(joint, information.spin_filter(weights)))(grid)
    assert float(found.information) == pytest.approx(float(values.max()), rel=1e-6)
    assert float(found.information) >= float(values.max())
    assert float(jnp.linalg.norm(found.weights)) == pytest.approx(1.5)
    assert float(found.gradient_norm) < 1e-7
    assert float(found.bound) == pytest.approx(float(information.filter_information(joint)))
    assert np.all(np.diff(found.starts) <= 0)
    assert float(found.starts[0]) == float(found.information)


def test_critical_ising_blocks_are_averaged(x64):
    joint = information.strip_joint(K, 4, (2, 2), 1)
    found = information.optimal_filter(jax.random.key(1), joint, 1, norm=1.0, num_starts=3)
    np.testing.assert_allclose(found.weights, 0.5, atol=1e-5)


def test_large_norms_break_ties_of_the_average(x64):
    """The information is convex in p(h|v): a fair coin at a tie tells less than a rule."""
    joint = information.strip_joint(K, 4, (2, 2), 1)
    found = information.optimal_filter(jax.random.key(1), joint, 1, norm=6.0, num_starts=3)
    uniform = information.filter_information(joint, information.spin_filter(jnp.full((4, 1), 3.0)))
    assert float(found.information) > float(uniform) + 1e-3
    assert np.ptp(found.weights) > 1


def test_features_of_another_class(x64):
    """Products of spins know nothing of a table that is odd in the block alone, and single spins do."""
    joint = np.kron([[0.4, 0.1], [0.1, 0.4]], np.ones((1, 2)))  # one spin
    ones = information.optimal_filter(jax.random.key(0), joint, 1, features=np.ones((2, 1)))
    assert float(ones.information) < 1e-12
    spins = information.optimal_filter(jax.random.key(0), joint, 1)
    assert float(spins.information) > 0.1


def test_single_precision_finds_the_same():
    joint = information.strip_joint(jnp.float32(K), 4, (2, 2), 1)
    found = information.optimal_filter(jax.random.key(1), joint, 1, norm=1.0, num_starts=3)
    assert found.weights.dtype == jnp.float32
    np.testing.assert_allclose(found.weights, 0.5, atol=5e-3)


def drawn(seed, joint, num_samples):
    """Spins of blocks and environments, independent samples of a table."""
    weights = np.asarray(joint, float).ravel()
    states = np.random.default_rng(seed).choice(weights.size, num_samples, p=weights / weights.sum())
    num_bits = [size.bit_length() - 1 for size in joint.shape]
    rows, columns = states // joint.shape[1], states % joint.shape[1]
    return tuple(
        (2 * ((index[:, None] >> np.arange(bits)) & 1) - 1).astype(np.int8)
        for index, bits in zip((rows, columns), num_bits, strict=True)
    )


@pytest.mark.parametrize("bound", [information.conditional_bound, information.info_nce, information.smile_bound])
def test_learned_filters_are_within_three_percent_of_exact(bound):
    joint = information.strip_joint(jnp.float32(K), 4, (2, 2), 0)
    best = information.optimal_filter(jax.random.key(0), joint, 1, norm=2.0, num_starts=3)
    samples = drawn(1, joint, 60_000)
    found = information.learn_filter(jax.random.key(2), *samples, 1, norm=2.0, bound=bound, batch_size=250)
    assert abs(float(found.information - best.information)) < 5 * float(found.error)
    assert float(found.information) == pytest.approx(float(best.information), rel=0.03)
    kept = information.filter_information(joint, information.spin_filter(found.weights))
    assert float(kept) > 0.99 * float(best.information)
    assert float(found.cap) == pytest.approx(np.log(2))


def test_noise_has_no_information():
    samples = drawn(1, information.strip_joint(jnp.float32(K), 4, (2, 2), 0), 20_000)
    shuffled = jax.random.permutation(jax.random.key(3), samples[1])
    found = information.learn_filter(jax.random.key(2), samples[0], shuffled, 1, net=nets.mlp((8, 2)), num_epochs=4)
    assert abs(float(found.information)) < 5 * float(found.error) + 2e-3
    assert found.training.shape == (4,)


def test_a_start_is_where_it_begins():
    samples = drawn(1, information.strip_joint(jnp.float32(K), 4, (2, 2), 0), 2_000)
    start = jnp.array([[1.0], [2.0], [2.0], [0.0]])
    found = information.learn_filter(
        jax.random.key(2), *samples, 1, norm=3.0, start=start, optimizer=optax.sgd(0.0), num_epochs=1
    )
    np.testing.assert_allclose(found.weights, start, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"environment": np.ones((99, 2))}, "environment: expected"),
        ({"num_hidden": 9}, "num_hidden: expected at most 8"),
        ({"norm": 0.0}, "norm: expected"),
        ({"start": np.ones((2, 1))}, "start: expected"),
        ({"num_held_out": 10}, "num_held_out: expected"),
        ({"net": 3}, "net: expected"),
        ({"net": nets.mlp((3,))}, "net: expected scores"),
    ],
)
def test_refusals_of_samples(arguments, message):
    given = {"visible": np.ones((1000, 4)), "environment": np.ones((1000, 2)), "num_hidden": 1} | arguments
    with pytest.raises(ValueError, match=message):
        information.learn_filter(jax.random.key(0), **given)


def test_refusals_of_optima():
    for arguments, message in (
        ({"features": np.ones((3, 1))}, "features: expected"),
        ({"norm": -1.0}, "norm: expected"),
        ({"num_hidden": 0}, "num_hidden: expected"),
    ):
        with pytest.raises(ValueError, match=message):
            information.optimal_filter(jax.random.key(0), **({"joint": np.ones((4, 4)), "num_hidden": 1} | arguments))
