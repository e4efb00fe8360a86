"""Numbers of states of the torus: integers against enumeration, published ones and sums; energies against Kaufman."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact

KC = exact.critical_coupling


def enumerated(shape):
    """Numbers of states by a look at every state; sides of two have double bonds."""
    num_sites = shape[0] * shape[1]
    spins = (((np.arange(2**num_sites)[:, None] >> np.arange(num_sites)) & 1) * 2 - 1).reshape(-1, *shape)
    energies = -sum((spins * np.roll(spins, 1, axis)).sum((1, 2)) for axis in (1, 2))
    levels, rest = np.divmod(energies + 2 * num_sites, 4)
    assert not rest.any()
    return tuple(np.bincount(levels, minlength=num_sites + 1).tolist())


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (4, 3), (3, 5), (4, 4)])
def test_integers_are_those_of_enumeration(shape):
    assert exact.torus_state_counts(shape) == enumerated(shape)
    assert exact.torus_state_counts(shape[::-1]) == enumerated(shape)


# The lowest levels of the 8 x 8 and 32 x 32 tori: one spin over, two next to each other, and so on.
LOWEST = {8: (2, 0, 128, 256, 4672, 17920), 32: (2, 0, 2048, 4096, 1057792, 4218880)}


@pytest.mark.parametrize("size", [8, 9, 16, 32])
def test_all_states_are_counted(size):
    counts = exact.torus_state_counts((size, size))
    assert sum(counts) == 2**size**2
    assert all(count % 2 == 0 and count >= 0 for count in counts)
    assert counts[:6] == LOWEST.get(size, counts[:6])
    if size % 2 == 0:  # the sublattices may be turned over against each other
        assert counts == counts[::-1]
    else:
        assert counts[-size // 2 + 1 :] == (0,) * (size // 2)  # every row and column has a bond that is not satisfied


def test_states_of_low_energy_by_hand():
    """One spin of N; two neighbours; then two spins apart, three in a chain or four in a square."""
    for size in (6, 12):
        num_sites = size**2
        pairs = num_sites * (num_sites - 5) // 2
        by_hand = (2, 0, 2 * num_sites, 4 * num_sites, 2 * (pairs + 6 * num_sites + num_sites))
        assert exact.torus_state_counts((size, size))[:5] == by_hand


@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (16, 16), (2, 40)])
def test_energy_and_specific_heat_are_kaufmans(x64, shape):
    num_sites = shape[0] * shape[1]
    energies = np.arange(num_sites + 1) * 4 - 2 * num_sites
    for coupling in (1e-3, 0.2, KC, 0.9):
        probabilities = np.exp(exact.torus_energy_distribution(coupling, shape))
        np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-13)
        mean = probabilities @ energies
        np.testing.assert_allclose(mean / num_sites, exact.torus_energy(coupling, shape), rtol=1e-11)
        variance = probabilities @ (energies - mean) ** 2
        expected = exact.torus_specific_heat(coupling, shape)
        np.testing.assert_allclose(coupling**2 * variance / num_sites, expected, rtol=1e-9)


def test_frustrated_tori_take_negative_couplings(x64):
    counts = np.array(enumerated((3, 4)))
    weights = counts * np.exp(4 * 0.7 * np.arange(13))
    found = np.exp(exact.torus_energy_distribution(-0.7, (3, 4)))
    np.testing.assert_allclose(found, weights / weights.sum(), rtol=1e-12)


def test_single_precision_holds_what_it_says():
    with jax.enable_x64(True):
        expected = {size: np.exp(exact.torus_energy_distribution(KC, (size, size))) for size in (20, 32)}
    for size, tolerance in {20: 4e-5, 32: 8e-5}.items():
        found = np.exp(exact.torus_energy_distribution(np.float32(KC), (size, size)))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[size], rtol=tolerance, atol=1e-9)


def test_a_slope_in_the_coupling_is_a_covariance(x64):
    shape = (4, 4)
    levels = 4.0 * np.arange(17)
    log_probabilities, slope = jax.jvp(lambda k: exact.torus_energy_distribution(k, shape), (0.4,), (1.0,))
    mean = np.exp(log_probabilities) @ levels
    is_level = np.isfinite(log_probabilities)
    np.testing.assert_allclose(slope[is_level], (mean - levels)[is_level], rtol=1e-12)


def test_wrong_arguments_are_refused():
    for shape, message in {
        (4, 4, 4): "2 sides, got 3",
        (1, 4): ">= 2, got 1",
        (65, 64): "at most 4096 sites, got 4160",
    }.items():
        with pytest.raises(ValueError, match=f"shape: expected .*{message}"):
            exact.torus_state_counts(shape)
        with pytest.raises(ValueError, match=f"shape: expected .*{message}"):
            exact.torus_energy_distribution(0.4, shape)
    with pytest.raises(ValueError, match="coupling: expected finite"):
        exact.torus_energy_distribution(jnp.nan, (4, 4))
    with pytest.raises(ValueError, match=r"coupling: expected shape \(\), got \(2,\)"):
        exact.torus_energy_distribution(jnp.ones(2), (4, 4))


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((64, 64), marks=pytest.mark.exhaustive),
        pytest.param((61, 67), marks=pytest.mark.slow),
        pytest.param((2, 2048), marks=pytest.mark.slow),
    ],
)
def test_the_largest_tori(shape):
    """Primes suffice up to the limit, also where a side is one itself."""
    counts = exact.torus_state_counts(shape)
    assert sum(counts) == 2 ** (shape[0] * shape[1])
    assert counts[:3] == (2, 0, 2 * shape[0] * shape[1]) or shape[0] == 2
