"""The optimum of what learns phases, against sums over all values and brute force over all classifiers."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrg import exact

TEMPERATURES = np.linspace(1.0, 3.5, 101)
IS_DISORDERED = (TEMPERATURES * exact.critical_coupling > 1).astype(int)


@functools.cache
def table(size):
    """ln P(E | T) of the torus."""
    distribution = lambda temperature: exact.torus_energy_distribution(1 / temperature, (size, size))  # noqa: E731
    return jax.vmap(distribution)(jnp.asarray(TEMPERATURES, jnp.float32))


@pytest.fixture
def small():
    """Four parameters, five values, one of which cannot come up at two of them."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(5), 4)
    probabilities[:2, 4] = 0
    probabilities /= probabilities.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        return probabilities, np.log(probabilities), np.array([1.0, 0.5, 0.0, 2.0])


def test_no_classifier_of_all_there_are_is_better(small):
    probabilities, logs, weights = small
    labels = np.array([0, 1, 1, 2])
    found = exact.optimal_classifier(logs, labels, num_classes=3, weights=weights)
    shares = weights / weights.sum()
    accuracies = {
        choice: sum(shares[i] * probabilities[i, x] for i in range(4) for x in range(5) if choice[x] == labels[i])
        for choice in itertools.product(range(3), repeat=5)
    }
    assert float(found.accuracy) == pytest.approx(max(accuracies.values()), abs=1e-6)
    best = np.array(max(accuracies, key=accuracies.__getitem__))
    np.testing.assert_array_equal(np.argmax(found.posterior, axis=1), best)
    np.testing.assert_allclose(found.accuracies, (probabilities * (best == labels[:, None])).sum(1), atol=1e-6)
    np.testing.assert_allclose(shares @ np.asarray(found.accuracies), found.accuracy, atol=1e-6)


def test_outputs_are_means_of_the_posterior(small):
    probabilities, logs, weights = small
    labels = np.array([0, 0, 1, 1])
    found = exact.optimal_classifier(logs, labels, weights=weights)
    joint = np.stack([(weights * (labels == c)) @ probabilities for c in (0, 1)], axis=1)
    posterior = joint / joint.sum(1, keepdims=True)
    np.testing.assert_allclose(found.posterior, posterior, atol=1e-6)
    np.testing.assert_allclose(found.outputs, probabilities @ posterior, atol=1e-6)


def test_confusion_is_the_accuracy_of_every_cut(small):
    _, logs, weights = small
    found = exact.optimal_confusion(logs, weights=weights)
    expected = [
        exact.optimal_classifier(logs, (np.arange(4) >= cut).astype(int), weights=weights).accuracy for cut in range(5)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found[jnp.array([0, -1])], 1, atol=1e-6)


def test_the_predictor_is_a_conditional_mean_and_no_other_has_less_error(small):
    probabilities, logs, weights = small
    parameters = np.array([1.0, 2.0, 4.0, 3.0])
    found = exact.optimal_predictor(logs, parameters, weights=weights)
    joint = weights[:, None] * probabilities / weights.sum()
    expected = parameters @ joint / joint.sum(0)
    np.testing.assert_allclose(found.predictions, expected, atol=1e-6)
    means = probabilities @ expected
    np.testing.assert_allclose(found.means, means, atol=1e-6)
    np.testing.assert_allclose(found.deviations**2, probabilities @ expected**2 - means**2, atol=1e-5)
    error = lambda guess: (joint * (guess - parameters[:, None]) ** 2).sum()  # noqa: E731
    np.testing.assert_allclose(found.mean_square_error, error(expected), rtol=1e-5)
    random = np.random.default_rng(1)
    assert all(error(expected + 0.1 * random.normal(size=5)) > float(found.mean_square_error) for _ in range(20))


def test_values_that_tell_nothing_and_values_that_tell_all():
    alike = jnp.log(jnp.full((4, 3), 1 / 3))
    found = exact.optimal_classifier(alike, [0, 0, 0, 1])
    assert float(found.accuracy) == pytest.approx(0.75, abs=1e-6)
    np.testing.assert_allclose(exact.optimal_confusion(alike), [1, 0.75, 0.5, 0.75, 1], atol=1e-6)
    assert float(exact.optimal_predictor(alike, jnp.arange(4.0)).mean_square_error) == pytest.approx(1.25)
    clear = jnp.log(jnp.eye(4))
    np.testing.assert_allclose(exact.optimal_confusion(clear), 1)
    assert float(exact.optimal_predictor(clear, jnp.arange(4.0)).mean_square_error) == 0


def test_a_value_never_met_in_training_has_no_answer(small):
    _, logs, _ = small
    found = exact.optimal_classifier(logs, [0, 1, 1, 1], weights=[1.0, 1.0, 0.0, 0.0])
    assert np.isnan(found.posterior[4]).all()
    assert np.isfinite(found.outputs[:2]).all()
    assert np.isnan(found.outputs[2:]).all()
    assert np.isfinite(found.accuracy)


# Accuracy with labels T < Tc and the cut where confusion has its middle peak, for 101 temperatures from 1 to 3.5.
TORI = {4: (0.805, 2.2375), 8: (0.914, 2.2625), 10: (0.935, 2.2625), 16: (0.963, 2.2875), 20: (0.9715, 2.2875)}


@pytest.mark.parametrize("size", TORI)
def test_the_ceiling_of_the_torus(size):
    accuracy, peak = TORI[size]
    found = exact.optimal_classifier(table(size), IS_DISORDERED)
    assert float(found.accuracy) == pytest.approx(accuracy, abs=5e-4)
    curve = np.asarray(exact.optimal_confusion(table(size)))[1:-1]
    cuts = (TEMPERATURES[1:] + TEMPERATURES[:-1]) / 2
    lowest = np.maximum(np.minimum.accumulate(curve), np.minimum.accumulate(curve[::-1])[::-1])
    assert cuts[np.argmax(curve - lowest)] == pytest.approx(peak)  # most above its lowest points on either side
    np.testing.assert_allclose(curve[np.sum(IS_DISORDERED == 0) - 1], found.accuracy, rtol=1e-5)


def test_a_table_need_not_be_normalised_and_nan_is_no_number(small):
    _, logs, weights = small
    shifted = logs + np.arange(4)[:, None]
    np.testing.assert_allclose(exact.optimal_confusion(shifted), exact.optimal_confusion(logs), rtol=1e-5)
    for broken in (np.where(np.arange(4)[:, None] == 1, np.nan, logs), np.where(np.arange(5) == 0, np.inf, logs)):
        assert np.isnan(exact.optimal_classifier(broken, [0, 0, 1, 1]).accuracy)
        assert np.isnan(exact.optimal_predictor(broken, jnp.arange(4.0)).mean_square_error)
        assert np.isnan(exact.optimal_confusion(broken)).any()
    traced = jax.jit(lambda labels: exact.optimal_classifier(logs, labels, weights=weights).accuracy)
    assert np.isnan(traced(jnp.array([0, 1, 2, 0])))


def test_wrong_arguments_are_refused(small):
    _, logs, _ = small
    with pytest.raises(ValueError, match=r"log_probabilities: expected \[num_parameters, num_values\]"):
        exact.optimal_confusion(logs[0])
    with pytest.raises(ValueError, match=r"labels: expected shape \(4,\), got \(3,\)"):
        exact.optimal_classifier(logs, [0, 1, 1])
    with pytest.raises(ValueError, match="labels: expected integers from 0 to 1, got 2"):
        exact.optimal_classifier(logs, [0, 1, 1, 2])
    with pytest.raises(ValueError, match="num_classes: expected an integer >= 2, got 1"):
        exact.optimal_classifier(logs, [0, 0, 0, 0], num_classes=1)
    with pytest.raises(ValueError, match=r"parameters: expected shape \(4,\), got \(5,\)"):
        exact.optimal_predictor(logs, np.arange(5.0))
    for weights in ([1.0, -1.0, 1.0, 1.0], [0.0] * 4, [np.nan, 1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="weights: expected finite numbers >= 0"):
            exact.optimal_confusion(logs, weights=weights)
