"""Translation-invariant machines: weights by loops, their symmetry, and gradients through what builds a machine."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrg import rbm, training
from jaxrg.rbm.exact import visible_energies
from jaxrg.tables import all_spins


def random_filters(num_filters: int, *widths: int, seed: int = 0) -> rbm.Filters:
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=(num_filters, *widths))
    return rbm.Filters(*(jnp.asarray(part, jnp.float32) for part in (weights, 0.2, generator.normal(size=num_filters))))


@pytest.mark.parametrize(("shape", "widths", "stride"), [((3, 4), (2, 3), 1), ((4, 6), (2, 2), 2), ((4, 4), (3, 3), 2)])
def test_weights_are_those_of_filters_at_every_place(shape, widths, stride):
    filters = random_filters(2, *widths)
    machine = rbm.convolutional(filters, shape, stride=stride)
    places = list(itertools.product(*(range(0, side, stride) for side in shape)))
    expected = np.zeros((*shape, 2, len(places)))
    for k, (number, place) in itertools.product(range(2), enumerate(places)):
        for offset in itertools.product(*map(range, widths)):
            site = tuple((p + d) % side for p, d, side in zip(place, offset, shape, strict=True))
            expected[(*site, k, number)] += filters.weights[(k, *offset)]
    np.testing.assert_array_equal(machine.weights, expected.reshape(np.prod(shape), -1))
    np.testing.assert_array_equal(machine.visible_bias, np.full(np.prod(shape), np.float32(0.2)))
    np.testing.assert_array_equal(machine.hidden_bias, np.repeat(np.asarray(filters.hidden_bias), len(places)))


def test_the_distribution_is_invariant_under_translations():
    machine = rbm.convolutional(random_filters(2, 2, 2), (2, 4))
    energies = np.asarray(visible_energies(machine))
    states = np.asarray(all_spins(8)).reshape(-1, 2, 4)
    moved = (np.roll(states, (1, 1), (1, 2)).reshape(-1, 8) > 0) @ 2 ** np.arange(8)
    np.testing.assert_allclose(energies[moved], energies, atol=2e-5)
    assert np.ptp(energies) > 1


def test_gradients_through_the_filters_are_exact_and_learn():
    build = functools.partial(rbm.convolutional, shape=(2, 3))
    filters = random_filters(2, 2, 2)
    data = all_spins(6)[::5]
    found, *_ = rbm.through(rbm.likelihood_gradient, build)(jax.random.key(0), filters, None, data)
    expected = jax.grad(lambda filters: rbm.negative_log_likelihood(build(filters), data))(filters)
    for leaf, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(leaf, value, atol=1e-5)
    teacher = rbm.convolutional(random_filters(1, 2, 2, seed=5), (2, 3))
    weights = rbm.visible_distribution(teacher)
    gradient_fn = rbm.through(rbm.likelihood_gradient, build)
    run = training.fit(
        jax.random.key(1),
        gradient_fn,
        optax.adam(0.05),
        filters,
        all_spins(6),
        weights=weights,
        num_epochs=300,
        batch_size=64,
    )
    losses = run.metrics["negative_log_likelihood"]
    entropy = -float(jnp.sum(weights * jnp.log(weights)))
    assert losses[0] - entropy > 0.3
    assert losses[-1] - entropy < 0.01


def test_wrong_filters_are_refused():
    filters = random_filters(2, 2, 2)
    for wrong, shape, stride, message in (
        (filters, (4,), 1, r"weights \[num_filters, \*sides\] inside \(4,\)"),
        (filters, (1, 4), 1, "inside"),
        (filters, (4, 4), 3, "stride: expected a divisor"),
        (filters._replace(hidden_bias=jnp.zeros(3)), (4, 4), 1, "hidden_bias"),
        (filters.weights, (4, 4), 1, "expected Filters"),
        (filters._replace(weights=jnp.zeros((2, 0, 2))), (4, 4), 1, "inside"),
    ):
        with pytest.raises(ValueError, match=message):
            rbm.convolutional(wrong, shape, stride=stride)
    with pytest.raises(ValueError, match="build: expected a function"):
        rbm.through(rbm.likelihood_gradient, None)
