import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import lattice, models, rg, samplers


def blocks_by_hand(spins, block):
    side = spins.shape[0] // block
    return np.array([[spins[block * i :, block * j :][:block, :block].sum() for j in range(side)] for i in range(side)])


def test_majority_follows_the_sum_and_tosses_a_coin_on_ties():
    spins = jnp.asarray(np.random.default_rng(0).choice([-1, 1], (64, 64)).astype(np.int8))
    sums = blocks_by_hand(np.asarray(spins), 2)
    first, second = (np.asarray(rg.majority(jax.random.key(seed), spins)) for seed in (0, 1))
    decided = sums != 0
    np.testing.assert_array_equal(first[decided], np.sign(sums[decided]))
    ties = first[~decided]
    assert abs(ties.mean()) < 5 / np.sqrt(ties.size)
    assert 0.3 < (first[~decided] != second[~decided]).mean() < 0.7
    np.testing.assert_array_equal(first[decided], second[decided])


def test_majority_of_odd_blocks_needs_no_coin():
    spins = jnp.asarray(np.random.default_rng(1).choice([-1, 1], (9, 9)).astype(np.int8))
    np.testing.assert_array_equal(
        rg.majority(jax.random.key(0), spins, 3), np.sign(blocks_by_hand(np.asarray(spins), 3))
    )


def test_decimation_keeps_one_site_of_each_block():
    spins = jnp.arange(16).reshape(4, 4)
    assert rg.decimate(spins).tolist() == [[0, 2], [8, 10]]


def test_an_axis_of_a_batch_is_no_axis_of_the_lattice():
    batch, key = jnp.ones((64, 8, 8), jnp.int8), jax.random.key(0)
    for block in (rg.decimate, lambda spins, *sides: rg.majority(key, spins, *sides)):
        with pytest.raises(ValueError, match=r"spins: expected one configuration with 2 axes, .*jax.vmap"):
            block(batch)
        with pytest.raises(ValueError, match=r"spins: expected one configuration with 2 axes"):
            block(jnp.ones((8, 8, 8), jnp.int8))
        assert jax.vmap(block)(batch).shape == (64, 4, 4)
        assert block(batch, (2, 2, 2)).shape == (32, 4, 4)
        assert block(jnp.ones(6, jnp.int8), (3,)).shape == (2,)
        with pytest.raises(ValueError, match=r"block: expected equal sides, got \(2, 4\)"):
            block(jnp.ones((8, 8), jnp.int8), (2, 4))


def test_ties_without_a_key_follow_a_rule_that_an_observable_can_use():
    spins = np.random.default_rng(2).choice([-1, 1], (8, 8)).astype(np.int8)
    sums = blocks_by_hand(spins, 2)
    expected = np.where(sums == 0, spins[::2, ::2], np.sign(sums))
    assert (sums == 0).any()
    np.testing.assert_array_equal(rg.majority(None, spins), expected)
    np.testing.assert_array_equal(rg.majority(None, -spins), -expected)
    sampler = samplers.heat_bath(models.Ising(lattice.hypercubic((4, 4)), 0.4))
    state = sampler.init(jax.random.key(0))
    trace = samplers.run(jax.random.key(1), sampler, state, 3, observe=lambda s: rg.majority(None, s)).trace
    assert trace.shape == (1, 3, 2, 2)


def test_bad_blocks_are_refused():
    fine = jnp.ones((4, 4), jnp.int8)
    with pytest.raises(ValueError, match=r"spins \+1 or -1, got 0"):
        rg.majority(jax.random.key(0), 0 * fine)
    for block in (lambda: rg.majority(jax.random.key(0), fine, 3), lambda: rg.decimate(fine, 3)):
        with pytest.raises(ValueError, match=r"block: expected a divisor of every side of \(4, 4\), got 3"):
            block()
