"""Probes: the bound against other optimisers, scikit-learn on the same objective, left-out samples one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression, Ridge

from jaxrg.explain import probes

PENALTIES = [1e-3, np.inf, 0.1]


def clouds(seed: int = 0, size: int = 300, width: int = 6, num_classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clouds far from zero, whose directions have very unequal variances, and classes of unequal size."""
    random = np.random.default_rng(seed)
    labels = np.sort(np.concatenate([np.arange(num_classes), (num_classes * random.random(size) ** 2).astype(int)]))
    labels = labels[: size + num_classes]
    centres = random.normal(size=(num_classes, width))
    features = (random.normal(size=(len(labels), width)) + centres[labels]) * np.logspace(1, -2, width) + 30
    return features.astype(np.float32), labels


def objective(features: np.ndarray, labels: np.ndarray, weights: np.ndarray, bias: np.ndarray, penalty: float) -> float:
    logits = features.astype(np.float64) @ weights + bias
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return float(losses.mean() + penalty / 2 * np.sum(weights**2))


@pytest.fixture(scope="module")
def fitted():
    features, labels = clouds()
    return features, labels, probes.logistic_probes(features, labels, PENALTIES)


def test_the_objective_and_the_gap_are_what_they_say(fitted):
    features, labels, found = fitted
    assert found.weights.dtype == np.float64
    for index, penalty in enumerate([1e-3, None, 0.1]):
        if penalty is None:
            continue
        weights, bias = found.weights[index], found.bias[index]
        assert found.value[index] == pytest.approx(objective(features, labels, weights, bias, penalty), abs=1e-13)
        assert 0 <= found.gap[index] <= 1e-10
        logits = features.astype(np.float64) @ weights + bias
        rest = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None]) - np.eye(3)[labels]
        np.testing.assert_allclose(rest.mean(axis=0), 0, atol=1e-13)
        gradient = features.T @ rest / len(labels) + penalty * weights
        assert np.sum(gradient**2) / (2 * penalty) <= found.gap[index] + 1e-13


def test_no_other_optimiser_finds_less_than_the_gap_allows(fitted):
    """SciPy in the same objective, from the certified optimum and from elsewhere."""
    features, labels, found = fitted
    x = features.astype(np.float64)

    def value_and_gradient(flat):
        weights, bias = flat[:-3].reshape(-1, 3), flat[-3:]
        logits = x @ weights + bias
        norm = np.logaddexp.reduce(logits, axis=1)
        rest = (np.exp(logits - norm[:, None]) - np.eye(3)[labels]) / len(labels)
        value = (norm - logits[np.arange(len(labels)), labels]).mean() + 0.05 * np.sum(weights**2)
        return value, np.concatenate([(x.T @ rest + 0.1 * weights).ravel(), rest.sum(axis=0)])

    start = np.concatenate([found.weights[2].ravel(), found.bias[2]])
    for first in (start, start + np.random.default_rng(1).normal(size=start.shape) * 1e-3):
        other = minimize(value_and_gradient, first, jac=True, method="BFGS", options={"gtol": 1e-12})
        assert other.fun >= found.value[2] - found.gap[2] - 1e-14


@pytest.mark.parametrize("accuracy", [1e-1, 1e-3, 1e-6])
def test_a_loose_fit_is_within_its_own_gap(fitted, accuracy):
    features, labels, best = fitted
    loose = probes.logistic_probes(features, labels, PENALTIES, tolerance=accuracy)
    above = loose.value - best.value
    assert (above <= loose.gap + 1e-14).all()
    assert (above >= -1e-10).all()
    assert (loose.gap <= accuracy).all()


def test_the_bound_holds_anywhere_and_also_where_the_bias_is_not_the_best():
    """The dual point made feasible, for weights and biases far from the optimum."""
    from jaxrg.explain.probes import logistic

    features, labels = clouds(3, 60)
    problem = logistic._prepare(features, labels)
    best = probes.logistic_probes(features, labels, 0.1).value[0]
    random = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 0.1):
        weights, bias = scale * random.normal(size=problem.cross.shape), scale * random.normal(size=3)
        logits = (features.astype(np.float64) - problem.mean) @ weights + bias
        probabilities, loss = logistic._softmax(problem, logits)
        rest = probabilities - problem.is_class
        residual = logistic._with_classes(features, problem.mean, rest)
        gap = logistic._gap(problem, weights, bias, 0.1, residual, rest.mean(axis=0))
        assert loss + 0.05 * np.sum(weights**2) - best <= gap + 1e-12


def test_scikit_learn_finds_the_same_weights(fitted):
    features, labels, found = fitted
    for index in (0, 2):
        peer = LogisticRegression(C=1 / (found.penalties[index] * len(labels)), tol=1e-12, max_iter=20_000,
                                  solver="newton-cg").fit(features.astype(np.float64), labels)  # fmt: skip
        above = objective(features, labels, peer.coef_.T, peer.intercept_, found.penalties[index]) - found.value[index]
        assert -1e-10 <= above <= 1e-6
        np.testing.assert_allclose(found.weights[index], peer.coef_.T, atol=2e-3 * np.abs(peer.coef_).max())


def test_an_infinite_penalty_is_chance(fitted):
    _, labels, found = fitted
    shares = np.bincount(labels) / len(labels)
    assert not found.weights[1].any()
    np.testing.assert_allclose(np.exp(found.bias[1]) / np.exp(found.bias[1]).sum(), shares, rtol=1e-12)
    assert found.value[1] == pytest.approx(-np.sum(shares * np.log(shares)), abs=1e-14)
    assert found.gap[1] == 0


def test_shifted_and_turned_features_give_the_same_objective(fitted):
    features, labels, found = fitted
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(6, 6)))[0]
    other = probes.logistic_probes((features.astype(np.float64) - 30) @ turn, labels, PENALTIES)
    np.testing.assert_allclose(other.value, found.value, atol=1e-9)


def test_fewer_samples_than_features():
    random = np.random.default_rng(0)
    features, labels = random.normal(size=(12, 40)).astype(np.float32), np.arange(12) % 3
    found = probes.logistic_probes(features, labels, [1e-2, 1e-4])
    assert (found.gap <= 1e-10).all()
    # the best weights are combinations of the samples
    centred = features - features.mean(axis=0, dtype=np.float64)
    projection = centred.T @ np.linalg.pinv(centred.T)
    np.testing.assert_allclose(projection @ found.weights[1], found.weights[1], atol=1e-9)


def test_separable_classes_and_a_weak_penalty():
    features, labels = clouds(4, 200, 4, 2)
    features[labels == 1] += 50
    found = probes.logistic_probes(features, labels, 1e-6)
    assert found.gap[0] <= 1e-10
    scores = probes.classification_scores(found, features, labels)
    assert float(scores.accuracy[0]) == 1
    assert float(scores.accuracy_error[0]) > 0


def test_ridge_against_scikit_learn_and_left_out_samples_one_by_one():
    random = np.random.default_rng(0)
    features = (random.normal(size=(25, 4)) + 2).astype(np.float32)
    targets = (features @ random.normal(size=(4, 2)) + random.normal(size=(25, 2))).astype(np.float32)
    penalties = [1e-3, 0.3, np.inf]
    found = probes.ridge_probes(features, targets, penalties)
    for index, penalty in enumerate(penalties[:2]):
        peer = Ridge(alpha=penalty * 25).fit(features, targets)
        np.testing.assert_allclose(found.weights[index], peer.coef_.T, atol=1e-5)
        np.testing.assert_allclose(found.bias[index], peer.intercept_, atol=1e-5)
        left_out = [
            targets[row]
            - Ridge(alpha=penalty * 25)
            .fit(np.delete(features, row, 0), np.delete(targets, row, 0))
            .predict(features[[row]])[0]
            for row in range(25)
        ]
        np.testing.assert_allclose(found.left_out_error[index], np.mean(np.square(left_out), axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.bias[2], targets.mean(axis=0), rtol=1e-6)
    scores = probes.regression_scores(found, features, targets)
    np.testing.assert_allclose(scores.r_squared[2], 0, atol=1e-6)
    expected = Ridge(alpha=0.3 * 25).fit(features, targets)
    share = np.sum((targets - expected.predict(features)) ** 2, 0) / np.sum((targets - targets.mean(0)) ** 2, 0)
    np.testing.assert_allclose(scores.r_squared[1], 1 - share, atol=1e-5)


@pytest.mark.parametrize(("size", "width"), [(20, 100), (20, 19), (20, 12)])
def test_samples_are_left_out_where_the_fit_goes_through_them(size, width):
    """Down to penalties whose residuals and 1 - h are both rounding; each fit anew in float64 is the peer."""
    random = np.random.default_rng(0)
    features, targets = random.normal(size=(size, width)) * 10, random.normal(size=(size, 1))
    penalties = np.array([1.0, 1e-3, 1e-6])
    found = probes.ridge_probes(features.astype(np.float32), targets.astype(np.float32), penalties)
    for penalty, error in zip(penalties, found.left_out_error, strict=True):
        left_out = []
        for row in range(size):
            x, y = np.delete(features, row, 0), np.delete(targets, row, 0)
            centred = x - x.mean(0)
            dual = np.linalg.solve(centred @ centred.T + penalty * size * np.eye(size - 1), y - y.mean(0))
            left_out.append(targets[row] - y.mean(0) - (features[row] - x.mean(0)) @ centred.T @ dual)
        np.testing.assert_allclose(error, np.mean(np.square(left_out), axis=0), rtol=2e-3)


def test_what_has_no_answer_is_said_to_have_none():
    assert probes.ridge_probes([[1.0]], [2.0], 0.1).left_out_error == np.inf
    found = probes.ridge_probes([[0.0], [1.0]], [0.0, 0.0], 0.1)
    assert np.isnan(probes.regression_scores(found, [[0.0], [3.0]], [0.0, 0.0]).r_squared)


def test_errors_of_scores_are_the_scatter_over_test_sets():
    """400 test sets of 200 samples from known probes: stated errors against the spread."""
    key_x, key_y, key_z = jax.random.split(jax.random.key(0), 3)
    features = jax.random.normal(key_x, (400, 200, 2))
    labels = (features[..., 0] + jax.random.normal(key_y, (400, 200)) > 0).astype(jnp.int32)
    targets = features[..., :1] + jax.random.normal(key_z, (400, 200, 1))
    weights, one = np.zeros((1, 2, 2)), np.ones(1)
    weights[0, 0] = -1, 1
    classifier = probes.LogisticProbes(weights, np.zeros((1, 2)), one, one, one, one)
    reader = probes.RidgeProbes(
        jnp.array([[[0.8], [0.3]]]), jnp.zeros((1, 1)), jnp.ones(1), jnp.zeros(1), jnp.ones((1, 1))
    )
    found = jax.vmap(lambda x, y: probes.classification_scores(classifier, x, y))(features, labels)
    for value, error in ((found.accuracy, found.accuracy_error), (found.cross_entropy, found.cross_entropy_error)):
        assert float(jnp.std(value)) == pytest.approx(float(jnp.sqrt(jnp.mean(error**2))), rel=0.15)
    squares = jax.vmap(lambda x, y: probes.regression_scores(reader, x, y))(features, targets)
    rms = float(jnp.sqrt(jnp.mean(squares.r_squared_error**2)))
    assert float(jnp.std(squares.r_squared)) == pytest.approx(rms, rel=0.15)
    # E (0.2 x - 0.3 x' + z)^2 / E (x + z)^2
    assert float(jnp.mean(squares.r_squared)) == pytest.approx(1 - 1.13 / 2, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": np.zeros(4, int)}, "labels: expected labels of at least two classes, got those of class 0 alone"),
        (
            {"labels": np.array([0, 0, 2, 2])},
            "labels: expected samples of every class from 0 to 2, got none of class 1",
        ),
        ({"labels": np.array([0.0, 1.0, 0.0, 1.0])}, "labels: expected integers"),
        ({"labels": np.array([0, 1, 0])}, r"labels: expected shape \(4,\), got \(3,\)"),
        ({"features": np.full((4, 2), np.nan)}, "features: expected finite values"),
        ({"features": np.ones(4)}, "features: expected .num_samples, num_features."),
        ({"penalties": [0.1, 0.0]}, "penalties: expected one or more numbers above zero"),
        ({"penalties": [np.nan]}, "penalties: expected one or more numbers above zero"),
        ({"tolerance": 0.0}, "tolerance: expected a number between 0.0 and inf"),
    ],
)
def test_bad_input_of_classifiers(arguments, message):
    given = {"features": np.eye(4)[:, :2], "labels": np.array([0, 1, 0, 1]), "penalties": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        probes.logistic_probes(**given)


def test_probes_of_other_features_and_tracers_are_refused(fitted):
    features, labels, found = fitted
    with pytest.raises(ValueError, match=r"features: expected .6,. of a sample, as probes were fitted to, got 5"):
        probes.classification_scores(found, features[:, :5], labels)
    with pytest.raises(ValueError, match="labels: expected integers from 0 to 2, got 3"):
        probes.classification_scores(found, features, labels + 1)
    with pytest.raises(ValueError, match="probes: expected RidgeProbes, got a LogisticProbes"):
        probes.regression_scores(found, features, labels)
    with pytest.raises(ValueError, match="features: expected arrays with values, got tracers"):
        jax.jit(lambda x: probes.logistic_probes(x, labels, 0.1))(features)
    with pytest.raises(ValueError, match="targets: expected as many samples as there are features, 303, got 4"):
        probes.ridge_probes(features, np.ones(4), 0.1)


def test_missing_numbers_stay_missing(fitted):
    features, labels, found = fitted
    hurt = np.array(features)
    hurt[3, 2] = np.nan
    scores = probes.classification_scores(found, hurt, labels)
    assert np.isnan(scores.accuracy).all()
    assert np.isnan(scores.cross_entropy).all()
    assert np.isnan(probes.ridge_probes(hurt, labels, [0.1, np.inf]).weights[0]).all()
