"""Disentanglement of latents that are made to have it, or not to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import flows

NUM_SAMPLES, NUM_BINS = 4096, 8
FACTORS = jax.random.uniform(jax.random.key(0), (NUM_SAMPLES, 2))
NOISE = jax.random.normal(jax.random.key(1), (NUM_SAMPLES, 2))


def measured(*latents) -> flows.Disentanglement:
    """Of four latents, so that one program does for all."""
    return flows.disentanglement(jnp.stack(latents, axis=1), FACTORS, num_bins=NUM_BINS)


def test_each_latent_a_factor():
    found = measured(FACTORS[:, 0], NOISE[:, 0], FACTORS[:, 1] ** 3, NOISE[:, 1])
    # Bins of equal shares are the same before and after a monotonous function: all of the entropy is known, less what
    # independent numbers would have, (7 * 7) / (2 * 4096).
    known = np.log(NUM_BINS) - 49 / (2 * NUM_SAMPLES)
    expected = np.zeros((4, 2))
    expected[0, 0] = expected[2, 1] = known
    np.testing.assert_allclose(found.information, expected, atol=1e-5)
    np.testing.assert_allclose(found.gap, known / np.log(NUM_BINS), rtol=1e-5)
    np.testing.assert_allclose([found.disentanglement, *found.completeness], 1, atol=1e-5)
    assert float(found.explained[0]) > 0.99
    # A cube explains corr(u, u^3)^2 = (cov)^2 / (var var) = (3/40)^2 / ((1/12)(9/112)) = 0.84 of a uniform number.
    assert float(found.explained[1]) == pytest.approx(0.84, abs=0.02)


def test_two_latents_that_know_the_same():
    found = measured(FACTORS[:, 0], -FACTORS[:, 0], FACTORS[:, 1], NOISE[:, 1])
    assert float(found.gap[0]) < 0.01
    assert float(found.disentanglement) == pytest.approx(1, abs=1e-5)  # each of them knows of one factor only
    np.testing.assert_allclose(found.completeness, [1 - np.log(2) / np.log(4), 1], atol=1e-3)


def test_one_latent_that_knows_of_both():
    bins = jnp.floor(2 * FACTORS)
    both = 2 * bins[:, 0] + bins[:, 1]  # four values: one bit of each
    found = measured(both, NOISE[:, 0], NOISE[:, 1], jnp.zeros(NUM_SAMPLES))
    np.testing.assert_allclose(found.information[0], np.log(2), atol=0.01)
    assert float(found.disentanglement) < 1e-3
    np.testing.assert_allclose(found.gap, np.log(2) / np.log(NUM_BINS), atol=0.01)


def test_factors_in_another_order_are_the_null_control():
    order = jax.random.permutation(jax.random.key(5), NUM_SAMPLES)
    latents = jnp.stack([FACTORS[:, 0], NOISE[:, 0], FACTORS[:, 1], NOISE[:, 1]], axis=1)
    found = flows.disentanglement(latents, FACTORS[order], num_bins=NUM_BINS)
    np.testing.assert_array_equal(found.information, np.zeros((4, 2)))
    np.testing.assert_array_equal([*found.gap, *found.completeness, found.disentanglement], np.zeros(5))
    assert np.abs(np.asarray(found.explained)).max() < 0.01


@pytest.mark.parametrize(
    ("latents", "factors", "message"),
    [
        (FACTORS[:, 0], FACTORS, r"latents: expected \[num_samples, num_latents\]"),
        (FACTORS, FACTORS[:9], "factors: expected 4096 samples"),
        (FACTORS[:9], FACTORS[:9], "latents: expected 64 samples at least"),
        (FACTORS.at[0, 0].set(jnp.nan), FACTORS, "latents: expected finite"),
    ],
)
def test_other_samples_are_refused(latents, factors, message):
    with pytest.raises(ValueError, match=message):
        flows.disentanglement(latents, factors, num_bins=NUM_BINS)
