"""The laws of single sites: draws against their densities, proposals, mirror images, and what is refused."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxrg.models.sites import Circle, Sphere, States
from jaxrg.models.sites.angles import angle_of, vector_of, wrap_angles, wrap_near
from tests.rows import some_now

KEY = jax.random.key(3)
NUM_DRAWS = 2**20
SITES = jnp.arange(NUM_DRAWS, dtype=jnp.uint32)


@functools.partial(jax.jit, static_argnums=0)
def drawn(space, key, field):
    """Draws of as many sites in one field; that of a whole lattice of them is a leaf."""
    everywhere = jnp.broadcast_to(field[:, None], (field.size, NUM_DRAWS))
    return space.draw(key, SITES, everywhere)


def assert_law(values: np.ndarray, cumulative, num_bins: int = 64):
    """Chi-squared of the values in bins of equal probability, by the cumulative distribution in double precision."""
    counts = np.bincount(
        np.minimum((cumulative(np.asarray(values, float)) * num_bins).astype(int), num_bins - 1), minlength=num_bins
    )
    assert counts.sum() == NUM_DRAWS
    assert scipy.stats.chisquare(counts).pvalue > 1e-6


def assert_mean(values: np.ndarray, expected: float, variance: float | None = None):
    values = np.asarray(values, float)
    error = math.sqrt((values.var() if variance is None else variance) / values.size)
    assert abs(values.mean() - expected) < 5 * error + 3e-7 * abs(expected)


@pytest.mark.parametrize("kappa", some_now([1e-6, 0.1, 1.0, 4.5, 30.0, 1e3, 1e4], 1e-6, 1.0, 30.0, 1e4))
def test_angles_of_the_heat_bath_are_von_mises(kappa):
    direction = 2.5
    field = jnp.asarray([kappa * math.cos(direction), kappa * math.sin(direction)], jnp.float32)
    angles, status = drawn(Circle(), KEY, field)
    assert int(status) == 0
    assert np.all((angles >= -np.float32(np.pi)) & (angles < np.float32(np.pi)))
    turns = np.mod(np.asarray(angles, float) - direction + np.pi, 2 * np.pi) - np.pi
    assert_mean(np.cos(turns), scipy.special.ive(1, kappa) / scipy.special.ive(0, kappa))
    assert_mean(np.cos(2 * turns), scipy.special.ive(2, kappa) / scipy.special.ive(0, kappa))
    assert_mean(np.sin(turns), 0.0)
    # Of angles that are rounded to 2e-7 a narrow peak is seen in fewer bins.
    assert_law(turns, lambda x: scipy.stats.vonmises.cdf(x, kappa), 64 if kappa < 100 else 16)


def test_the_acceptance_of_angles_is_never_low():
    """Of Best and Fisher's proposals, by quadrature: the bound on their number cannot matter."""
    for kappa in np.geomspace(1e-6, 1e6, 25):
        middle = (1 + math.sqrt(1 + 4 * kappa**2)) / 2
        squared = middle / (middle + kappa) ** 2
        u = (np.arange(4000) + 0.5) / 4000
        tangent = squared * np.tan(np.pi * u / 2) ** 2
        least = (1 + 1 / (math.sqrt(1 + 4 * kappa**2) + 2 * kappa)) / 2
        c = least + kappa * 2 * tangent / (1 + tangent)
        probability = c * np.exp(1 - c)
        assert probability.max() <= 1 + 1e-12
        assert probability.mean() > 0.657


def langevin(kappa: float) -> float:
    return kappa / 3 if kappa < 1e-3 else 1 / math.tanh(kappa) - 1 / kappa


def cosine_law(kappa: float, height: np.ndarray) -> np.ndarray:
    """P(1 - cos θ < height)."""
    return height / 2 if kappa < 1e-7 else np.expm1(-kappa * height) / math.expm1(-2 * kappa)


@pytest.mark.parametrize("kappa", some_now([0.0, 1e-6, 1e-3, 0.5, 3.0, 40.0, 1e4], 0.0, 1e-3, 3.0, 1e4))
def test_vectors_of_the_heat_bath_have_their_density(kappa):
    direction = np.array([0.48, -0.6, -0.64])
    field = jnp.asarray(kappa * direction, jnp.float32)
    vectors, status = drawn(Sphere(), KEY, field)
    assert int(status) == 0
    vectors = np.asarray(vectors, float)
    np.testing.assert_allclose((vectors**2).sum(axis=0), 1, atol=1e-6)
    around = direction if kappa else np.array([0.0, 0.0, 1.0])
    # 1 - cos θ by the distance, which does not lose the digits of a narrow peak.
    height = ((vectors - around[:, None]) ** 2).sum(axis=0) / 2
    assert_law(np.minimum(cosine_law(kappa, height), 1), lambda x: x, 64 if kappa < 1e3 else 16)
    assert_mean(1 - height, langevin(kappa))
    across = np.cross(around, [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    azimuth = np.arctan2(across @ vectors, np.cross(around, across) @ vectors)
    assert_law((azimuth / (2 * np.pi)) % 1, lambda x: x)


@pytest.mark.parametrize("num_states", [2, 3, 17])
def test_states_of_the_heat_bath_have_their_weights(num_states):
    field = np.linspace(-2, 1, num_states)[np.random.default_rng(0).permutation(num_states)].astype(np.float32)
    states, _ = drawn(States(num_states), KEY, jnp.asarray(field))
    assert states.dtype == jnp.int8
    weights = np.exp(field.astype(float))
    expected = NUM_DRAWS * weights / weights.sum()
    assert scipy.stats.chisquare(np.bincount(states, minlength=num_states), expected).pvalue > 1e-6


@pytest.mark.parametrize("order", [(0, 1, 2), pytest.param((2, 1, 0), marks=pytest.mark.slow)])
def test_a_rare_state_is_drawn_as_often_as_it_should_be(order):
    """Far below the spacing 2^-24 of uniform numbers of single precision: 9e-9, 2.5 times in 2^28 draws."""
    field = jnp.asarray(np.array([0.0, -18.5, -60.0], np.float32)[list(order)])
    rare = int(np.argsort(order)[1])

    def count(total, key):
        everywhere = jnp.broadcast_to(field[:, None], (3, 2**16))
        states, _ = States(3).draw(key, SITES[: 2**16], everywhere)
        return total + jnp.sum(states == rare, dtype=jnp.int32), None

    keys = jax.random.split(jax.random.key(5), 2**12)
    total = int(jax.jit(lambda k: jax.lax.scan(count, jnp.int32(0), k)[0])(keys))
    expected = 2**28 * math.exp(-18.5)
    assert scipy.stats.poisson.sf(total - 1, expected) > 1e-6
    assert scipy.stats.poisson.cdf(total, expected) > 1e-6


@pytest.mark.parametrize("space", [States(2), States(5), Circle(), Sphere()], ids=str)
def test_proposals_are_even_and_differ_from_what_was(space):
    shape = (*space.value_shape, NUM_DRAWS)
    start = jnp.zeros(shape, jnp.int8 if space.is_integer else jnp.float32)
    if isinstance(space, Sphere):
        start = start.at[2].set(1.0)
    elif isinstance(space, States):
        start = start + jnp.int8(space.num_states - 1)
    found = np.asarray(jax.jit(space.propose)(KEY, SITES, start))
    if isinstance(space, States):
        counts = np.bincount(found, minlength=space.num_states)
        assert counts[space.num_states - 1] == 0
        assert scipy.stats.chisquare(counts[:-1]).pvalue > 1e-6 or space.num_states == 2
    elif isinstance(space, Circle):
        assert_law(found, lambda x: (x + np.pi) / (2 * np.pi))
    else:
        np.testing.assert_allclose((found**2).sum(axis=0), 1, atol=1e-6)
        for component in found:
            assert_law(np.clip((component + 1) / 2, 0, 1), lambda x: x)


@pytest.mark.parametrize("space", [Circle(), Sphere()], ids=str)
def test_a_mirror_image_keeps_its_weight_and_comes_back(space):
    rng = np.random.default_rng(4)
    num_components = space.field_shape[0]
    field = jnp.asarray(rng.normal(size=(num_components, 1000)) * np.geomspace(1e-3, 1e3, 1000), jnp.float32)
    field = field.at[:, 0].set(0.0)
    if isinstance(space, Circle):
        values = jnp.asarray(rng.uniform(-np.pi, np.pi, 1000), jnp.float32)
    else:
        vectors = rng.normal(size=(3, 1000))
        values = jnp.asarray(vectors / np.linalg.norm(vectors, axis=0), jnp.float32)
    image = jax.jit(space.mirror)(values, field)
    strength = np.linalg.norm(np.asarray(field), axis=0)
    assert np.all(np.abs(space.log_ratio(values, image, field)) <= 2e-6 * strength)
    back = np.asarray(jax.jit(space.mirror)(image, field))
    difference = back - values if isinstance(space, Sphere) else np.sin((back - values) / 2)
    assert np.abs(difference).max() < 2e-6
    assert np.abs(np.asarray(image) - values).max() > 1


def test_polynomials_are_the_functions_they_stand_for():
    angles = np.concatenate([np.linspace(-4 * np.pi, 4 * np.pi, 200_001), [0.0, np.pi, -np.pi, 100.0, -3000.0]])
    angles = angles.astype(np.float32)
    cosine, sine = jax.jit(vector_of)(jnp.asarray(angles))
    np.testing.assert_allclose(cosine, np.cos(angles.astype(float)), atol=1.5e-7)
    np.testing.assert_allclose(sine, np.sin(angles.astype(float)), atol=1.5e-7)
    size = np.random.default_rng(5).uniform(0.1, 10, angles.size).astype(np.float32)
    x, y = (size * np.cos(angles)).astype(np.float32), (size * np.sin(angles)).astype(np.float32)
    np.testing.assert_allclose(jax.jit(angle_of)(x, y), np.arctan2(y.astype(float), x.astype(float)), atol=4e-7)
    assert float(angle_of(jnp.float32(0), jnp.float32(0))) == 0.0
    assert float(angle_of(jnp.float32(0), jnp.float32(-2))) == np.float32(-np.pi / 2)
    near, whole = jax.jit(wrap_near)(jnp.asarray(angles[:-2])), wrap_angles(jnp.asarray(angles[:-2]))
    assert np.all((near >= -np.float32(np.pi)) & (near < np.float32(np.pi)))
    np.testing.assert_allclose(np.exp(1j * np.asarray(near, float)), np.exp(1j * np.asarray(whole, float)), atol=2e-6)


def test_draws_do_not_depend_on_how_many_sites_are_drawn_beside_them():
    """Lanes are a matter of speed alone: few sites have none, and many eight sites each."""
    field = jnp.asarray(np.random.default_rng(6).normal(size=(2, 3000)), jnp.float32)
    draw = jax.jit(lambda f, s: Circle().draw(KEY, s, f)[0])
    together = draw(field, SITES[:3000])
    np.testing.assert_allclose(draw(field[:, 7:507], SITES[7:507]), together[7:507], atol=1e-6)


def test_double_precision_stays(x64):
    field = jnp.asarray(np.random.default_rng(7).normal(size=(2, 50)))
    angles, _ = Circle().draw(KEY, SITES[:50], field)
    assert angles.dtype == jnp.float64
    image = Circle().mirror(angles, field)
    np.testing.assert_allclose(Circle().log_ratio(angles, image, field), 0, atol=1e-14)


REFUSED = [
    (lambda: States(1), "num_states: expected an integer >= 2, got 1"),
    (lambda: States(128), "num_states: expected at most 127"),
    (lambda: States(3).checked("spins", np.array([0, 3]), (2,)), "spins: expected states from 0 to 2, got 3"),
    (lambda: States(3).checked("spins", np.array([0.0, 1.0]), (2,)), "spins: expected states as integers"),
    (lambda: States(3).checked("spins", np.zeros(3, int), (2,)), r"spins: expected shape \(2,\), got \(3,\)"),
    (lambda: Circle().checked("field", np.zeros((2, 2)), (2,)), r"field: expected shape \(2,\)"),
    (lambda: Sphere().checked("field", np.ones((2, 3)), (2, 3)), "field: expected unit vectors, got one of length 1.7"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_values_that_a_site_does_not_have_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
