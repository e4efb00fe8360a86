"""Information by counting against sums over all values, and by theorems; bounds with noise against quadrature."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg.explain import information
from jaxrg.explain.information import noise

KEY = jax.random.key(0)
PATTERNS = ((np.arange(64)[:, None] >> np.arange(6)) & 1) * 2.0 - 1


def brute_force(rows):
    """Entropy in bits of the rows of a list."""
    _, counts = np.unique(np.asarray(rows).reshape(len(rows), -1), axis=0, return_counts=True)
    shares = counts / len(rows)
    return -(shares * np.log2(shares)).sum()


def layers(seed):
    """Values of a ReLU network on all patterns, in which deeper units map more and more inputs to zero."""
    random, values, found = np.random.default_rng(seed), PATTERNS, []
    for width in (5, 3, 2):
        values = np.maximum(values @ random.normal(size=(values.shape[1], width)), 0).astype(np.float32)
        found.append(values)
    return found


def test_one_to_one_maps_keep_everything_and_constants_nothing():
    for num_inputs in (64, 37):
        values = jax.random.normal(KEY, (num_inputs, 3))
        assert float(information.entropy_bits(values)) == pytest.approx(np.log2(num_inputs), abs=1e-6)
        assert float(information.entropy_bits(jnp.ones((num_inputs, 3)))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.int32, np.uint8, np.bool_])
def test_counting_agrees_with_brute_force(dtype):
    values = np.random.default_rng(1).integers(0, 3, (64, 3)).astype(dtype)
    labels = np.random.default_rng(2).integers(-4, 3, 64)
    both = np.concatenate([values.astype(int), labels[:, None]], axis=1)
    assert float(information.entropy_bits(values)) == pytest.approx(brute_force(values), abs=1e-5)
    expected = brute_force(values) + brute_force(labels) - brute_force(both)
    assert float(information.information_bits(values, labels)) == pytest.approx(expected, abs=1e-5)


def test_one_bit_in_the_last_place_is_a_difference(x64):
    near = np.nextafter(np.float32(1), np.float32(2))
    assert float(information.entropy_bits(np.array([1, near], np.float32))) == 1
    wide = np.array([1.0, np.nextafter(1.0, 2.0)])  # alike in single precision
    assert float(information.entropy_bits(wide)) == 1
    assert float(information.entropy_bits(wide.astype(np.float32))) == 0
    assert float(information.entropy_bits(np.array([2**40, 2**40 + 2**33]))) == 1


def test_numpys_doubles_keep_their_bits_without_those_of_jax():
    wide = np.array([[1.0, 0.0], [np.nextafter(1.0, 2.0), 0.0], [1.0, -0.0], [1.0, 1e300]])
    assert float(information.entropy_bits(wide)) == pytest.approx(1.5, abs=1e-6)
    assert float(information.information_bits(wide, [0, 1, 0, 0])) == pytest.approx(brute_force([0, 1, 0, 0]), abs=1e-6)
    assert float(information.entropy_bits(wide[:3].astype(np.float32))) == pytest.approx(0, abs=1e-6)
    assert float(information.entropy_bits(wide[::2, ::-1].T)) == pytest.approx(1, abs=1e-6)
    assert np.isnan(information.entropy_bits(np.where(wide == 1e300, np.nan, wide)))


def test_rows_differ_by_the_places_of_their_values():
    """Entries that are exchanged, or that would cancel in a sum, are other rows; many zero bits are no trouble."""
    values = np.array([[1, 2, 3], [3, 2, 1], [2, 1, 3], [0, 3, 3], [3, 3, 0], [1, 2, 3]], np.float32)
    assert float(information.entropy_bits(values)) == pytest.approx(brute_force(values), abs=1e-6)
    assert float(information.entropy_bits(PATTERNS)) == 6
    assert float(information.entropy_bits(2.0 ** np.arange(-60, 60).astype(np.float32))) == pytest.approx(
        np.log2(120), abs=1e-6
    )


def test_processing_loses_information_and_invertible_maps_none():
    labels = (PATTERNS[:, 0] * PATTERNS[:, 1] > 0).astype(int)
    for seed in range(3):
        before, about_before = 6.0, 1.0
        for values in layers(seed):
            entropy, about = information.entropy_bits(values), information.information_bits(values, labels)
            assert entropy <= before + 1e-5
            assert about <= about_before + 1e-5
            assert about <= min(float(entropy), 1) + 1e-5
            for same in (2 * values, -values[:, ::-1], np.concatenate([values, values], axis=1)):
                assert float(information.entropy_bits(same)) == pytest.approx(float(entropy), abs=1e-6)
            before, about_before = entropy, about
        assert before < 5.9  # something was lost


def test_both_zeros_are_one_value_and_nan_is_none():
    assert float(information.entropy_bits(jnp.array([0.0, -0.0]))) == 0
    broken = jnp.ones((4, 2)).at[2, 1].set(jnp.nan)
    assert np.isnan(information.entropy_bits(broken))
    assert np.isnan(information.information_bits(broken, jnp.arange(4)))
    assert np.isnan(information.binned(broken, 3, lower=0.0, upper=1.0)[2, 1])
    assert float(information.entropy_bits(jnp.array([jnp.inf, -jnp.inf]))) == 1


def test_runs_are_mapped_over():
    values = np.random.default_rng(3).integers(0, 2, (5, 64, 4)).astype(np.float32)
    found = jax.jit(jax.vmap(information.entropy_bits))(values)
    np.testing.assert_allclose(found, [brute_force(rows) for rows in values], atol=1e-5)


def test_rows_that_share_a_hash_are_not_taken_for_equal(monkeypatch):
    from jaxrg.explain.information import counting

    monkeypatch.setattr(counting, "_hash", lambda words, *_: jnp.zeros(len(words), jnp.uint32))
    entropies = lambda rows: counting._entropies(rows, jnp.zeros(len(rows), jnp.int32))[0]  # noqa: E731
    assert np.isnan(entropies(jnp.array([[1.0], [2.0], [1.0]])))
    assert float(entropies(jnp.ones((3, 1)))) == pytest.approx(0, abs=1e-6)


def test_bins_are_of_equal_width_and_take_what_is_outside():
    values = jnp.array([-9.0, -1.0, -0.51, -0.49, 0.0, 0.99, 1.0, 9.0])
    found = information.binned(values, 4, lower=-1.0, upper=1.0)
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 2, 3, 3, 3])
    per_unit = information.binned(jnp.array([[0.0, 0.0], [1.0, 1.0]]), 4, lower=jnp.array([0.0, -3.0]), upper=1.0)
    np.testing.assert_array_equal(per_unit, [[0, 3], [3, 3]])
    rows = jnp.tanh(jax.random.normal(KEY, (64, 2)))
    entropies = [information.entropy_bits(information.binned(rows, n, lower=-1.0, upper=1.0)) for n in (1, 2, 8, 4096)]
    assert float(entropies[0]) == pytest.approx(0, abs=1e-6)
    assert all(fine >= coarse for coarse, fine in itertools.pairwise(entropies))
    assert float(entropies[-1]) == pytest.approx(6, abs=1e-5)


def quadrature(means, variance):
    """I(X; T) in bits of means on a line with Gaussian noise."""
    grid = np.linspace(means.min() - 9 * variance**0.5, means.max() + 9 * variance**0.5, 20001)
    densities = np.exp(-((grid - means[:, None]) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    density = densities.mean(0)
    entropy = -np.trapezoid(np.where(density > 0, density * np.log2(np.maximum(density, 1e-300)), 0), grid)
    return entropy - 0.5 * np.log2(2 * np.pi * np.e * variance)


@pytest.mark.parametrize("variance", [0.01, 0.3, 3.0])
def test_information_with_noise_against_quadrature(variance):
    means = np.array([-1.0, -0.8, 0.1, 0.1, 0.9, 2.0])
    found = information.noisy_information_bits(KEY, means, variance, num_draws=4000)
    exact = quadrature(means, variance)
    assert abs(float(found.value) - exact) < 5 * float(found.error) + 1e-5
    assert float(found.error) < 0.01
    assert float(found.lower) - 1e-5 <= exact <= float(found.upper) + 1e-5
    squares = (means[:, None] - means) ** 2 / variance
    bounds = [-np.log2(np.exp(-squares / scale).mean(1)).mean() for scale in (8, 2)]
    np.testing.assert_allclose([found.lower, found.upper], bounds, atol=1e-5)


def test_noise_that_vanishes_leaves_the_entropy_and_noise_that_grows_leaves_nothing():
    values = jnp.array([[0.0, 1.0], [0.0, 1.0], [2.0, 1.0], [2.0, 3.0]])
    entropy = float(information.entropy_bits(values))
    for variance, expected in ((1e-6, entropy), (1e6, 0.0)):
        found = information.noisy_information_bits(KEY, values, variance, num_draws=200)
        np.testing.assert_allclose([found.lower, found.upper], expected, atol=1e-4)
        assert abs(float(found.value) - expected) < 5 * float(found.error) + 1e-4


def test_small_noise_on_large_values_is_resolved_in_single_precision():
    """Pairs about as near as the noise, far from zero and from each other, against float64."""
    random = np.random.default_rng(4)
    values = (np.repeat(random.normal(size=(20, 5)), 2, axis=0) + 1e-3 * random.normal(size=(40, 5)) + 30).astype(
        np.float32
    )
    squares = ((values[:, None].astype(float) - values) ** 2).sum(-1) / 1e-6
    bounds = [-np.log2(np.exp(-squares / scale).mean(1)).mean() for scale in (8, 2)]
    found = information.noisy_information_bits(KEY, values, 1e-6, num_draws=400)
    np.testing.assert_allclose([found.lower, found.upper], bounds, atol=2e-5)
    with jax.enable_x64(True):
        exact = information.noisy_information_bits(KEY, values.astype(float), 1e-6, num_draws=400)
    assert abs(float(found.value) - float(exact.value)) < 5 * np.hypot(float(found.error), float(exact.error))
    assert found.error < 0.01


def test_memory_does_not_hold_all_differences():
    values = jnp.zeros((128, 512))
    program = noise._noisy_information.lower(KEY, values, jnp.float32(1), num_draws=2).compile()
    memory = program.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < 12 * values.nbytes  # all differences of 64 rows are 64 times the values


def test_errors_of_the_estimate_hold():
    means = jnp.array([0.0, 0.5, 1.0, 3.0])
    exact = quadrature(np.asarray(means), 0.5)
    draw = jax.jit(jax.vmap(lambda key: information.noisy_information_bits(key, means, 0.5, num_draws=20)))
    found = draw(jax.random.split(KEY, 400))
    z = (np.asarray(found.value) - exact) / np.asarray(found.error)
    assert abs(z.mean()) < 5 / 20
    assert 0.85 < z.std() < 1.2


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"values: expected \[num_inputs, ...\], got shape \(\)"):
        information.entropy_bits(1.0)
    with pytest.raises(ValueError, match=r"values: expected \[num_inputs, ...\], got shape \(0, 3\)"):
        information.entropy_bits(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="values: expected real numbers"):
        information.entropy_bits(np.zeros(3, complex))
    with pytest.raises(ValueError, match=r"labels: expected shape \(4,\), got \(3,\)"):
        information.information_bits(np.zeros(4), [0, 1, 1])
    with pytest.raises(ValueError, match="labels: expected integers"):
        information.information_bits(np.zeros(3), [0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="num_bins: expected an integer >= 1, got 0"):
        information.binned(np.zeros(3), 0, lower=0.0, upper=1.0)
    with pytest.raises(ValueError, match="lower, upper: expected lower < upper"):
        information.binned(np.zeros(3), 2, lower=1.0, upper=1.0)
    with pytest.raises(ValueError, match=r"noise_variance: expected a number between 0 and inf, got 0\.0"):
        information.noisy_information_bits(KEY, np.zeros(3), 0.0)
    with pytest.raises(ValueError, match="num_draws: expected an integer >= 2, got 1"):
        information.noisy_information_bits(KEY, np.zeros(3), 1.0, num_draws=1)
    with pytest.raises(ValueError, match="key: expected a typed key"):
        information.noisy_information_bits(jnp.zeros(2), np.zeros(3), 1.0)
