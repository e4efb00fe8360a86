"""How well probes read samples they have not seen, with errors over those samples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_floating, as_labels, check_shape, kind_of, take_labelled
from jaxrg.explain.probes.logistic import LogisticProbes
from jaxrg.explain.probes.ridge import RidgeProbes, as_matrices


class ClassificationScores(NamedTuple):
    """What classifiers come to on a set of samples, one entry for each penalty."""

    accuracy: Array  # [num_penalties]
    accuracy_error: Array  # [num_penalties] standard error over samples
    cross_entropy: Array  # [num_penalties] nats of a label
    cross_entropy_error: Array  # [num_penalties]


class RegressionScores(NamedTuple):
    """What readers of continuous targets come to on a set of samples."""

    r_squared: Array  # [num_penalties, num_targets]
    r_squared_error: Array  # [num_penalties, num_targets] standard error over samples


def as_probes(name: str, value: LogisticProbes | RidgeProbes, kind: type, width: int) -> tuple[Array, Array]:
    """Weights and bias of probes for so many features, in the precision of the device."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {kind.__name__}, got {kind_of(value)}")
    weights, bias = as_floating(f"{name}.weights", value.weights), as_floating(f"{name}.bias", value.bias)
    if weights.ndim != 3 or weights.shape[1] != width:
        raise ValueError(f"features: expected {weights.shape[1:2]} of a sample, as {name} were fitted to, got {width}")
    check_shape(f"{name}.bias", bias, weights.shape[::2])
    return weights, bias


def classification_scores(probes: LogisticProbes, features: ArrayLike, labels: ArrayLike) -> ClassificationScores:
    r"""Accuracy and cross entropy of classifiers on samples, with errors over them.

    Args:
        probes: of `logistic_probes`; the infinite penalty among theirs gives chance.
        features: ``[num_samples, ...]`` of other samples than those fitted to.
        labels: ``[num_samples]`` of the classes of the probes.

    Returns:
        `ClassificationScores`. Samples count as independent; the error of an accuracy is
        :math:`\sqrt{\tilde p (1 - \tilde p) / n}` with :math:`\tilde p = (\text{right} + 1) / (n + 2)`, which does not
        vanish where all are right. NaN where there is NaN in the features.

    Raises:
        ValueError: shapes that do not fit, or labels that are no classes of the probes.

    Example:
        >>> probes = LogisticProbes(np.array([[[-1.0, 1.0]]]), np.zeros((1, 2)), *np.ones((4, 1)))
        >>> scores = classification_scores(probes, [[2.0], [-1.0], [1.0]], [1, 0, 0])
        >>> [round(float(each[0]), 4) for each in scores[:3]]
        [0.6667, 0.2828, 0.7573]
    """
    inputs = as_matrices(features=features)[0]
    weights, bias = as_probes("probes", probes, LogisticProbes, inputs.shape[1])
    classes = as_labels("labels", labels, weights.shape[-1], (len(inputs),))
    return _classification_scores(*_alike(inputs, weights, bias), classes)


def _alike(inputs: Array, weights: Array, bias: Array) -> tuple[Array, Array, Array]:
    return inputs, weights.astype(inputs.dtype), bias.astype(inputs.dtype)


@jax.jit
def _classification_scores(inputs: Array, weights: Array, bias: Array, labels: Array) -> ClassificationScores:
    size = len(inputs)
    logits = jnp.einsum("nd,pdk->pnk", inputs, weights, precision="highest") + bias[:, None, :]
    is_known = jnp.all(jnp.isfinite(logits), axis=-1) & (labels < logits.shape[-1])[None]
    is_right = jnp.where(is_known, (jnp.argmax(logits, axis=-1) == labels[None]).astype(logits.dtype), jnp.nan)
    losses = -take_labelled(jax.nn.log_softmax(logits, axis=-1), jnp.broadcast_to(labels[None], logits.shape[:2]))
    smoothed = (jnp.sum(is_right, axis=-1) + 1) / (size + 2)
    return ClassificationScores(
        jnp.mean(is_right, axis=-1),
        jnp.sqrt(smoothed * (1 - smoothed) / size),
        jnp.mean(losses, axis=-1),
        _error(losses),
    )


def _error(values: Array) -> Array:
    """Standard error of the mean over the last axis; infinite for one sample."""
    size = values.shape[-1]
    return jnp.std(values, axis=-1) / np.sqrt(size - 1) if size > 1 else jnp.full(values.shape[:-1], jnp.inf)


def regression_scores(probes: RidgeProbes, features: ArrayLike, targets: ArrayLike) -> RegressionScores:
    r"""Share of the squared error of chance that readers of continuous targets explain, with errors over samples.

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - \hat y_i)^2}{\sum_i (y_i - \bar y)^2}

    where :math:`\bar y` is the mean of the samples fitted to, so that chance has zero and worse than chance is below;
    NaN for a target that is this mean in all samples, of which there is nothing to tell.

    Args:
        probes: of `ridge_probes`.
        features: ``[num_samples, ...]`` of other samples than those fitted to.
        targets: ``[num_samples]`` or ``[num_samples, num_targets]``.

    Returns:
        `RegressionScores`, with errors to first order in those of the two means, for independent samples.

    Raises:
        ValueError: shapes that do not fit.

    Example:
        >>> from jaxrg.explain.probes import ridge_probes
        >>> probes = ridge_probes([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], [1e-6, jnp.inf])
        >>> regression_scores(probes, [[4.0], [5.0]], [9.0, 11.0]).r_squared.round(3).ravel().tolist()
        [1.0, 0.0]
    """
    inputs, outputs = as_matrices(features=features, targets=targets)
    weights, bias = as_probes("probes", probes, RidgeProbes, inputs.shape[1])
    check_shape("targets", outputs, (len(inputs), weights.shape[-1]))
    mean = as_floating("probes.target_mean", probes.target_mean).astype(inputs.dtype)
    return _regression_scores(*_alike(inputs, weights, bias), mean, outputs)


@jax.jit
def _regression_scores(
    inputs: Array, weights: Array, bias: Array, target_mean: Array, targets: Array
) -> RegressionScores:
    predicted = jnp.einsum("nd,pdt->ptn", inputs, weights, precision="highest") + bias[:, :, None]
    left = jnp.square(targets.T[None] - predicted)
    total = jnp.square(targets.T - target_mean[:, None])[None]
    spread = jnp.mean(total, axis=-1)
    spread = jnp.where(spread > 0, spread, jnp.nan)
    left_share = jnp.mean(left, axis=-1) / spread
    influence = left - left_share[..., None] * total
    return RegressionScores(1 - left_share, _error(influence) / spread)
