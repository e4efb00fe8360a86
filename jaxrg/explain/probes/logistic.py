r"""Linear classifiers of a representation, each with a bound on how far it is from the best one.

The objective of a penalty λ is strictly convex in the weights W; the bias b is free, as usual:

.. math:: F(W, b) = \frac1n \sum_i \bigl[\ln\textstyle\sum_c e^{z_{ic}} - z_{iy_i}\bigr] + \frac\lambda2 \|W\|^2,
    \qquad z_i = W^T (x_i - \bar x) + b

Newton's method minimises it, on the host. Products with the Hessian are in the precision of the features, in their
principal axes; values, gradients and the bound are in float64, so that single precision of the products costs steps and
no accuracy.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.typing import ArrayLike

from jaxrg.checks import as_floating, as_integers, check_number, check_shape, is_traced

ROWS_AT_ONCE = 4096  # of the features, which become float64 in so many rows at a time
MAX_PRODUCTS = 200  # with the Hessian, of one step
MAX_STEPS = 50
MAX_HALVINGS = 30


class LogisticProbes(NamedTuple):
    """Classifiers of one representation, one for each penalty; on the host in float64, as the bound holds there.

    The logits of features x are ``x @ weights + bias``.
    """

    weights: np.ndarray  # [num_penalties, num_features, num_classes]
    bias: np.ndarray  # [num_penalties, num_classes], whose mean over classes is zero
    penalties: np.ndarray  # [num_penalties]
    value: np.ndarray  # [num_penalties] the objective, in nats
    gap: np.ndarray  # [num_penalties] the objective is at most so far above its minimum
    num_products: np.ndarray  # int [num_penalties] products with the Hessian


class _Problem(NamedTuple):
    """What all penalties share; the features are centred where they are used."""

    features: np.ndarray  # [n, d] as given
    mean: np.ndarray  # [d]
    is_class: np.ndarray  # [n, k] zeros and ones
    shares: np.ndarray  # [k] of the classes
    cross: np.ndarray  # [d, k] covariance of features and classes
    axes: np.ndarray  # [d, r] principal axes over their standard deviations
    spread: np.ndarray  # [r] variances
    rotated: np.ndarray  # [n, r + 1] features along these axes, and ones

    @property
    def size(self) -> int:
        return len(self.features)


class _Point(NamedTuple):
    """Weights with the best bias for them."""

    weights: np.ndarray  # [d, k]
    bias: np.ndarray  # [k]
    probabilities: np.ndarray  # [n, k]
    value: float
    gradient: np.ndarray  # [d, k]
    gap: float


def as_samples(name: str, value: Any) -> np.ndarray:
    """Finite features ``[num_samples, ...]`` as a matrix on the host; float64 of NumPy stays what it is."""
    found = as_floating(name, value)
    if found.ndim < 2 or not found.size:
        raise ValueError(f"{name}: expected [num_samples, num_features] with entries, got shape {tuple(found.shape)}")
    if is_traced(found):
        raise ValueError(f"{name}: expected arrays with values, got tracers: probes are fitted outside of jit")
    is_double = isinstance(value, np.ndarray) and value.dtype == np.float64
    host = np.asarray(value if is_double else found)
    if not np.all(np.isfinite(host)):
        raise ValueError(f"{name}: expected finite values, got NaN or infinite entries")
    return host.reshape(len(host), -1)


def as_classes(name: str, value: Any, num_samples: int) -> np.ndarray:
    """Labels ``[num_samples]`` of two or more classes 0, 1, ..., none of which is empty."""
    found = as_integers(name, value, minimum=0)
    check_shape(name, found, (num_samples,))
    if is_traced(found):
        raise ValueError(f"{name}: expected arrays with values, got tracers: probes are fitted outside of jit")
    labels = np.asarray(found).astype(np.int64)
    counts = np.bincount(labels)
    if (counts > 0).sum() < 2:
        raise ValueError(f"{name}: expected labels of at least two classes, got those of class {labels[0]} alone")
    if not counts.all():
        raise ValueError(
            f"{name}: expected samples of every class from 0 to {len(counts) - 1}, got none of class "
            f"{int(np.argmin(counts))}, whose bias would have no best value"
        )
    return labels


def as_penalties(name: str, value: Any) -> np.ndarray:
    """Penalties ``[num_penalties]`` above zero on the host; infinite ones are allowed."""
    as_floating(name, value)  # refuses what is no number; a Python number keeps all its digits below
    found = np.atleast_1d(np.asarray(value, np.float64))
    if found.ndim != 1 or not found.size or not (found > 0).all():
        raise ValueError(f"{name}: expected one or more numbers above zero, got {value!r}")
    return found


def logistic_probes(
    features: ArrayLike, labels: ArrayLike, penalties: ArrayLike | Sequence[float], *, tolerance: float = 1e-10
) -> LogisticProbes:
    r"""Multinomial logistic regression with an L2 penalty on the weights, for one or more penalties.

    .. math:: F - F^* \le \frac{\|\nabla_W F\|^2}{2\lambda}

    holds where the bias is the best for the weights, as it is made to be; it is the duality gap there, and what
    rounding leaves of the gradient with respect to the bias is added. A penalty λ is ``1 / (C num_samples)`` of
    scikit-learn's. The infinite one gives the classifier that knows the shares of the classes and nothing else: chance.
    Penalties are worked off from the largest one down, each from where the one before ended. One
    eigendecomposition of the smaller of ``num_features`` and ``num_samples`` serves all.

    Args:
        features: ``[num_samples, ...]``, events flattened; no scaling is done, and none is needed to converge.
        labels: ``[num_samples]`` integers from 0.
        penalties: ``[num_penalties]`` λ, or one number.
        tolerance: gap that is enough, in nats.

    Returns:
        `LogisticProbes`, in the order of the penalties. A gap above ``tolerance`` says that the precision of the
        products ended before; features in float64 then reach further.

    Raises:
        ValueError: features that are not finite, labels of one class or a class without samples, penalties that are
            not above zero, or tracers: the solver runs on the host.

    Example:
        >>> probes = logistic_probes([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1], [jnp.inf, 0.1])
        >>> probes.value.round(6).tolist(), bool((probes.gap < 1e-10).all())
        ([0.693147, 0.603693], True)

    Reference:
        Alain & Bengio, arXiv:1610.01644 (probes); Martens & Grosse, ICML 2015 (the Kronecker preconditioner).
    """
    samples = as_samples("features", features)
    classes = as_classes("labels", labels, len(samples))
    strengths = as_penalties("penalties", penalties)
    check_number("tolerance", tolerance, above=0.0)
    return fit(samples, classes, strengths, float(tolerance))


def fit(samples: np.ndarray, labels: np.ndarray, strengths: np.ndarray, tolerance: float) -> LogisticProbes:
    """`logistic_probes` of arguments that have been checked."""
    problem = _prepare(samples, labels)
    point, found, products = _start(problem), {}, {}
    for index in np.argsort(-strengths, kind="stable"):
        point, products[index] = _minimize(problem, point, float(strengths[index]), tolerance)
        found[index] = point
    points = [found[index] for index in range(len(strengths))]
    weights = np.stack([each.weights for each in points])
    return LogisticProbes(
        weights,
        np.stack([each.bias - problem.mean @ each.weights for each in points]),
        strengths,
        np.array([each.value for each in points]),
        np.array([each.gap for each in points]),
        np.array([products[index] for index in range(len(strengths))]),
    )


def _blocks(features: np.ndarray, mean: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for first in range(0, len(features), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        yield rows, features[rows].astype(np.float64) - mean


def _with_classes(features: np.ndarray, mean: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean product ``[d, k]`` of the centred features with values ``[n, k]``."""
    total = np.zeros((features.shape[1], values.shape[1]))
    for rows, block in _blocks(features, mean):
        total += block.T @ values[rows]
    return total / len(features)


def _prepare(features: np.ndarray, labels: np.ndarray) -> _Problem:
    size, width = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    is_class = np.eye(labels.max() + 1)[labels]
    shares = is_class.mean(axis=0)
    cross = _with_classes(features, mean, is_class)
    if width <= size:
        spread, axes = np.linalg.eigh(sum(block.T @ block for _, block in _blocks(features, mean)) / size)
    else:
        centred = features.astype(np.float64) - mean
        spread, axes = np.linalg.eigh(centred @ centred.T / size)
        axes = centred.T @ (axes / np.sqrt(size * np.maximum(spread, np.finfo(float).tiny)))
    is_there = spread > len(spread) * np.finfo(float).eps * max(spread[-1], np.finfo(float).tiny)
    spread, axes = spread[is_there], axes[:, is_there] / np.sqrt(spread[is_there])
    rotated = np.ones((size, len(spread) + 1), features.dtype)
    for rows, block in _blocks(features, mean):
        rotated[rows, :-1] = block @ axes
    return _Problem(features, mean, is_class, shares, cross, axes, spread, rotated)


def _start(problem: _Problem) -> _Point:
    """Chance: no weights, and the logarithms of the shares of the classes."""
    bias = np.log(problem.shares)
    probabilities = np.broadcast_to(problem.shares, problem.is_class.shape)
    value = -float(problem.shares @ bias)
    return _Point(np.zeros_like(problem.cross), bias - bias.mean(), probabilities, value, -problem.cross, 0.0)


def _evaluate(problem: _Problem, weights: np.ndarray, bias: np.ndarray, penalty: float) -> _Point:
    logits = np.concatenate([block @ weights for _, block in _blocks(problem.features, problem.mean)])
    bias, probabilities, loss = _best_bias(problem, logits, bias)
    rest = probabilities - problem.is_class
    residual = _with_classes(problem.features, problem.mean, rest)
    gradient = residual + penalty * weights
    gap = _gap(problem, weights, bias, penalty, residual, rest.mean(axis=0))
    return _Point(weights, bias, probabilities, loss + penalty / 2 * float(np.sum(weights**2)), gradient, gap)


def _best_bias(problem: _Problem, logits: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Newton's method in the bias alone; a step that moves no difference of logits by more than one cannot go up."""
    for _ in range(MAX_STEPS):
        probabilities, _ = _softmax(problem, logits + bias)
        mean = probabilities.mean(axis=0)
        curvature = np.diag(mean) - probabilities.T @ probabilities / problem.size
        # along equal shifts of all classes, which change nothing, the matrix of ones makes it regular
        step = np.linalg.lstsq(curvature + mean.min(), problem.shares - mean, rcond=None)[0]
        step = (step - step.mean()) / max(1.0, np.ptp(step))
        bias = bias + step
        if np.abs(step).max() < 1e-8:  # the next one would be as its square
            break
    return bias, *_softmax(problem, logits + bias)


def _softmax(problem: _Problem, logits: np.ndarray) -> tuple[np.ndarray, float]:
    """Probabilities ``[n, k]`` and the mean cross entropy."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    sums = powers.sum(axis=1, keepdims=True)
    loss = np.log(sums).mean() - np.sum(shifted * problem.is_class) / problem.size
    return powers / sums, float(loss)


def _gap(
    problem: _Problem,
    weights: np.ndarray,
    bias: np.ndarray,
    penalty: float,
    residual: np.ndarray,
    slope: np.ndarray,
) -> float:
    """Objective less the dual one at a mixture of the probabilities with constant ones that the free bias allows.

    The share of the constant ones is what rounding leaves of the gradient with respect to the bias, or none.
    """
    share = max(0.0, float(np.max(slope / (problem.shares + slope))))
    change = -problem.cross - residual
    gradient = residual + penalty * weights + share * change
    linear = share * (np.log(len(bias)) - np.sum(weights * change)) + slope @ bias
    return float(np.sum(gradient**2) / (2 * penalty) + linear)


def _minimize(problem: _Problem, point: _Point, penalty: float, tolerance: float) -> tuple[_Point, int]:
    if np.isinf(penalty):
        return _start(problem), 0
    point, products = _evaluate(problem, point.weights, point.bias, penalty), 0
    for _ in range(MAX_STEPS):
        if point.gap <= tolerance:
            break
        direction, count = _direction(problem, point, penalty, tolerance)
        products += count
        trial = _step(problem, point, direction, penalty)
        if trial is None:
            break
        point = trial
    return point, products


def _step(problem: _Problem, point: _Point, direction: np.ndarray, penalty: float) -> _Point | None:
    """The longest of halved steps that lowers the value as its slope promises; None where rounding leaves none."""
    slope = float(np.sum(direction * point.gradient))
    if slope >= 0:
        return None
    length = 1.0
    for _ in range(MAX_HALVINGS):
        trial = _evaluate(problem, point.weights + length * direction, point.bias, penalty)
        is_rounding = trial.value <= point.value + 1e-14 and trial.gap < point.gap / 4
        if trial.value <= point.value + 1e-4 * length * slope or is_rounding:
            return trial
        length /= 2
    return None


def _direction(problem: _Problem, point: _Point, penalty: float, tolerance: float) -> tuple[np.ndarray, int]:
    """Newton's direction by conjugate gradients, the more accurate the closer the minimum is.

    The preconditioner is the Kronecker product of the covariance of the features, one in these axes, and the mean
    covariance of the classes, plus the penalty.
    """
    dtype = problem.rotated.dtype
    probabilities = point.probabilities.astype(dtype)
    likeliest = np.argmax(probabilities, axis=1)[:, None]
    mean = point.probabilities.mean(axis=0)
    curvature, basis = np.linalg.eigh(np.diag(mean) - point.probabilities.T @ point.probabilities / problem.size)
    stiffness = np.append(penalty / problem.spread, 0.0)[:, None]
    total = curvature + stiffness
    # equal shifts of all classes by the bias, last row and first column, change nothing
    inverse = np.where(total > 1e-12 * curvature[-1], 1 / np.maximum(total, 1e-300), 0)

    def precondition(vector: np.ndarray) -> np.ndarray:
        return inverse * (vector @ basis) @ basis.T

    rest = np.zeros((len(stiffness), len(mean)))
    rest[:-1] = -problem.axes.T @ point.gradient
    solution, search = np.zeros_like(rest), precondition(rest)
    square = float(np.sum(rest * search))
    enough, count = np.clip(point.gap, 0.1 * tolerance / point.gap, 1e-2) * square, 0
    while square > enough and count < MAX_PRODUCTS:
        # of order one, whatever the gradient is: single precision has no room for its square
        scale = np.abs(search).max()
        image = _product(problem.rotated, probabilities, likeliest, (search / scale).astype(dtype))
        image = scale * image.astype(np.float64) + stiffness * search
        count += 1
        curved = float(np.sum(search * image))
        if curved <= 0:  # the precision of the products ends here
            break
        solution += square / curved * search
        rest -= square / curved * image
        better = precondition(rest)
        square, before = float(np.sum(rest * better)), square
        search = better + square / before * search
    return problem.axes @ solution[:-1], count


def _product(rotated: np.ndarray, probabilities: np.ndarray, likeliest: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Product of the Hessian of the mean cross entropy with a vector ``[r + 1, k]``."""
    scores = rotated @ vector
    # measured from the likeliest class, so that nothing cancels where its probability is nearly one
    scores -= np.take_along_axis(scores, likeliest, axis=1)
    scores -= np.sum(probabilities * scores, axis=1, keepdims=True)
    scores *= probabilities
    return rotated.T @ scores / len(rotated)
