"""The mean embedding of a data set, and how far weighted examples are from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.tree_util import Partial

from jaxrg.checks import as_floating, as_integers, check_function, check_shape, kind_of
from jaxrg.closures import as_partial
from jaxrg.explain.prototypes.kernels import as_points

TILE = 512  # points: the products of two tiles keep a processor busy, and a tile of kernel values stays in its cache
MAX_HELD = 6_000  # points whose whole kernel matrix, 144 MB, is kept, so that a column costs nothing
NUM_CHECKED = 256  # points on which a kernel is looked at


class MeanEmbedding(NamedTuple):
    """What is known of a data set under a kernel: all that choosing examples needs."""

    points: Array  # [n, ...]
    kernel: Partial  # kernel(x, y) -> [len(x), len(y)]
    means: Array  # [n], mean of k(x_i, x) over the data x
    diagonal: Array  # [n], k(x_i, x_i)
    mean: Array  # scalar, mean of all kernel values
    matrix: Array  # [n, n] kernel values of up to 6,000 points; [0, 0] beyond, where columns are computed anew

    def column(self, index: Array) -> Array:
        """``[n]`` kernel values of all points with one of them."""
        if len(self.matrix):
            return self.matrix[index]
        return self.kernel(self.points, self.points[index][None])[:, 0]

    def rows(self, queries: Array, indices: Array, take: Callable[[Array], Array]) -> Array:
        """``take(values[m])`` of every query's kernel values with some of the points, a tile of queries at a time."""
        chosen = self.points[indices]
        return jax.lax.map(
            lambda row: take(self.kernel(queries[row][None], chosen)[0]),
            jnp.arange(len(queries)),
            batch_size=min(len(queries), TILE),
        )


def mean_embedding(points: Any, kernel: Callable[[Array, Array], Array]) -> MeanEmbedding:
    r"""Mean kernel value of every point with all points, streamed over tiles: no large n × n matrix is ever held.

    .. math:: \mu_i = \frac{1}{n} \sum_j k(x_i, x_j)

    A tile of kernel values serves its rows and its columns, so that half of the matrix is computed. The kernel is
    first looked at on up to 256 random points: finite, symmetric, and without eigenvalues below zero beyond rounding.

    Args:
        points: ``[n, ...]``; those of lattices or images need not be flattened.
        kernel: ``kernel(x, y) -> [len(x), len(y)]``, positive semidefinite, such as `rbf`. A product with the equality
            of labels, kept among the features, chooses within classes.

    Returns:
        `MeanEmbedding`, which takes n²/2 kernel values and the memory of a few tiles; up to 6,000 points keep theirs.

    Raises:
        ValueError: points that are not finite; a kernel of another shape, not finite, not symmetric or not positive
            (where values can be seen, so not under a transformation).

    Example:
        >>> from jaxrg.explain.prototypes import rbf
        >>> mean_embedding([[0.0], [0.0], [9.0], [9.0]], rbf(1.0)).means.tolist()
        [0.5, 0.5, 0.5, 0.5]

    Reference:
        Gretton, Borgwardt, Rasch, Schölkopf & Smola, JMLR 13, 723 (2012).
    """
    array = as_points("points", points)
    check_function("kernel", kernel, of="two sets of points")
    kernel = as_partial(kernel)
    size = min(len(array), TILE)
    shape = jax.ShapeDtypeStruct((size, *array.shape[1:]), array.dtype)
    try:
        found = jax.eval_shape(kernel, shape, shape)
    except (TypeError, ValueError) as error:
        raise ValueError(f"kernel: expected a function of points of shape {array.shape[1:]}, got {error}") from error
    if getattr(found, "shape", None) != (size, size) or not jnp.issubdtype(found.dtype, jnp.floating):
        raise ValueError(
            f"kernel: expected floats of shape {(size, size)} from two sets of {size} points, got {kind_of(found)}"
            + (f" of shape {found.shape} and dtype {found.dtype}" if hasattr(found, "dtype") else "")
        )
    _check_positive(array, kernel)
    return _mean_embedding(array, kernel)


def _check_positive(points: Array, kernel: Partial) -> None:
    """Raise ValueError unless the kernel is a positive one on some points, where values can be seen."""
    count = min(len(points), NUM_CHECKED)
    block = _block(points, kernel, np.random.default_rng(0).choice(len(points), count, replace=False))
    if isinstance(block, Tracer):
        return
    values, precision = np.asarray(block, np.float64), float(jnp.finfo(block.dtype).eps)
    if not np.all(np.isfinite(values)):
        raise ValueError("kernel: expected finite values, got NaN or infinite ones")
    # Rounding moves an eigenvalue by less than the number of points times that of an entry.
    tolerance = 8 * count * precision * max(float(np.abs(values).max()), np.finfo(np.float32).tiny)
    if (apart := float(np.abs(values - values.T).max())) > tolerance:
        raise ValueError(f"kernel: expected a symmetric one, got k(x, y) and k(y, x) that differ by {apart:.3g}")
    if (least := float(np.linalg.eigvalsh((values + values.T) / 2)[0])) < -tolerance:
        raise ValueError(
            f"kernel: expected a positive semidefinite one, got the eigenvalue {least:.3g} on {count} of the points"
        )


@jax.jit
def _block(points: Array, kernel: Partial, rows: Array) -> Array:
    return kernel(points[rows], points[rows])


@jax.jit
def _mean_embedding(points: Array, kernel: Partial) -> MeanEmbedding:
    n, dtype = len(points), jax.eval_shape(kernel, points[:1], points[:1]).dtype

    def own(row: Array) -> Array:
        return kernel(points[row][None], points[row][None])[0, 0]

    diagonal = jax.lax.map(own, jnp.arange(n), batch_size=min(n, TILE))
    if n <= MAX_HELD:
        matrix = _over_tiles(points, kernel, _fill, jnp.zeros((n, n), dtype))
        means = jnp.mean(matrix, axis=1)
    else:
        matrix, means = jnp.zeros((0, 0), dtype), _over_tiles(points, kernel, _sum, jnp.zeros(n, dtype)) / n
    return MeanEmbedding(points, kernel, means, diagonal, jnp.mean(means), matrix)


class _Tile(NamedTuple):
    start: Array  # int, its first row
    points: Array  # [size, ...]
    is_own: Array  # [size] ones at the rows that no tile before it has


def _over_tiles(points: Array, kernel: Partial, take: Callable, state: Array) -> Array:
    """The state after ``take(state, first, second, values)`` of every pair of tiles, each pair once."""
    n = len(points)
    size = min(n, TILE)
    pairs = jnp.asarray(np.stack(np.triu_indices(-(-n // size)), axis=1).astype(np.int32))

    def tile(number: Array) -> _Tile:
        start = jnp.minimum(number * size, n - size)  # the last one begins early, to be as long as the others
        is_own = start + jnp.arange(size, dtype=jnp.int32) >= number * size
        return _Tile(start, jax.lax.dynamic_slice_in_dim(points, start, size), is_own.astype(state.dtype))

    def step(index: Array, state: Array) -> Array:
        first, second = tile(pairs[index, 0]), tile(pairs[index, 1])
        return take(state, first, second, kernel(first.points, second.points))

    return jax.lax.fori_loop(0, len(pairs), step, state)


def _fill(matrix: Array, first: _Tile, second: _Tile, values: Array) -> Array:
    matrix = jax.lax.dynamic_update_slice(matrix, values, (first.start, second.start))
    return jax.lax.dynamic_update_slice(matrix, values.T, (second.start, first.start))


def _sum(sums: Array, first: _Tile, second: _Tile, values: Array) -> Array:
    """Row sums, of both tiles where they are two."""
    sums = _added(sums, first.start, first.is_own * jnp.matmul(values, second.is_own, precision="highest"))
    columns = second.is_own * jnp.matmul(first.is_own, values, precision="highest")
    return _added(sums, second.start, jnp.where(first.start == second.start, 0, columns))


def _added(sums: Array, start: Array, values: Array) -> Array:
    before = jax.lax.dynamic_slice_in_dim(sums, start, len(values))
    return jax.lax.dynamic_update_slice_in_dim(sums, before + values, start, 0)


def as_embedding(value: Any) -> MeanEmbedding:
    """A `MeanEmbedding`, or a ValueError."""
    if not isinstance(value, MeanEmbedding):
        raise ValueError(f"embedding: expected a MeanEmbedding, as mean_embedding makes it, got {kind_of(value)}")
    return value


def as_indices(embedding: MeanEmbedding, value: Any) -> Array:
    """One or more different points of a data set by number, or a ValueError."""
    indices = as_integers("indices", value, minimum=0, maximum=len(embedding.points) - 1)
    if indices.ndim != 1 or not indices.size:
        raise ValueError(f"indices: expected [prototypes], one or more, got shape {tuple(indices.shape)}")
    if not isinstance(indices, Tracer) and len(np.unique(np.asarray(indices))) < len(indices):
        raise ValueError("indices: expected different points, got one of them twice")
    return jax.lax.convert_element_type(indices, jnp.int32)


def as_weights(embedding: MeanEmbedding, indices: Array, value: Any) -> Array:
    """Their weights ``[m]``, equal ones that sum to one where none are given, or a ValueError."""
    dtype = embedding.means.dtype
    if value is None:
        return jnp.asarray(np.full(indices.shape, 1 / len(indices), dtype))
    weights = as_floating("weights", value)
    check_shape("weights", weights, indices.shape)
    return jax.lax.convert_element_type(weights, dtype)


def mmd_squared(embedding: MeanEmbedding, indices: Any, weights: Any = None) -> Array:
    r"""Squared maximum mean discrepancy of a data set and weighted points of it.

    .. math:: \mathrm{MMD}^2 = \frac{1}{n^2}\sum_{ij} k(x_i, x_j) - 2\sum_j w_j \mu_j + \sum_{jl} w_j w_l k(x_j, x_l)

    Args:
        embedding: from `mean_embedding`.
        indices: ``[m]`` different points.
        weights: ``[m]``; 1/m each where none are given.

    Returns:
        Scalar; in float32 good to about 1e-6 of the largest kernel value.

    Raises:
        ValueError: points that are not there or come twice, or weights of another shape.

    Example:
        >>> from jaxrg.explain.prototypes import rbf
        >>> embedding = mean_embedding([[0.0], [9.0]], rbf(1.0))
        >>> mmd_squared(embedding, [0]).tolist(), mmd_squared(embedding, [0, 1]).tolist()
        (0.5, 0.0)
    """
    chosen = as_indices(as_embedding(embedding), indices)
    return _mmd_squared(embedding, chosen, as_weights(embedding, chosen, weights))


@jax.jit
def _mmd_squared(embedding: MeanEmbedding, indices: Array, weights: Array) -> Array:
    # Relative to the mean of the data, so that nothing large cancels where the weights sum to one.
    means = embedding.means[indices]
    matrix = embedding.rows(embedding.points[indices], indices, lambda values: values)
    centred = matrix - means[:, None] - means[None] + embedding.mean
    missing = 1 - jnp.sum(weights)
    along = jnp.sum(weights * (means - embedding.mean))
    return weights @ centred @ weights - 2 * missing * along + missing**2 * embedding.mean


def witness(embedding: MeanEmbedding, indices: Any, weights: Any = None) -> Array:
    r"""Where weighted points fall short of the data, or stand for too much: ``[n]``, at every point of the data.

    .. math:: f(x) = \frac{1}{n} \sum_i k(x, x_i) - \sum_j w_j k(x, x_j)

    Args:
        embedding: from `mean_embedding`.
        indices: ``[m]`` different points.
        weights: ``[m]``; 1/m each where none are given.

    Raises:
        ValueError: points that are not there or come twice, or weights of another shape.

    Example:
        >>> from jaxrg.explain.prototypes import rbf
        >>> witness(mean_embedding([[0.0], [9.0]], rbf(1.0)), [0]).tolist()
        [-0.5, 0.5]
    """
    chosen = as_indices(as_embedding(embedding), indices)
    return _witness(embedding, chosen, as_weights(embedding, chosen, weights))


@jax.jit
def _witness(embedding: MeanEmbedding, indices: Array, weights: Array) -> Array:
    return embedding.means - embedding.rows(embedding.points, indices, lambda values: values @ weights)


def nearest_prototype(embedding: MeanEmbedding, indices: Any, queries: Any) -> Array:
    r"""Which prototype is nearest in feature space: with their labels, a 1-nearest-neighbour classifier.

    .. math:: \arg\min_j\; k(x_j, x_j) - 2 k(q, x_j)

    Args:
        embedding: from `mean_embedding`.
        indices: ``[m]`` different points.
        queries: ``[num_queries, ...]`` points like those of the embedding.

    Returns:
        int ``[num_queries]`` in 0, ..., m - 1, the first of several that are equally near.

    Raises:
        ValueError: points that are not there or come twice, or queries of another shape or not finite.

    Example:
        >>> from jaxrg.explain.prototypes import rbf
        >>> embedding = mean_embedding([[0.0], [1.0], [2.0]], rbf(1.0))
        >>> nearest_prototype(embedding, [0, 2], [[0.1], [1.7]]).tolist()
        [0, 1]
    """
    chosen, asked = as_indices(as_embedding(embedding), indices), as_points("queries", queries)
    check_shape("queries", asked, (len(asked), *embedding.points.shape[1:]))
    return _nearest_prototype(embedding, chosen, asked.astype(embedding.points.dtype))


@jax.jit
def _nearest_prototype(embedding: MeanEmbedding, indices: Array, queries: Array) -> Array:
    own = embedding.diagonal[indices]
    return embedding.rows(queries, indices, lambda values: jnp.argmin(own - 2 * values))
