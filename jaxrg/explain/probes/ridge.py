"""Linear readers of continuous targets, for all penalties from one singular value decomposition."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.base import safe_divide
from jaxrg.checks import as_floating_alike
from jaxrg.explain.probes.logistic import as_penalties


class RidgeProbes(NamedTuple):
    """Linear functions of one representation, one for each penalty: ``features @ weights + bias``."""

    weights: Array  # [num_penalties, num_features, num_targets]
    bias: Array  # [num_penalties, num_targets]
    penalties: Array  # [num_penalties]
    target_mean: Array  # [num_targets] of the samples fitted to: what is predicted by chance
    left_out_error: Array  # [num_penalties, num_targets] mean squared error of each sample, predicted from the others


def as_matrices(**values: ArrayLike) -> list[Array]:
    """Features ``[num_samples, ...]``, events flattened, and targets of the same samples, one or more, as matrices."""
    arrays = as_floating_alike(**values)
    for name, array in zip(values, arrays, strict=True):
        if not array.ndim or not array.size:
            raise ValueError(f"{name}: expected [num_samples, ...] with entries, got shape {tuple(array.shape)}")
        if len(array) != len(arrays[0]):
            raise ValueError(f"{name}: expected as many samples as there are features, {len(arrays[0])}, "
                             f"got {len(array)}")  # fmt: skip
    return [array.reshape(len(array), -1) for array in arrays]


def ridge_probes(features: ArrayLike, targets: ArrayLike, penalties: ArrayLike | Sequence[float]) -> RidgeProbes:
    r"""Ridge regression with a free bias, and its leave-one-out error, for all penalties at once.

    .. math:: \min_{w, b} \frac1n \sum_i (y_i - w \cdot x_i - b)^2 + \lambda \|w\|^2, \qquad
        y_i - \hat y_{-i} = \frac{y_i - \hat y_i}{1 - h_{ii}}

    with the hat matrix :math:`\hat y = H y`; the left-out prediction is that of the n - 1 other samples with the same
    penalty :math:`n\lambda` on their sum of squares. Choose the penalty by it, target by target, and the test set stays
    untouched: ``jnp.argmin(probes.left_out_error, axis=0)``. An infinite penalty gives the mean of the targets: chance.

    Args:
        features: ``[num_samples, ...]``, events flattened.
        targets: ``[num_samples]`` or ``[num_samples, num_targets]``.
        penalties: ``[num_penalties]`` λ above zero, or one number.

    Returns:
        `RidgeProbes` in the precision of the features, of which variances below 1e-7 (float32) of the largest one are
        taken for none. NaN where there is NaN in the features or in a target; an infinite error where a sample cannot
        be left out, as the only one.

    Raises:
        ValueError: shapes that do not fit, or penalties that are not above zero.

    Example:
        >>> probes = ridge_probes([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], [1e-6, jnp.inf])
        >>> [[round(x, 3) for x in part.ravel().tolist()] for part in probes[:2]]
        [[2.0, 0.0], [1.0, 3.0]]

    Reference:
        Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, sections 3.4.1 and 7.10.
    """
    inputs, outputs = as_matrices(features=features, targets=targets)
    return _ridge(inputs, outputs, as_penalties("penalties", penalties).astype(np.dtype(inputs.dtype)))


def principal(inputs: Array) -> tuple[Array, Array, Array, Array]:
    """Mean, and U, S, Vᵀ of the centred features over the root of their number; what is rounding in S is zero."""
    mean = jnp.mean(inputs, axis=0)
    left, singular, right = jnp.linalg.svd((inputs - mean[None]) / np.sqrt(len(inputs)), full_matrices=False)
    is_there = singular > max(inputs.shape) * jnp.finfo(inputs.dtype).eps * singular[0]
    return mean, left, jnp.where(is_there | jnp.isnan(singular), singular, 0), right


@jax.jit
def _ridge(inputs: Array, targets: Array, penalties: Array) -> RidgeProbes:
    def matmul(first: Array, second: Array) -> Array:
        return jnp.matmul(first, second, precision="highest")

    size = len(inputs)
    mean, left, singular, right = principal(inputs)
    target_mean = jnp.mean(targets, axis=0)
    centred = targets - target_mean[None]
    within = matmul(left.T, centred)  # [r, targets]
    ratio = jnp.square(singular)[None, :] / penalties[:, None]
    kept = ratio / (1 + ratio)  # [penalties, r], of each axis of the targets
    slopes = jnp.where(singular > 0, safe_divide(kept, singular[None]), singular[None]) / np.sqrt(size)
    weights = jnp.einsum("rd,pr,rt->pdt", right, slopes, within, precision="highest")
    bias = target_mean[None] - jnp.einsum("d,pdt->pt", mean, weights, precision="highest")
    # y - fitted and 1 - h are small where the fit goes through the samples: both are sums of what is not kept, along
    # the axes of the features and beyond these, where n - 1 axes leave nothing.
    is_there = (singular > 0) | jnp.isnan(singular)
    axes = jnp.where(is_there[None, :], left, 0)
    share_beyond = 1 - 1 / size - jnp.sum(jnp.square(axes), axis=1)
    rounding = min(inputs.shape) * jnp.finfo(inputs.dtype).eps
    is_beyond = (jnp.sum(is_there) < size - 1) & ~(share_beyond < rounding)
    share_beyond = jnp.where(is_beyond, share_beyond, 0)
    beyond = jnp.where(is_beyond[:, None], centred - matmul(axes, within), 0)
    dropped = 1 / (1 + ratio)
    left_over = beyond[:, None, :] + jnp.einsum("nr,pr,rt->npt", axes, dropped, within, precision="highest")
    share = share_beyond[:, None] + matmul(jnp.square(axes), dropped.T)  # [samples, penalties] 1 - h
    left_out = jnp.where(share[:, :, None] == 0, jnp.inf, safe_divide(left_over, share[:, :, None]))
    return RidgeProbes(weights, bias, penalties, target_mean, jnp.mean(jnp.square(left_out), axis=0))
