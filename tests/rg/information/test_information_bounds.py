"""Bounds at the exact scores, below it, their caps, and on Gaussian variables whose information is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import nets, training
from jaxrg.rg import information

BOUNDS = {
    "info_nce": information.info_nce,
    "conditional_bound": information.conditional_bound,
    "smile_bound": functools.partial(information.smile_bound, clip=30.0),
}


def all_states():
    """A batch in which every pair of a table occurs as often as it should: scores and weights of its columns."""
    joint = np.random.default_rng(0).dirichlet(np.ones(12)).reshape(3, 4)
    counts = np.array([50, 20, 30, 100])  # columns as often as they occur; the rest is p(h|e)
    columns = np.repeat(np.arange(4), counts)
    given = joint / joint.sum(axis=0)
    weights = given[:, columns] / len(columns)
    table = given * counts / len(columns)
    scores = np.log(table / table.sum(axis=1, keepdims=True) / table.sum(axis=0))
    return scores[:, columns], weights, float(information.filter_information(table))


@pytest.mark.parametrize("name", ["info_nce", "conditional_bound"])
def test_bounds_are_exact_at_the_log_ratio_and_below_it_elsewhere(x64, name):
    scores, weights, expected = all_states()
    bound = BOUNDS[name]
    assert float(bound(scores, weights)) == pytest.approx(expected, rel=1e-12)
    assert float(jnp.max(jnp.abs(jax.grad(bound)(jnp.asarray(scores), weights)))) < 1e-15
    for key in jax.random.split(jax.random.key(0), 10):
        assert float(bound(scores + jax.random.normal(key, scores.shape), weights)) < expected


def test_smile_is_nearly_that_and_its_slope_vanishes_there(x64):
    scores, weights, expected = all_states()
    assert float(information.smile_bound(scores, weights, clip=30.0)) == pytest.approx(expected, rel=0.02)
    slope = jax.grad(information.smile_bound)(jnp.asarray(scores), weights)
    assert float(jnp.max(jnp.abs(slope))) < 0.02 / weights.shape[1]


@pytest.mark.parametrize("num_pairs", [2, 32])
def test_contrastive_bounds_of_pairs_stop_at_the_logarithm_of_the_batch(num_pairs):
    certain, weights = 100 * jnp.eye(num_pairs), jnp.eye(num_pairs) / num_pairs
    for name in ("info_nce", "conditional_bound"):
        assert float(BOUNDS[name](certain, weights)) == pytest.approx(np.log(num_pairs), rel=1e-5)
    assert float(information.smile_bound(certain / 10, weights)) > np.log(num_pairs)


def test_rows_that_never_occur_do_no_harm():
    scores, weights = jnp.zeros((3, 4)), jnp.ones((3, 4)).at[1].set(0) / 8
    value, slope = jax.value_and_grad(information.conditional_bound, argnums=(0, 1))(scores, weights)
    assert float(value) == pytest.approx(0, abs=1e-6)
    assert bool(jnp.all(jnp.isfinite(jnp.stack(slope))))


def test_refusals_of_scores():
    with pytest.raises(ValueError, match="scores: expected"):
        information.info_nce(jnp.ones(3), jnp.ones(3) / 3)
    with pytest.raises(ValueError, match="joint: expected weights of shape"):
        information.info_nce(jnp.ones((2, 2)), jnp.ones((2, 3)) / 6)
    with pytest.raises(ValueError, match="of sum one"):
        information.conditional_bound(jnp.ones((2, 2)), jnp.eye(2))
    with pytest.raises(ValueError, match="clip: expected"):
        information.smile_bound(jnp.ones((2, 2)), jnp.eye(2) / 2, clip=0.0)
    table = jnp.array([[0.6, 0.0], [0.1, 0.3]])  # its columns are no samples: info_nce would give more than I(H; E)
    for bound in (information.info_nce, information.smile_bound):
        with pytest.raises(
            ValueError, match=r"joint: expected columns that are samples of one weight, got between 0.6"
        ):
            bound(jnp.log(table / table.sum(1, keepdims=True) + 1e-9), table)


NUM_DIMENSIONS, CORRELATION, BATCH = 20, 0.5, 64
EXACT = -0.5 * NUM_DIMENSIONS * np.log(1 - CORRELATION**2)  # 2.877
NET = nets.mlp((128, 32))


def gaussian_pairs(key, size):
    x, noise = jax.random.normal(key, (2, size, NUM_DIMENSIONS))
    return x, CORRELATION * x + np.float32(np.sqrt(1 - CORRELATION**2)) * noise


def gaussian_bound(bound, key, params, size):
    x, y = gaussian_pairs(key, size)
    return bound(NET.apply(params[0], x) @ NET.apply(params[1], y).T, jnp.eye(size) / size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "low", "high"),
    [
        ("info_nce", 8, 1.0, np.log(8)),  # below its cap, far below the truth
        ("info_nce", 128, 2.2, EXACT),
        ("conditional_bound", 128, 2.2, EXACT),
        ("smile_bound", 128, 2.5, EXACT + 0.15),
    ],
)
def test_gaussian_variables_of_twenty_dimensions(name, size, low, high):
    bound = information.smile_bound if name == "smile_bound" else BOUNDS[name]
    loss = functools.partial(lambda bound, key, params, batch: -gaussian_bound(bound, key, params, size), bound)
    start = tuple(NET.init(key, jnp.ones((2, NUM_DIMENSIONS))) for key in jax.random.split(jax.random.key(0)))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, 3000))
    run = training.fit(
        jax.random.key(1), training.gradient_of(loss), optimizer, start, num_epochs=1, steps_per_epoch=3000
    )
    values = [float(gaussian_bound(bound, key, run.params, size)) for key in jax.random.split(jax.random.key(2), 50)]
    assert low < np.mean(values) < high
