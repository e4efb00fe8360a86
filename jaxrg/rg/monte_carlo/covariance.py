"""Scaling dimensions without block spins: covariances of local operators at two distances, disentangled."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from jaxrg.base import Progress, PyTree, Sampler
from jaxrg.checks import as_count, as_spins, check_function, check_number, kind_of
from jaxrg.closures import as_partial
from jaxrg.lattice import Operators
from jaxrg.rg.monte_carlo.linearised import as_which
from jaxrg.rg.monte_carlo.streams import sums_of_bins

MAX_CONDITION = 1e8  # of the covariances at the near distance, beyond which noise decides


def local_operators(operators: Operators, spins: Array) -> Array:
    r"""What every site has of each operator: the mean product of those that it is in.

    .. math:: O_a(x) = \frac{s_x}{n_a |a|} \frac{\partial S_a}{\partial s_x}, \qquad
        \frac1N \sum_x O_a(x) = \frac{S_a}{N |a|}

    for products of :math:`n_a` spins, :math:`|a|` of them a site. All symmetries of the lattice around x leave O(x) as
    it is, so that distances between operators of any shape are those between their sites.

    Args:
        operators: a basis on a periodic lattice.
        spins: ``[*shape]`` ±1, one configuration.

    Returns:
        ``[num_operators, *shape]`` float32.

    Raises:
        ValueError: no operators, an open lattice, or spins of another shape.

    Example:
        >>> from jaxrg import lattice
        >>> basis = lattice.standard_operators(lattice.hypercubic((4,)), ["nearest_neighbour"])
        >>> local_operators(basis, jnp.array([1, 1, -1, -1])).tolist()
        [[0.0, 0.0, 0.0, 0.0]]
    """
    if not isinstance(operators, Operators):
        raise ValueError(f"operators: expected a basis of lattice.operators, got {kind_of(operators)}")
    if not all(operators.lattice.periodic):
        raise ValueError(f"operators: expected a periodic lattice, got periodic {operators.lattice.periodic}")
    return _local_operators(operators, as_spins("spins", spins, operators.lattice.shape))


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _local_operators(operators: Operators, spins: Array) -> Array:
    axes = tuple(range(spins.ndim))
    values = spins.astype(jnp.float32)
    shifted = functools.cache(lambda offset: jnp.roll(values, tuple(-step for step in offset), axes))
    found = []
    for orbit in operators.terms:
        places = []
        for term in orbit:
            product = functools.reduce(operator.mul, map(shifted, term))
            places += [jnp.roll(product, offset, axes) for offset in term]
        found.append(functools.reduce(operator.add, places) / np.float32(len(places)))
    return jnp.stack(found)


class Covariances(NamedTuple):
    """Covariances of local operators along the first axis, about the mean of each bin; of NumPy, in float64.

    Attributes:
        distances: ``[num_distances]`` in lattice spacings.
        counts: ``[num_bins]`` configurations.
        means: ``[num_bins, num_operators]``.
        covariances: ``[num_bins, num_distances, num_operators, num_operators]``
            :math:`\\langle O_a(0) O_b(r) \\rangle` less the product of means, symmetric.
    """

    distances: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def operator_covariances(
    key: Array,
    sampler: Sampler,
    state: PyTree,
    num_steps: int,
    local_fn: Callable[[Array], Array],
    distances: Sequence[int],
    *,
    num_bins: int = 64,
    progress: Progress | bool | None = None,
) -> Covariances:
    r"""Covariances of local operators at some distances, of the configurations of a sampler.

    .. math:: C_{ab}(r) = \langle O_a(x)\, O_b(x + r e_1) \rangle - \langle O_a \rangle \langle O_b \rangle

    averaged over all sites. Operators that are averaged over the other axes first, as those of the slices of a strip,
    have no momentum along them.

    Args:
        key: typed key of the run.
        sampler: as for `measure`; translations along the first axis are a symmetry of its model.
        state: from ``sampler.init`` or an earlier run.
        num_steps: steps to take, a multiple of ``num_bins`` if the bins are stretches of time.
        local_fn: operators ``[num_operators, length, ...]`` of one configuration, such as `local_operators` of a basis.
        distances: r, along the axis after that of the operators.
        num_bins: as for `measure`.
        progress: called as ``progress(parts done, parts, "")``, or True for a bar.

    Raises:
        ValueError: what `jaxrg.samplers.run` refuses, no function of one configuration, or no distances.
        FloatingPointError: a step of the sampler failed.
    """
    check_function("local_fn", local_fn, of="one configuration")
    if isinstance(distances, str) or not isinstance(distances, Sequence | np.ndarray) or not len(distances):
        raise ValueError(f"distances: expected a sequence of integers, got {kind_of(distances)}")
    steps = tuple(as_count("distances", distance, minimum=0) for distance in distances)
    local = as_partial(local_fn)
    _, counts, center, (deviations, products) = sums_of_bins(
        key, sampler, state, num_steps, num_bins, Partial(_of_batch, local), Partial(_sums, _Distances(steps)), progress
    )
    center = center.mean(axis=(1, 2))
    shift = deviations / counts[:, None]
    covariances = products / counts[:, None, None, None] - (shift[:, :, None] * shift[:, None, :])[:, None]
    symmetric = (covariances + np.swapaxes(covariances, -1, -2)) / 2
    return Covariances(np.array(steps), counts, center + shift, symmetric)


@jax.tree_util.register_static
class _Distances(tuple):
    """Static distances as an argument of a `Partial`."""

    __slots__ = ()


def _of_batch(local: Callable, _: Array, configurations: Array) -> Array:
    """``[n, num_operators, length, lanes]``."""
    values = jax.vmap(local)(configurations)
    if values.ndim < 3:
        raise ValueError(f"local_fn: expected operators [num_operators, length, ...], got {values.shape[1:]}")
    return values.reshape(*values.shape[:3], -1)


def _sums(distances: _Distances, center: Array, values: Array) -> tuple[Array, Array]:
    """Of deviations from the mean over all sites at the start, and of their products at every distance."""
    _, size, length, lanes = values.shape
    deviations = values - jnp.mean(center, axis=(1, 2))[None, :, None, None]
    scale = np.float32(1 / (length * lanes))
    flat = deviations.transpose(1, 0, 2, 3)

    def at(distance: int) -> Array:
        moved = jnp.roll(flat, -distance, axis=2).reshape(size, -1)
        return flat.reshape(size, -1) @ moved.T * scale

    return jnp.sum(deviations, axis=(0, 2, 3)) * scale, jnp.stack([at(distance) for distance in distances])


class ScalingDimensions(NamedTuple):
    """Scaling dimensions, each of an operator that does not mix with the others; of NumPy.

    Attributes:
        dimensions: ``[num_operators]`` Δ, rising; NaN of eigenvalues that noise has made negative.
        errors: of them, by a jackknife over the bins.
        operators: ``[num_operators, num_operators]`` the combination for each dimension, one a row, of unit covariance
            at the near distance.
        condition_number: of the near covariances, of operators scaled to unit variance.
    """

    dimensions: np.ndarray
    errors: np.ndarray
    operators: np.ndarray
    condition_number: float


def scaling_dimensions(
    near: Covariances,
    far: Covariances,
    places: tuple[int, int],
    rescaling: float,
    *,
    which: Sequence[int] | np.ndarray | None = None,
    is_odd: bool = False,
) -> ScalingDimensions:
    r"""Disentangle scaling dimensions from covariances at two distances.

    .. math:: C(r') v_i = \lambda_i\, C(r)\, v_i, \qquad \lambda_i = B^{-\Delta_i}

    In the plane :math:`\langle O(0) O(r) \rangle \propto r^{-2\Delta}`, so that B is the square of :math:`r'/r`, where
    r and r' are the same part of the sides of two lattices, or small beside those of one. Along a strip of
    circumference L a translation is a dilation of the plane, :math:`\langle O(0) O(t) \rangle \propto
    e^{-2\pi\Delta t/L}`, so that :math:`B = e^{2\pi(t'-t)/L}`, and every excited state is a dimension: of operators
    without momentum those of scalars and of their scalar descendants.

    Args:
        near: from `operator_covariances`.
        far: the same object, or one of another run with the same operators.
        places: index of the distance r among those of ``near``, and of r' among those of ``far``.
        rescaling: B > 1.
        which: indices of the operators, all by default; even and odd ones one after the other.
        is_odd: whether the means are zero by symmetry, and not to be measured.

    Raises:
        ValueError: no covariances, places or operators that they do not have, near covariances that are not positive,
            as beyond the noise, or with a condition number above 1e8.

    Reference:
        Sandvik, arXiv:2406.12681, with the eigenvalues of C(r) itself; Lüscher & Wolff, Nucl. Phys. B 339, 222 (1990)
        for the generalised problem.
    """
    for name, given in (("near", near), ("far", far)):
        if not isinstance(given, Covariances):
            raise ValueError(
                f"{name}: expected Covariances of rg.monte_carlo.operator_covariances, got {kind_of(given)}"
            )
    check_number("rescaling", rescaling, above=1)
    chosen = as_which(which, near.means.shape[1])
    if far.means.shape[1] != near.means.shape[1]:
        raise ValueError(f"far: expected {near.means.shape[1]} operators as in near, got {far.means.shape[1]}")
    first = _left_out(near, places[0], chosen, is_odd)
    second = _left_out(far, places[1], chosen, is_odd)
    scales = np.sqrt(np.maximum(np.diagonal(first[0]), np.finfo(float).tiny))
    spectrum = np.linalg.eigvalsh(first[0] / scales[:, None] / scales)
    if not spectrum[0] > spectrum[-1] / MAX_CONDITION > 0:
        raise ValueError(
            f"near: expected positive covariances at distance {near.distances[places[0]]}, got eigenvalues from "
            f"{spectrum[0]:.3g} to {spectrum[-1]:.3g} of operators of unit variance: take fewer operators, a shorter "
            "distance or more samples"
        )
    values, vectors = _disentangled(first[0], second[0])
    # To first order in the differences of replicates, so that none is taken for another.
    if near is far:
        changes = _changes(values, vectors, first[1:] - first[0], second[1:] - second[0])
        errors = _spread(changes)
    else:
        nothing = np.zeros_like(first[:1])
        parts = (first[1:] - first[0], nothing), (nothing, second[1:] - second[0])
        errors = np.hypot(*(_spread(_changes(values, vectors, *part)) for part in parts))
    logarithm = np.log(float(rescaling))
    with np.errstate(invalid="ignore", divide="ignore"):
        dimensions = np.where(values > 0, -np.log(np.abs(values)) / logarithm, np.nan)
        uncertain = np.where(values > 0, errors / np.abs(values) / logarithm, np.nan)
    return ScalingDimensions(dimensions, uncertain, vectors.T, float(spectrum[-1] / spectrum[0]))


def _left_out(covariances: Covariances, place: int, chosen: np.ndarray, is_odd: bool) -> np.ndarray:
    """``[1 + num_bins, operators, operators]`` of all bins together, and of all but each one."""
    place = as_count("places", place, minimum=0)
    if place >= len(covariances.distances):
        raise ValueError(f"places: expected indices below {len(covariances.distances)} distances, got {place}")
    weights = covariances.counts / covariances.counts.sum()
    means = covariances.means[:, chosen]
    deviations = means if is_odd else means - weights @ means
    own = covariances.covariances[:, place][:, chosen][:, :, chosen]
    products = own + deviations[:, :, None] * deviations[:, None, :]
    together = np.tensordot(weights, products, 1)
    rest = (1 - weights)[:, None, None]
    others = (together - weights[:, None, None] * products) / rest
    if not is_odd:
        shift = weights[:, None] * deviations / rest[:, 0]
        others = others - shift[:, :, None] * shift[:, None, :]
    return np.concatenate([together[None], others])


def _disentangled(near: np.ndarray, far: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, falling, and vectors of unit covariance in columns."""
    size, axes = np.linalg.eigh(near)
    white = axes / np.sqrt(size)
    values, vectors = np.linalg.eigh(white.T @ far @ white)
    return values[::-1], (white @ vectors)[:, ::-1]


def _changes(values: np.ndarray, vectors: np.ndarray, near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """``[num_bins, operators]`` of the eigenvalues with the covariances."""
    moved = far[:, None] - values[None, :, None, None] * near[:, None]
    return np.einsum("ai,niab,bi->ni", vectors, moved, vectors)


def _spread(changes: np.ndarray) -> np.ndarray:
    return np.sqrt((len(changes) - 1) * np.mean((changes - changes.mean(axis=0)) ** 2, axis=0))
