r"""What the best possible network would answer that learns phases of matter: Bayes-optimal outputs in closed form.

Common arguments: ``log_probabilities`` ``[num_parameters, num_values]`` of a sufficient statistic x of the samples at
each value γ of the tuning parameter, such as `torus_energy_distribution` of the temperature; and ``weights``
``[num_parameters]``, how often each γ is met in training, equally often unless given. Rows are normalised. What a
network measures above these is leakage from its training set.

Reference:
    Arnold & Schäfer, Phys. Rev. X 12, 031044 (2022).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_count, as_floating, as_floating_alike, as_labels, check_shape, is_traced


class OptimalClassifier(NamedTuple):
    """What the best classifier of phases answers."""

    posterior: Array  # [num_values, num_classes] P(class | x) in training; nan where x cannot come up there
    outputs: Array  # [num_parameters, num_classes] its mean at every parameter
    accuracies: Array  # [num_parameters] how often its choice is the label
    accuracy: Array  # scalar, their mean in training: no classifier exceeds it


class OptimalPredictor(NamedTuple):
    """What the best predictor of the parameter answers, in the mean square."""

    predictions: Array  # [num_values] E[γ | x] in training; nan where x cannot come up there
    means: Array  # [num_parameters] their mean at every parameter
    deviations: Array  # [num_parameters] and their standard deviation
    mean_square_error: Array  # scalar, in training: no predictor falls below it


def optimal_classifier(
    log_probabilities: Any, labels: Any, *, num_classes: int = 2, weights: Any = None
) -> OptimalClassifier:
    r"""Outputs and accuracy of the best classifier that is trained on labelled parameters.

    .. math:: P(c|x) = \frac{\sum_{\gamma \in c} w_\gamma P(x|\gamma)}{\sum_\gamma w_\gamma P(x|\gamma)}, \qquad
        \mathrm{accuracy} = \frac{\sum_x \max_c \sum_{\gamma \in c} w_\gamma P(x|\gamma)}{\sum_\gamma w_\gamma}

    Args:
        labels: ``[num_parameters]`` the phase that each parameter is said to be in; where its weight is zero, the label
            counts for ``accuracies`` alone.
        num_classes: how many phases there are.

    Raises:
        ValueError: no table, labels that are none or not one for each parameter, weights that are negative, not finite
            or all zero.

    Example:
        >>> from jaxrg import exact
        >>> temperatures = jnp.linspace(1.0, 3.5, 101)
        >>> table = jax.vmap(lambda t: exact.torus_energy_distribution(1 / t, (4, 4)))(temperatures)
        >>> labels = (temperatures > 1 / exact.critical_coupling).astype(int)
        >>> round(float(optimal_classifier(table, labels).accuracy), 3)
        0.805
    """
    table, shares = _as_table(log_probabilities, weights)
    num_classes = as_count("num_classes", num_classes, minimum=2)
    found = as_labels("labels", labels, num_classes, (len(table),))
    return _optimal_classifier(table, found, shares, num_classes=num_classes)


def optimal_confusion(log_probabilities: Any, *, weights: Any = None) -> Array:
    r"""Accuracy of the best classifier at every place where the line of parameters may be cut in two.

    .. math:: \mathrm{accuracy}_c = \frac{1}{\sum_\gamma w_\gamma} \sum_x \max\Bigl(
        \sum_{i < c} w_i P(x|\gamma_i),\ \sum_{i \ge c} w_i P(x|\gamma_i)\Bigr)

    One at both ends, where there is nothing to tell apart; a peak between is the guess of a transition.

    Returns:
        ``[num_parameters + 1]``; entry c has the first c parameters in one phase.

    Raises:
        ValueError: as `optimal_classifier`.

    Example:
        >>> optimal_confusion(jnp.log(jnp.array([[0.5, 0.5], [0.0, 1.0]]))).tolist()
        [1.0, 0.75, 1.0]

    Reference:
        van Nieuwenburg, Liu & Huber, Nat. Phys. 13, 435 (2017).
    """
    return _optimal_confusion(*_as_table(log_probabilities, weights))


def optimal_predictor(log_probabilities: Any, parameters: Any, *, weights: Any = None) -> OptimalPredictor:
    r"""The best predictor of the parameter from a sample, in the mean square.

    .. math:: \hat\gamma(x) = E[\gamma|x] = \frac{\sum_\gamma w_\gamma P(x|\gamma)\,\gamma}
        {\sum_\gamma w_\gamma P(x|\gamma)}, \qquad \hat\gamma(\gamma) = \sum_x P(x|\gamma)\,\hat\gamma(x)

    A transition is guessed where the divergence :math:`\hat\gamma(\gamma) - \gamma` grows fastest with γ.

    Args:
        parameters: ``[num_parameters]`` γ of each row.

    Raises:
        ValueError: as `optimal_classifier`; parameters that are not one for each row.

    Reference:
        Schäfer & Lörch, Phys. Rev. E 99, 062107 (2019); Arnold & Schäfer, Phys. Rev. X 12, 031044 (2022).
    """
    table, shares = _as_table(log_probabilities, weights)
    table, found, shares = as_floating_alike(log_probabilities=table, parameters=parameters, weights=shares)
    check_shape("parameters", found, (len(table),))
    return _optimal_predictor(table, found, shares)


def _as_table(log_probabilities: Any, weights: Any) -> tuple[Array, Array]:
    """The table, and weights of the same type."""
    table = as_floating("log_probabilities", log_probabilities)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"log_probabilities: expected [num_parameters, num_values], got shape {tuple(table.shape)}")
    shares = as_floating("weights", np.ones(len(table), table.dtype) if weights is None else weights)
    check_shape("weights", shares, (len(table),))
    if not is_traced(shares):
        host = np.asarray(shares)
        if not (np.all(np.isfinite(host)) and np.all(host >= 0) and np.any(host > 0)):
            raise ValueError("weights: expected finite numbers >= 0 that are not all zero, got others")
    return tuple(as_floating_alike(log_probabilities=table, weights=shares))  # type: ignore[return-value]


def _joint(table: Array, weights: Array) -> tuple[Array, Array]:
    """Probabilities, and logarithms of joint ones of a parameter met in training and a value."""
    logs = jax.nn.log_softmax(table, axis=-1)
    return jnp.exp(logs), logs + jnp.log(weights / jnp.sum(weights))[:, None]


def _mean(probabilities: Array, values: Array) -> Array:
    """Means ``[num_parameters, ...]``, to which values that cannot come up add nothing, be they NaN."""
    weights = probabilities.reshape(*probabilities.shape, *(1,) * (values.ndim - 2))
    return jnp.sum(jnp.where(weights == 0, 0, weights * values), axis=1)


@functools.partial(jax.jit, static_argnames="num_classes")
def _optimal_classifier(table: Array, labels: Array, weights: Array, *, num_classes: int) -> OptimalClassifier:
    probabilities, joint = _joint(table, weights)
    joint = jnp.where(jnp.all(labels < num_classes), joint, jnp.nan)  # a traced label that is none
    is_class = labels[:, None, None] == jnp.arange(num_classes, dtype=labels.dtype)[None, None]
    by_class = jax.nn.logsumexp(jnp.where(is_class, joint[..., None], -jnp.inf), axis=0)
    best = jnp.max(by_class, axis=-1)
    is_right = (labels[:, None] == jnp.argmax(by_class, axis=-1)[None]).astype(table.dtype)
    is_right = jnp.where(jnp.isfinite(best)[None], is_right, jnp.nan)
    posterior = jax.nn.softmax(by_class, axis=-1)
    accuracies = _mean(probabilities, is_right)
    return OptimalClassifier(posterior, _mean(probabilities, posterior[None]), accuracies, jnp.sum(jnp.exp(best)))


@jax.jit
def _optimal_confusion(table: Array, weights: Array) -> Array:
    joint = jnp.exp(_joint(table, weights)[1])
    below = jnp.pad(jnp.cumsum(joint, axis=0), ((1, 0), (0, 0)))
    above = jnp.pad(jnp.cumsum(joint[::-1], axis=0), ((1, 0), (0, 0)))[::-1]
    return jnp.sum(jnp.maximum(below, above), axis=1)


@jax.jit
def _optimal_predictor(table: Array, parameters: Array, weights: Array) -> OptimalPredictor:
    probabilities, joint = _joint(table, weights)
    posterior = jax.nn.softmax(joint, axis=0)
    predictions = jnp.sum(posterior * parameters[:, None], axis=0)
    means = _mean(probabilities, predictions[None])
    deviations = jnp.sqrt(_mean(probabilities, (predictions[None] - means[:, None]) ** 2))
    errors = _mean(probabilities, (predictions[None] - parameters[:, None]) ** 2)
    trained = jnp.where(weights > 0, weights * errors, 0)
    return OptimalPredictor(predictions, means, deviations, jnp.sum(trained) / jnp.sum(weights))
