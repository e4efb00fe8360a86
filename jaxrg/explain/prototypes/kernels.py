"""The Gaussian kernel of two sets of points, and the width that the median of their distances suggests."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import Partial

from jaxrg.checks import as_count, as_floating, check_key, check_number

NUM_PAIRS = 10_000  # whose median is known to about one per cent of the spread of distances


def as_points(name: str, value: Any) -> Array:
    """At least one point along the first axis of floats that are finite where they can be seen, or a ValueError."""
    points = as_floating(name, value)
    if points.ndim < 2 or not points.size:
        raise ValueError(f"{name}: expected [points, ...] with features, got shape {tuple(points.shape)}")
    if not isinstance(points, Tracer) and not np.all(np.isfinite(np.asarray(points))):
        raise ValueError(f"{name}: expected finite values, got NaN or infinite ones")
    return points


def rbf(gamma: Any) -> Partial:
    r"""The Gaussian kernel as a function of two sets of points, for `mean_embedding`; gamma is its leaf.

    .. math:: k(x, y) = e^{-\gamma \|x - y\|^2}

    Distances come from one product of matrices, of points relative to the mean of the second set, so that a large
    common offset does not cost precision: in float32 they are good to about 1e-6 of the squared size of the cloud.

    Args:
        gamma: above zero; `median_gamma` suggests one.

    Returns:
        ``kernel(x, y) -> [n, m]`` of points ``[n, ...]`` and ``[m, ...]``.

    Raises:
        ValueError: no number above zero.

    Example:
        >>> rbf(0.5)(jnp.zeros((1, 2)), jnp.array([[0.0, 0.0], [9.0, 9.0]])).round(4).tolist()
        [[1.0, 0.0]]
    """
    width = as_floating("gamma", gamma)
    check_number("gamma", width, above=0.0)
    return Partial(_rbf, width)


@jax.jit
def _rbf(gamma: Array, x: Array, y: Array) -> Array:
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    if len(y) == 1:  # exact, and one pass over x without a copy of it
        squared = jnp.sum((x - y) ** 2, axis=1, keepdims=True)
        # Rounding to the precision it has: changes nothing, but keeps XLA from fusing the exponential with the sum,
        # which would then be a scalar loop on a CPU, six times as slow.
        digits = jnp.finfo(squared.dtype)
        squared = jax.lax.reduce_precision(squared, digits.nexp, digits.nmant)
    else:
        centre = jnp.mean(y, axis=0, keepdims=True)
        x, y = x - centre, y - centre
        lengths = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(y**2, axis=1)[None]
        squared = jnp.maximum(lengths - 2 * jnp.matmul(x, y.T, precision="highest"), 0)
    return jnp.exp(-gamma.astype(x.dtype) * squared)


def median_gamma(key: Array, points: Any, *, num_pairs: int = NUM_PAIRS) -> Array:
    r"""The median heuristic: one over the median squared distance of random pairs of different points.

    .. math:: \gamma = 1 / \operatorname{median}_{i \ne j} \|x_i - x_j\|^2

    Others write it for :math:`1/2\sigma^2` with the median distance as σ, which is half of this.

    Args:
        key: typed key of the pairs.
        points: ``[n, ...]``, two or more.
        num_pairs: pairs drawn.

    Returns:
        Scalar; infinite where half of the pairs coincide.

    Raises:
        ValueError: fewer than two points, or values that are not finite.

    Example:
        >>> float(median_gamma(jax.random.key(0), [[0.0, 0.0], [0.0, 2.0]]))
        0.25

    Reference:
        Garreau, Jitkrittum & Kanagawa, arXiv:1707.07269 (2017).
    """
    check_key("key", key)
    array = as_points("points", points)
    if len(array) < 2:
        raise ValueError(f"points: expected at least two, got shape {tuple(array.shape)}")
    return _median_gamma(key, array, as_count("num_pairs", num_pairs))


@jax.jit(static_argnums=2)
def _median_gamma(key: Array, points: Array, num_pairs: int) -> Array:
    first_key, second_key = jax.random.split(key)
    first = jax.random.randint(first_key, (num_pairs,), 0, len(points))
    second = (first + jax.random.randint(second_key, (num_pairs,), 1, len(points))) % len(points)

    def squared(pair: tuple[Array, Array]) -> Array:
        return jnp.sum((points[pair[0]] - points[pair[1]]) ** 2)

    return 1 / jnp.median(jax.lax.map(squared, (first, second), batch_size=min(num_pairs, 512)))
