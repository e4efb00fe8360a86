"""Levels under a density of real numbers: bounds exact where they can be, and noise that learns to get there."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import flows, training
from jaxrg.base import Bijector, Density
from jaxrg.flows.images import ImageParams

UNIFORM = flows.images.uniform_dequantisation()
TABLE = np.random.default_rng(0).dirichlet(np.ones(16)).reshape(4, 4)  # P of two pixels of four levels
PAIRS = jnp.asarray(list(itertools.product(range(4), repeat=2)), jnp.int32)
PLACE, WIDTH = jnp.array([0.7, -1.2, 0.3]), jnp.array([0.4, 1.6, 0.9])  # of the noise in each of three levels
SHARES = jnp.array([0.2, 0.5, 0.3])
PIXELS = jnp.arange(3, dtype=jnp.int32)[:, None, None, None]  # images of one pixel


def steps_of(params, values):
    """A density that is constant within each pair of levels."""
    cells = jnp.floor(4 * values).astype(jnp.int32)
    return jnp.log(16 * jnp.asarray(TABLE, jnp.float32))[cells[:, 0], cells[:, 1]]


def logit_logistic(values, place, width):
    """ln of the density of sigmoid(place + width * noise) for logistic noise."""
    logits = jnp.log(values) - jnp.log1p(-values)
    base = (logits - place) / width
    slope = jax.nn.log_sigmoid(base) + jax.nn.log_sigmoid(-base) - jnp.log(width)
    return slope - jnp.log(values) - jnp.log1p(-values)


def humps(params, values):
    """A hump within each of three levels, which a logistic noise can follow exactly."""
    scaled = 3 * values[:, 0, 0, 0]
    level = jnp.clip(jnp.floor(scaled).astype(jnp.int32), 0, 2)
    inside = jnp.clip(scaled - level.astype(scaled.dtype), 1e-6, 1 - 1e-6)
    return jnp.log(3 * SHARES)[level] + logit_logistic(inside, PLACE[level], WIDTH[level])


def by_level(params, event, sign):
    """place + width * noise, both looked up by level: a conditional flow that a test can set."""
    values, condition = event
    place, log_width = (params[name][jnp.round(condition + 1).astype(jnp.int32)] for name in ("place", "log_width"))
    moved = place + jnp.exp(log_width) * values if sign > 0 else (values - place) * jnp.exp(-log_width)
    return (moved, condition), sign * jnp.sum(log_width, axis=(0, 1, 2))


LEARNED = flows.images.variational_dequantisation(
    Bijector(
        lambda key: {"place": jnp.zeros(3), "log_width": jnp.zeros(3)},
        lambda params, event: by_level(params, event, 1),
        lambda params, event: by_level(params, event, -1),
    )
)
STEPS, HUMPS = (Density(lambda key: (), lambda *_: None, fn) for fn in (steps_of, humps))  # type: ignore[arg-type]


def bits(density, dequantisation, params, levels, num_levels, **options):
    params = ImageParams((), params)
    return flows.images.bits_per_dimension(
        jax.random.key(1), density, dequantisation, params, levels, num_levels=num_levels, **options
    )


def test_bits_of_a_known_distribution_are_exact():
    found = bits(STEPS, UNIFORM, (), PAIRS, 4, batch_size=7)  # the last batch is not full
    np.testing.assert_allclose(found.of_images, -np.log2(TABLE.ravel()) / 2, rtol=1e-5)
    np.testing.assert_allclose(found.mean, np.mean(-np.log2(TABLE)) / 2, rtol=1e-5)
    np.testing.assert_allclose(found.error, np.std(np.log2(TABLE) / 2, ddof=1) / 4, rtol=1e-5)
    # Weighted by P they are the entropy of the distribution.
    entropy = -np.sum(TABLE * np.log2(TABLE)) / 2
    np.testing.assert_allclose(np.sum(TABLE.ravel() * np.asarray(found.of_images)), entropy, rtol=1e-5)


def test_the_metric_of_training_is_the_same_number():
    gradient_fn = flows.images.image_likelihood(STEPS, UNIFORM, num_levels=4)
    _, _, metrics = gradient_fn(jax.random.key(0), ImageParams((), ()), None, PAIRS)
    np.testing.assert_allclose(metrics["bits_per_dimension"], np.mean(-np.log2(TABLE)) / 2, rtol=1e-5)


def test_uniform_noise_gives_a_bound_that_many_draws_close():
    exact = -np.log2(SHARES)
    inside = (jnp.arange(10_000, dtype=jnp.float32)[:, None] + 0.5) / 10_000
    expected = exact - np.asarray(logit_logistic(inside, PLACE[None], WIDTH[None])).mean(0) / np.log(2)
    assert (expected > exact + 0.02).all()
    levels = jnp.repeat(PIXELS, 1000, axis=0)
    one = np.asarray(bits(HUMPS, UNIFORM, (), levels, 3, batch_size=3000).of_images).reshape(3, -1)
    assert (np.abs(one.mean(1) - expected) < 5 * one.std(1) / 1000**0.5).all()
    many = bits(HUMPS, UNIFORM, (), PIXELS, 3, num_draws=20_000)
    np.testing.assert_allclose(many.of_images, exact, atol=0.05)


def test_the_noise_of_the_density_itself_makes_the_bound_exact_for_every_draw():
    params = {"place": PLACE, "log_width": jnp.log(WIDTH)}
    np.testing.assert_allclose(bits(HUMPS, LEARNED, params, PIXELS, 3).of_images, -np.log2(SHARES), atol=1e-4)


def test_learned_noise_starts_uniform_and_is_normalised():
    levels = jnp.repeat(PIXELS, 2000, axis=0)
    start = LEARNED.init(jax.random.key(0))
    noise, log_prob = LEARNED.sample(jax.random.key(1), start, levels, 3)
    np.testing.assert_allclose(log_prob, np.zeros(6000), atol=1e-5)
    assert abs(float(noise.mean()) - 0.5) < 5 / (12 * 6000) ** 0.5
    # E_q[1 / q] is the length of the interval that noise is on, for any q.
    params = {"place": PLACE, "log_width": jnp.log(jnp.array([1.0, 1.3, 1.6]))}
    noise, log_prob = LEARNED.sample(jax.random.key(1), params, levels, 3)
    inverse = np.exp(-np.asarray(log_prob)).reshape(3, -1)
    assert (np.abs(inverse.mean(1) - 1) < 5 * inverse.std(1) / 2000**0.5).all()
    expected = logit_logistic(noise.ravel(), *(jnp.repeat(x, 2000) for x in (PLACE, jnp.exp(params["log_width"]))))
    np.testing.assert_allclose(log_prob, expected, atol=2e-3)


def test_training_the_noise_closes_the_bound():
    gradient_fn = flows.images.image_likelihood(HUMPS, LEARNED, num_levels=3)
    start = ImageParams((), LEARNED.init(jax.random.key(0)))
    data = jnp.repeat(PIXELS, 100, axis=0)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 240))
    run = training.fit(jax.random.key(2), gradient_fn, optimizer, start, data, num_epochs=80, batch_size=100)
    np.testing.assert_allclose(run.params.dequantisation["place"], PLACE, atol=0.1)
    np.testing.assert_allclose(jnp.exp(run.params.dequantisation["log_width"]), WIDTH, rtol=0.1)
    assert float(run.metrics["bits_per_dimension"][0]) > float(run.metrics["bits_per_dimension"][-1]) + 0.1
    np.testing.assert_allclose(run.metrics["bits_per_dimension"][-1], -np.log2(SHARES).mean(), atol=0.01)


def test_extreme_noise_stays_finite():
    params = {"place": jnp.array([1e4, -1e4, 0.0]), "log_width": jnp.array([0.0, 5.0, -20.0])}
    noise, log_prob = LEARNED.sample(jax.random.key(1), params, jnp.repeat(PIXELS, 50, axis=0), 3)
    assert bool(jnp.isfinite(log_prob).all())
    assert float(noise.min()) >= 0
    assert float(noise.max()) <= 1


def test_levels_and_grey_values_go_over_into_each_other():
    levels = jnp.arange(256, dtype=jnp.uint8)
    np.testing.assert_array_equal(flows.images.nearest_levels(levels.astype(jnp.float32) / 255), levels)
    for noise in (0.0, 0.999):
        np.testing.assert_array_equal(flows.images.quantised((levels.astype(jnp.float32) + noise) / 256), levels)
    np.testing.assert_array_equal(
        flows.images.quantised(jnp.array([-jnp.inf, jnp.nan, jnp.inf]), num_levels=5), [0, 0, 4]
    )
    with pytest.raises(ValueError, match=r"images: expected grey levels from 0 to 1, got 0\.0 to 255\.0"):
        flows.images.nearest_levels(jnp.array([0.0, 255.0]))


def test_signal_to_noise_by_hand():
    reference = jnp.zeros((2, 2, 2))
    images = reference.at[0, 0, 0].set(2.0)  # a squared error of 4 in one pixel of four
    np.testing.assert_allclose(
        flows.images.peak_signal_to_noise(images, reference, peak=10.0), [20.0, np.inf], rtol=1e-6
    )
    with pytest.raises(ValueError, match="reference: expected shape"):
        flows.images.peak_signal_to_noise(images, reference[:1])


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (jnp.zeros((4, 2)), "levels: expected integers"),
        (jnp.full((4, 2), 4), "levels: expected integers from 0 to 3, got 4"),
        (jnp.zeros((1, 2), jnp.int32), "levels: expected two images"),
        (jnp.zeros(4, jnp.int32), "levels: expected images"),
    ],
)
def test_other_numbers_than_levels_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        bits(STEPS, UNIFORM, (), levels, 4)


def test_other_parts_are_refused():
    with pytest.raises(ValueError, match="params: expected ImageParams"):
        flows.images.bits_per_dimension(jax.random.key(0), STEPS, UNIFORM, (), PAIRS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dequantisation: expected a Dequantisation with init and sample"):
        flows.images.image_likelihood(STEPS, jnp.tanh)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="flow: expected a Bijector"):
        flows.images.variational_dequantisation(jnp.tanh)  # type: ignore[arg-type]
