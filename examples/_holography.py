"""What the holographic study measures: decay of correlations, the mean phase in latents, and information in the bulk.

Errors come from groups of samples that are independent of each other: chains side by side, or batches of draws.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from jaxrg import lattice, stats

FIRST = 2  # the shortest distance in fits, in sites


# %% Decay of correlations
def correlations(field: jax.Array) -> jax.Array:
    """``[L/2 + 1]`` mean of phi*(x) phi(x + r) of one configuration ``[L, L, 2]`` along both axes."""
    spectrum = jnp.square(jnp.abs(jnp.fft.fft2(field[..., 0] + 1j * field[..., 1])))
    products = jnp.real(jnp.fft.ifft2(spectrum)) / (field.shape[0] * field.shape[1])
    return (products[0] + products[:, 0])[: field.shape[0] // 2 + 1] / 2


def _waves(side: int) -> tuple[np.ndarray, np.ndarray]:
    """4 sum sin^2(k/2) of all wave vectors, and ``[L/2 + 1, L, L]`` cos(k r) of distances r along an axis."""
    k = 2 * np.pi * np.arange(side) / side
    laplacian = 4 * np.sin(k[:, None] / 2) ** 2 + 4 * np.sin(k[None] / 2) ** 2
    return laplacian, np.cos(np.arange(side // 2 + 1)[:, None, None] * k[None, :, None]) * np.ones(side)


def power_law(side: int, distances: np.ndarray) -> Callable:
    r"""A exp(-2 pi eta D(r)): spin waves on a periodic lattice, r^-eta at distances far from both ends.

    D(r) = (1/N) sum over k != 0 of (1 - cos k r) / 4 sum sin^2(k/2); A is the value at the first distance.
    """
    laplacian, cosines = _waves(side)
    laplacian[0, 0] = np.inf
    growth = np.mean((1 - cosines) / laplacian, axis=(1, 2))[distances]
    return lambda _, amplitude, eta: amplitude * np.exp(-2 * np.pi * eta * (growth - growth[0]))


def exponential(side: int, distances: np.ndarray) -> Callable:
    """A P(r) / P(first): the propagator of a mass 1/xi on a periodic lattice, a sum of cosh over wave vectors."""
    laplacian, cosines = _waves(side)

    def decay(_, amplitude: float, log_mass: float) -> np.ndarray:
        propagator = np.mean(cosines / (laplacian + np.exp(2 * log_mass)), axis=(1, 2))[distances]
        return amplitude * propagator / propagator[0]

    return decay


class Decay(NamedTuple):
    """Both fits of one correlation function; with two parameters each, the smaller chi squared is the better one."""

    mean: np.ndarray  # [L/2 + 1]
    error: np.ndarray
    eta: float
    eta_error: float
    correlation_length: float
    chi_squared: tuple[float, float]  # power law, exponential
    freedom: int
    curves: tuple[np.ndarray, np.ndarray]  # of both fits at the fitted distances
    distances: np.ndarray

    @property
    def preference(self) -> float:
        """Chi squared of the exponential less that of the power law: ln of the likelihood ratio, twice."""
        return self.chi_squared[1] - self.chi_squared[0]


def leave_one_out(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """``[groups, n]`` weighted means of ``[groups, samples, n]`` without one group each."""
    sums, totals = np.einsum("gs,gsn->gn", weights, values), weights.sum(axis=1)[:, None]
    return (sums.sum(axis=0) - sums) / (totals.sum() - totals)


def decay_of(values: Any, weights: Any = None) -> Decay:
    """Fits to ``[groups, samples, L/2 + 1]`` correlations, by chi squared with the jackknife's covariance."""
    values = np.asarray(values, np.float64)
    weights = np.ones(values.shape[:2]) if weights is None else np.asarray(weights, np.float64)
    groups, side = len(values), 2 * (values.shape[-1] - 1)
    distances = np.arange(FIRST, side // 2 + 1)
    without = leave_one_out(values, weights)
    mean = np.einsum("gs,gsn->n", weights, values) / weights.sum()
    covariance = (groups - 1) * np.cov(without, rowvar=False, bias=True)
    used = covariance[np.ix_(distances, distances)]
    # Its inverse is too large by this factor on average, as it comes from a few groups (Hartlap et al. 2007).
    used = used * (groups - 1) / max(groups - len(distances) - 2, 1)
    root = np.linalg.cholesky(used + 1e-12 * np.trace(used) * np.eye(len(used)))

    def fitted(shape: Callable, start: float, curve: np.ndarray) -> tuple[np.ndarray, float]:
        def residuals(point: np.ndarray) -> np.ndarray:
            return np.linalg.solve(root, shape(None, *point) - curve)

        found = optimize.least_squares(residuals, (curve[0], start), x_scale=(abs(curve[0]), 0.1), max_nfev=200)
        return found.x, 2 * found.cost

    shapes = power_law(side, distances), exponential(side, distances)
    points, chi_squared = zip(*(fitted(shape, 0.25, mean[distances]) for shape in shapes), strict=True)
    etas = np.array([fitted(shapes[0], points[0][1], curve[distances])[0][1] for curve in without])
    return Decay(
        mean,
        np.sqrt(np.diag(covariance)),
        float(points[0][1]),
        float(np.sqrt((groups - 1) * etas.var())),
        float(np.exp(-points[1][1])),
        (float(chi_squared[0]), float(chi_squared[1])),
        len(distances) - 2,
        (shapes[0](None, *points[0]), shapes[1](None, *points[1])),
        distances,
    )


def spin_wave(stiffness: Any, error: Any) -> tuple[float, float]:
    """eta = 1/(2 pi rho) of spin waves."""
    rho = float(stiffness)
    return 1 / (2 * np.pi * rho), float(error) / (2 * np.pi * rho**2)


def verdict(decay: Decay, threshold: float = 4.0) -> str:
    """Which phase the decay tells: a difference in chi squared below the threshold tells none."""
    if abs(decay.preference) < threshold:
        return "undecided"
    return "algebraic" if decay.preference > 0 else "disordered"


# %% The mean phase in the latents
class Goldstone(NamedTuple):
    """What latents of each level know of the mean field M, on samples that the linear functions were not made of."""

    explained: dict[int, float]  # by level: share of <|M|^2> that the best linear function of its latents explains
    coherence: float  # |<exp(i (arg of the function of the top - arg M))>|: 1 for the same phase
    phases: np.ndarray  # [samples, 2] arg M, and of the function of the top


def goldstone(latents: dict[int, Any], mean_field: Any) -> Goldstone:
    """Of latents ``{level: [samples, ..., 2]}`` and ``[samples, 2]`` mean fields, in two independent halves."""
    target = _complex(mean_field)
    half, explained = len(target) // 2, {}
    guess = np.zeros(half)
    for level, values in sorted(latents.items()):  # the top comes last
        known = _complex(values).reshape(len(target), -1)
        linear, *_ = np.linalg.lstsq(known[:half], target[:half], rcond=None)
        guess = known[half:] @ linear
        explained[level] = float(1 - np.mean(np.abs(target[half:] - guess) ** 2) / np.mean(np.abs(target[half:]) ** 2))
    phases = np.stack([np.angle(target[half:]), np.angle(guess)], axis=1)
    return Goldstone(explained, float(np.abs(np.mean(np.exp(1j * (phases[:, 1] - phases[:, 0]))))), phases)


def _complex(values: Any) -> np.ndarray:
    array = np.asarray(values)
    return array[..., 0] + 1j * array[..., 1]


# %% Information in the bulk
class Bulk(NamedTuple):
    """Mutual information of latents of one level against the distance of their cells on the boundary."""

    distances: np.ndarray  # [n] in sites, along chords of the torus
    information: np.ndarray  # [groups, n] in nats, mean over all pairs at a distance
    shuffled: np.ndarray  # [groups, n] of latents of different samples


class Geometry(NamedTuple):
    """Fits of ln I = ln I0 - d/xi with d the logarithm of the boundary distance, or the distance itself."""

    chi_squared: tuple[float, float]  # hyperbolic, flat
    preference: float  # flat less hyperbolic
    preference_error: float  # by bootstrap over the groups
    exponent: float  # of I ~ r^-exponent
    length: float  # of I ~ exp(-r/length)
    curves: tuple[np.ndarray, np.ndarray]


def bulk_information(key: jax.Array, latents: Any, spacing: int, num_groups: int) -> Bulk:
    """Of latents ``[samples, kinds, rows, columns, 2]`` of one level, the samples of a group one after the other.

    The estimate has its bias at independence taken off. That of each group does so for its own number of samples, so
    means over groups have no bias either, and their scatter is the error. Shuffled latents show what is left.
    """
    _, kinds, rows, columns, _ = latents.shape
    step = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
    apart = np.abs(step[:, None] - step[None])
    apart = np.sort(np.minimum(apart, np.array([rows, columns]) - apart), axis=-1)  # of cells, whatever the direction
    chords = rows * spacing / np.pi * np.sqrt(np.sum(np.sin(np.pi * apart / rows) ** 2, axis=-1))
    lengths, place = np.unique(chords.round(6), return_inverse=True)
    place = np.tile(place.reshape(len(step), -1), (kinds, kinds))
    counts = np.bincount(place.ravel())

    def by_distance(part: jax.Array) -> np.ndarray:
        value = np.array(stats.pairwise_information(part).value, np.float64)
        np.fill_diagonal(value, 0)
        return (np.bincount(place.ravel(), value.ravel()) / counts)[1:]  # of cells apart

    groups = np.asarray(latents).reshape(num_groups, -1, kinds * rows * columns, 2)
    order = np.argsort(np.asarray(jax.random.uniform(key, groups.shape[:3])), axis=1)
    apart_samples = np.take_along_axis(groups, order[..., None], axis=1)
    found = [np.stack([by_distance(jnp.asarray(part)) for part in many]) for many in (groups, apart_samples)]
    return Bulk(lengths[1:], *found)


def geometry_of(bulk: Bulk, num_resamples: int = 200) -> Geometry:
    """Both fits by least squares with the errors of the groups, two parameters each."""
    error = bulk.information.std(axis=0, ddof=1) / np.sqrt(len(bulk.information))
    scales = np.log(bulk.distances), bulk.distances

    def fitted(scale: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
        def residuals(point: np.ndarray) -> np.ndarray:
            return (np.exp(np.clip(point[0] - point[1] * (scale - scale[0]), -60, 60)) - values) / error

        start = np.log(max(values[0], 1e-6)), 1.0 / (scale[1] - scale[0])
        found = optimize.least_squares(residuals, start, max_nfev=200)
        return found.x, 2 * found.cost

    def both(rows: np.ndarray) -> tuple:
        return tuple(fitted(scale, bulk.information[rows].mean(axis=0)) for scale in scales)

    random, groups = np.random.default_rng(0), len(bulk.information)
    (log_point, log_chi), (flat_point, flat_chi) = both(np.arange(groups))
    drawn = [both(random.integers(groups, size=groups)) for _ in range(num_resamples)]
    curves = tuple(
        np.exp(point[0] - point[1] * (scale - scale[0]))
        for scale, point in zip(scales, (log_point, flat_point), strict=True)
    )
    spread = np.std([flat[1] - log[1] for log, flat in drawn])
    return Geometry(
        (log_chi, flat_chi),
        flat_chi - log_chi,
        float(spread),
        float(log_point[1]),
        float(1 / flat_point[1]),
        (curves[0], curves[1]),
    )


def p_value(chi_squared: float, freedom: int) -> float:
    """Chance of a chi squared as large."""
    return float(special.gammaincc(freedom / 2, chi_squared / 2))


def on_fields(
    size: int, likelihood: Callable, fields: jax.Array, key: jax.Array, params: Any, aux: Any, _: Any
) -> tuple[Any, Any, Any]:
    """Gradient of the cross entropy of some fields, moved and reflected at random."""
    row_key, move_key, mirror_key, key = jax.random.split(key, 4)
    some = fields[jax.random.randint(row_key, (size,), 0, fields.shape[0])]
    moved = functools.partial(lattice.random_symmetry, move_key, lattice.hypercubic(fields.shape[1:3]))
    some = jax.vmap(moved, -1, -1)(some)  # both components alike
    some = jnp.where(jax.random.bernoulli(mirror_key), some, some * jnp.array([1.0, -1.0])[None, None, None])
    return likelihood(key, params, aux, some)
