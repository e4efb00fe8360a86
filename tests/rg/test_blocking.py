import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import rg


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


def test_bad_blocks_are_refused():
    fine = jnp.ones((4, 4), jnp.int8)
    with pytest.raises(ValueError, match=r"spins \+1 or -1, got 0"):
        rg.majority(jax.random.key(0), 0 * fine)
    for block in (lambda: rg.majority(jax.random.key(0), fine, 3), lambda: rg.decimate(fine, 3)):
        with pytest.raises(ValueError, match=r"block: expected a divisor of every side of \(4, 4\), got 3"):
            block()
