r"""Mutual information from scores of pairs, the larger the likelier a pair belongs together.

Each takes ``scores [rows, columns]`` and ``joint [rows, columns]``, the weights with which pairs of a batch belong
together, of sum one. For n pairs of samples, row i with column i, they are the identity over n. For states h of a
coarse variable in the rows and samples in the columns they are :math:`p(h | v_j) / n`: the sum over h is then exact,
and no row is missing. What trains the scores and what reports the information is the same function.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxrg.checks import as_floating_alike, check_number, is_traced

OFF = 1e-2  # from one, of weights in half precision


def _as_scores(scores: Any, joint: Any) -> tuple[Array, Array]:
    table, weights = as_floating_alike(scores=scores, joint=joint)
    if table.ndim != 2 or table.shape[1] < 2 or not table.size:
        raise ValueError(f"scores: expected [rows, columns] with at least 2 columns, got shape {table.shape}")
    if weights.shape != table.shape:
        raise ValueError(f"joint: expected weights of shape {table.shape} as scores, got {weights.shape}")
    if not is_traced(weights):
        lowest, total = float(np.min(np.asarray(weights))), float(np.sum(np.asarray(weights, np.float64)))
        if lowest < 0 or abs(total - 1) > OFF:  # NaN stays NaN
            raise ValueError(f"joint: expected weights >= 0 of sum one, got {lowest} and the sum {total}")
    return table, weights


def _as_batch(scores: Any, joint: Any) -> tuple[Array, Array]:
    """Scores and weights of samples in the columns, each of which weighs the same."""
    table, weights = _as_scores(scores, joint)
    if not is_traced(weights):
        shares = np.sum(np.asarray(weights, np.float64), axis=0) * table.shape[1]
        if np.max(np.abs(shares - 1)) > OFF:  # NaN stays NaN
            raise ValueError(
                f"joint: expected columns that are samples of one weight, got between {shares.min()} and "
                f"{shares.max()} of it; a table of probabilities is for filter_information"
            )
    return table, weights


def info_nce(scores: Any, joint: Any) -> Array:
    r"""The contrastive bound: how well the column of a row is told from the other columns of the batch.

    .. math:: I \ge \sum_{ij} w_{ij} \Bigl(s_{ij} - \ln \frac1n \sum_k e^{s_{ik}}\Bigr), \qquad
        s^* = \ln \frac{p(y|x)}{p(y)}

    in expectation over batches, whatever the scores. Of pairs of samples no batch gives more than ln n: informations
    near that need larger batches. The standard of the field.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: scores and weights that do not fit together, fewer than two columns, weights that do not sum to
            one, or columns of different weight.

    Example:
        >>> scores = 100 * jnp.eye(8)  # certain of all pairs
        >>> round(float(info_nce(scores, jnp.eye(8) / 8)), 4), round(float(jnp.log(8.0)), 4)
        (2.0794, 2.0794)

    Reference:
        van den Oord, Li & Vinyals, arXiv:1807.03748; Poole et al., arXiv:1905.06922.
    """
    return _info_nce(*_as_batch(scores, joint))


@jax.jit
def _info_nce(scores: Array, joint: Array) -> Array:
    log_mean = jax.nn.logsumexp(scores, axis=1, keepdims=True) - np.log(scores.shape[1]).astype(scores.dtype)
    return jnp.sum(joint * (scores - log_mean))


def conditional_bound(scores: Any, joint: Any) -> Array:
    r"""The bound of a model of the rows given a column, which has no cap where the rows are all states of H.

    .. math:: I \ge \sum_{hj} w_{hj} \ln \frac{q(h | e_j)}{\hat p(h)}, \qquad
        q(h | e) = \frac{\hat p(h) e^{s_h(e)}}{\sum_{h'} \hat p(h') e^{s_{h'}(e)}}, \qquad \hat p(h) = \sum_j w_{hj}

    that is :math:`H(H) - \langle -\ln q(h|e) \rangle`, an entropy less a cross entropy. What is missing is
    :math:`\mathrm{KL}(p(h|e) \,\|\, q(h|e))` alone. For n pairs of samples it is `info_nce` with rows and columns
    exchanged, and cannot exceed ln n.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: as `info_nce`, but columns may be of any weight.

    Example:
        >>> joint = jnp.array([[0.5, 0.0], [0.0, 0.5]])
        >>> round(float(conditional_bound(jnp.array([[9.0, 0.0], [0.0, 9.0]]), joint)), 4)
        0.693

    Reference:
        Barber & Agakov, NIPS (2003).
    """
    return _conditional_bound(*_as_scores(scores, joint))


@jax.jit
def _conditional_bound(scores: Array, joint: Array) -> Array:
    shares = jnp.sum(joint, axis=1, keepdims=True)
    is_there = shares > 0
    log_shares = jnp.where(is_there, jnp.log(jnp.where(is_there, shares, 1)), -jnp.inf)
    return jnp.sum(joint * (scores - jax.nn.logsumexp(scores + log_shares, axis=0, keepdims=True)))


def smile_bound(scores: Any, joint: Any, *, clip: Any = 5.0) -> Array:
    r"""The smoothed estimate without a cap: the bound of Donsker and Varadhan with clipped scores of pairs that do not
    belong together, and the gradient of the Jensen-Shannon divergence.

    .. math:: I \approx \sum_{ij} w_{ij} s_{ij} - \ln \sum_{ij} w'_{ij} e^{\mathrm{clip}(s_{ij}, -\tau, \tau)}, \qquad
        w' = \frac{n\, w_{i\cdot} w_{\cdot j} - w_{ij}}{n - 1}

    A small τ lowers the variance, and overestimates informations above it: no bound holds. The derivatives are those
    of :math:`-\sum w\, \mathrm{softplus}(-s) - \sum w'\, \mathrm{softplus}(s)`, greatest at
    :math:`s^* = \ln p(x,y)/p(x)p(y)`.

    Args:
        scores: ``[rows, columns]``.
        joint: ``[rows, columns]``.
        clip: τ > 0.

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: as `info_nce`, or τ not above zero.

    Example:
        >>> scores = 4 * jnp.eye(16) - 2
        >>> round(float(smile_bound(scores, jnp.eye(16) / 16)), 4)  # more than ln 16
        4.0

    Reference:
        Song & Ermon, arXiv:1910.06222.
    """
    check_number("clip", clip, above=0)
    return _smile_bound(*_as_batch(scores, joint), *as_floating_alike(clip=clip))


@jax.jit
def _smile_bound(scores: Array, joint: Array, clip: Array) -> Array:
    num_columns, clip = scores.shape[1], clip.astype(scores.dtype)
    product = jnp.sum(joint, axis=1)[:, None] * jnp.sum(joint, axis=0)[None, :]
    product = (product * num_columns - joint) / (num_columns - 1)
    value = jnp.sum(joint * scores) - jax.nn.logsumexp(jnp.clip(scores, -clip, clip), b=product)
    objective = -jnp.sum(joint * jax.nn.softplus(-scores)) - jnp.sum(product * jax.nn.softplus(scores))
    return objective + jax.lax.stop_gradient(value - objective)
