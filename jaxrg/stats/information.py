"""Mutual information of real variables, such as latents: of all pairs by a Gaussian copula, or by nearest neighbours.

Both are estimates with a sign: they subtract their bias at independence, so that independent variables give zero on
average and single values below it. Nothing is clipped, as a mean of clipped values would be biased upwards.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import digamma, ndtri

from jaxrg.checks import as_count, as_floating, as_floating_alike

ROWS_AT_ONCE = 256  # distances of so many samples to all others are held at a time


class Information(NamedTuple):
    """An estimate of mutual information, in nats."""

    value: Array  # [...]
    error: Array  # [...] one standard deviation


def pairwise_information(samples: Any) -> Information:
    r"""Mutual information of all pairs of variables in the Gaussian copula with their rank correlations.

    .. math:: I_{ab} = \tfrac12 \ln\frac{|\Sigma_a||\Sigma_b|}{|\Sigma_{ab}|}
        - \tfrac12\Big[\sum_{i\le p} \psi\big(\tfrac{N-i}2\big) - \sum_{p<i\le 2p}\psi\big(\tfrac{N-i}2\big)\Big]

    with the covariances of the normal scores :math:`\Phi^{-1}(\mathrm{rank}/(N+1))` of each component, so that no
    monotonic function of a variable changes anything. For p = 1 the first term is :math:`-\tfrac12\ln(1-\rho^2)`. The
    second is its bias, exact for Gaussian samples. For other dependences this is the information of the Gaussian copula
    with the same rank correlations, not that of the variables: dependence without correlation, as of x and x², is not
    seen. `mutual_information` sees it.

    Args:
        samples: ``[num_samples, num_variables]``, or ``[num_samples, num_variables, p]`` of variables with components;
            samples are independent, and more than ``2 p + 2``.

    Returns:
        ``[num_variables, num_variables]`` values and their errors, to first order :math:`\sqrt{\operatorname{tr}
        \rho\rho^T/N + p^2/2N^2}`; the diagonal is infinite.

    Raises:
        ValueError: no such array, or too few samples.

    Example:
        >>> x, y = jax.random.normal(jax.random.key(0), (2, 4000))
        >>> value, error = pairwise_information(jnp.stack([x, 0.6 * x + 0.8 * y], axis=1))
        >>> bool(abs(value[0, 1] + 0.5 * jnp.log(0.64)) < 5 * error[0, 1])
        True

    Reference:
        Misra, Singh & Demchuk, J. Multivar. Anal. 92, 324 (2005); Ince et al., Hum. Brain Mapp. 38, 1541 (2017).
    """
    array = as_floating("samples", samples)
    if array.ndim not in (2, 3):
        raise ValueError(
            f"samples: expected [num_samples, num_variables] or with components last, got shape {array.shape}"
        )
    array = array if array.ndim == 3 else array[..., None]
    num_samples, num_variables, num_components = array.shape
    if num_samples < 2 * num_components + 3 or not num_variables or not num_components:
        raise ValueError(
            f"samples: expected at least {2 * num_components + 3} samples of at least one variable, got {array.shape}"
        )
    return _pairwise(array)


@jax.jit
def _pairwise(samples: Array) -> Information:
    num_samples, num_variables, p = samples.shape
    scores = jnp.moveaxis(_normal_scores(samples), 0, 2)  # [variables, p, samples]
    own = jnp.einsum("aps,aqs->apq", scores, scores, precision="highest") / num_samples
    triangle = jnp.linalg.cholesky(own)
    white = jax.vmap(lambda left, right: jax.scipy.linalg.solve_triangular(left, right, lower=True))(triangle, scores)
    # of variables with unit covariances of their own, the information is that of the cross-correlation alone
    cross = jnp.einsum("aps,bqs->abpq", white, white, precision="highest") / num_samples
    squared = jnp.einsum("abpr,abqr->abpq", cross, cross, precision="highest")
    is_pair = ~jnp.eye(num_variables, dtype=bool)
    squared = jnp.where(is_pair[..., None, None], squared, 0)
    plain = -0.5 * jnp.linalg.slogdet(jnp.eye(p, dtype=samples.dtype)[None, None] - squared)[1]
    value = jnp.where(is_pair, plain - _bias(num_samples, p, samples.dtype), jnp.inf)
    trace = jnp.trace(squared, axis1=2, axis2=3)
    error = jnp.where(is_pair, jnp.sqrt(trace / num_samples + p**2 / (2 * num_samples**2)), jnp.inf)
    is_known = jnp.all(jnp.isfinite(samples), axis=(0, 2))
    is_known = is_known[:, None] & is_known[None, :]
    return Information(jnp.where(is_known, value, jnp.nan), jnp.where(is_known, error, jnp.nan))


def _bias(num_samples: int, p: int, dtype: Any) -> Array:
    """Mean of the plain estimate for independent Gaussian samples, from the mean logarithm of Wishart determinants."""
    means = digamma((num_samples - jnp.arange(1, 2 * p + 1, dtype=dtype)) / 2)
    return 0.5 * (jnp.sum(means[:p]) - jnp.sum(means[p:]))


def _normal_scores(samples: Array) -> Array:
    ranks = jnp.argsort(jnp.argsort(samples, axis=0), axis=0).astype(samples.dtype)
    return ndtri((ranks + 1) / (samples.shape[0] + 1))


def mutual_information(x: Any, y: Any, *, num_neighbours: int = 4) -> Information:
    r"""Mutual information of two variables of any dependence, by the nearest neighbours of every sample.

    .. math:: I = \psi(k) + \psi(N) - \langle \psi(n_x + 1) + \psi(n_y + 1) \rangle

    :math:`n_x` counts the samples closer in x than the k-th neighbour in the larger of both distances. The bias
    vanishes at independence; at strong dependence, where neighbours lie along a line, values come out too small unless
    N is far above exp(I). Every component is first scaled to variance one. The cost is N².

    Args:
        x: ``[num_samples]`` or ``[num_samples, components]``.
        y: the same number of samples of the other variable; no two samples alike.
        num_neighbours: k; more lower the variance and raise the bias.

    Returns:
        Value and error, the latter from the spread of the terms of the mean, which are nearly independent.

    Raises:
        ValueError: shapes that do not fit, or not more samples than neighbours.

    Example:
        >>> x, y = jax.random.normal(jax.random.key(0), (2, 1000))
        >>> value, error = mutual_information(x, x**2 + y)
        >>> bool(value > 5 * error)  # uncorrelated, but not independent
        True

    Reference:
        Kraskov, Stögbauer & Grassberger, Phys. Rev. E 69, 066138 (2004), first estimator.
    """
    count = as_count("num_neighbours", num_neighbours)
    first, second = as_floating_alike(x=x, y=y)
    for name, part in (("x", first), ("y", second)):
        if part.ndim not in (1, 2) or not part.size:
            raise ValueError(f"{name}: expected [num_samples] or [num_samples, components], got shape {part.shape}")
    if len(first) != len(second):
        raise ValueError(f"y: expected as many samples as x has, {len(first)}, got {len(second)}")
    if len(first) <= count:
        raise ValueError(f"num_neighbours: expected fewer than the number of samples, {len(first)}, got {count}")
    return _neighbours(first.reshape(len(first), -1), second.reshape(len(second), -1), count)


@jax.jit(static_argnames="count")
def _neighbours(x: Array, y: Array, count: int) -> Information:
    x, y = (part / jnp.std(part, axis=0, keepdims=True) for part in (x, y))
    num_samples = len(x)

    def term(row: Array) -> Array:
        away = [jnp.max(jnp.abs(part - part[row][None]), axis=1) for part in (x, y)]
        is_self = jnp.arange(num_samples) == row
        joint = jnp.where(is_self, jnp.inf, jnp.maximum(*away))
        radius = -jax.lax.top_k(-joint, count)[0][-1]
        near = [jnp.sum((part < radius) & ~is_self) for part in away]
        return sum(-digamma(number.astype(x.dtype) + 1) for number in near)  # type: ignore[return-value]

    terms = jax.lax.map(term, jnp.arange(num_samples), batch_size=min(ROWS_AT_ONCE, num_samples))
    constant = digamma(jnp.asarray(count, x.dtype)) + digamma(jnp.asarray(num_samples, x.dtype))
    is_known = jnp.all(jnp.isfinite(x)) & jnp.all(jnp.isfinite(y))
    error = jnp.std(terms) / jnp.sqrt(num_samples)
    return Information(*(jnp.where(is_known, part, jnp.nan) for part in (constant + jnp.mean(terms), error)))
