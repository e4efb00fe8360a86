"""Bennett's acceptance ratio between neighbours, and its version for many states at once, with errors of chains."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.checks import as_floating
from jaxrg.stats._layout import MIN_SAMPLES
from jaxrg.stats.autocorrelation import GammaEstimate, estimates
from jaxrg.sums import blocked_sum

BISECTIONS = 60
NEWTON_STEPS = 30
MIN_OVERLAP = 0.03  # of neighbours; with less, no error tells what was never sampled


class FreeEnergies(NamedTuple):
    """Reduced free energies f = -ln Z of states in a row, K of them."""

    steps: GammaEstimate  # every field [K - 1]: f of the next state minus f of this one
    total: GammaEstimate  # every field []: f of the last state minus f of the first, correlations of the steps included
    overlap: Array  # [K - 1] of neighbours: 1 where they are one distribution, 0 where they share nothing
    is_converged: Array  # [] bool: whether the error of the total can be trusted; False where an overlap is below 0.03

    def __str__(self) -> str:
        return str(self.total)


def _as_work(name: str, work: Array) -> Array:
    array = as_floating(name, work)
    if array.ndim not in (2, 3) or array.shape[0] < 1 or array.shape[1] < MIN_SAMPLES or 0 in array.shape:
        raise ValueError(
            f"{name}: expected [chains, samples] or [chains, samples, pairs] with at least {MIN_SAMPLES} samples, got "
            f"shape {array.shape}"
        )
    return array if array.ndim == 3 else array[..., None]


def bennett_acceptance_ratio(work: Array, reverse_work: Array) -> FreeEnergies:
    r"""Free-energy differences of neighbours from samples of both: the estimate of least variance from these.

    .. math:: \sum_{x \sim p_0} \frac{1}{1 + e^{M + W(x) - \Delta f}} = \sum_{x \sim p_1} \frac{1}{1 + e^{-M + W'(x) +
        \Delta f}}, \qquad M = \ln \frac{n_0}{n_1}, \quad \Delta f = -\ln \frac{Z_1}{Z_0}

    The equation is linearised around its solution, so every sample has a part in the result, and the error is that of
    the mean of these parts with their autocorrelation. Where both directions have as many samples, those of one place
    belong together, as in a tempered chain; where they do not, they are taken as independent. So it is for every pair
    of a ladder, whose parts are added before their error is taken.

    Args:
        work: ``[chains, samples]`` W = u_1 - u_0 at samples of state 0, with u = -ln of the unnormalised density; or
            ``[chains, samples, pairs]`` of a ladder. The work of a process from 0 to 1 that starts in equilibrium
            serves as well.
        reverse_work: W' = u_0 - u_1 at samples of state 1, of so many pairs.

    Returns:
        `FreeEnergies`.

    Raises:
        ValueError: other shapes, fewer than 4 samples, or other pairs in the two directions.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (2, 4, 2_500))
        >>> u = lambda x: (x - 1) ** 2 / 2 + 0.5 - x**2 / 2  # of unit Gaussians at 0 and 1, Z_1 / Z_0 = exp(-1/2)
        >>> found = bennett_acceptance_ratio(u(x[0]), -u(x[1] + 1))
        >>> bool(abs(found.total.value - 0.5) < 4 * found.total.error), bool(found.is_converged)
        (True, True)

    Reference:
        Bennett, J. Comput. Phys. 22, 245 (1976); for processes Crooks, Phys. Rev. E 61, 2361 (2000).
    """
    forward, reverse = _as_work("work", work), _as_work("reverse_work", reverse_work)
    if forward.shape[2] != reverse.shape[2]:
        raise ValueError(
            f"reverse_work: expected {forward.shape[2]} pairs as in work, got shape {reverse.shape} for {forward.shape}"
        )
    dtype = jnp.result_type(forward.dtype, reverse.dtype)
    return _bennett(forward.astype(dtype), reverse.astype(dtype))


def _mean(values: Array) -> Array:
    """Over chains and samples."""
    return blocked_sum(values.reshape((-1, *values.shape[2:]))) / (values.shape[0] * values.shape[1])


def _deviations(values: Array) -> Array:
    return values - _mean(values)[None, None]


def solve_pair(forward: Array, reverse: Array) -> Array:
    """[] Δf of one pair from ``[n_0]`` and ``[n_1]``; both shifted so that digits are those of the works' spread."""
    log_ratio = jnp.log(jnp.asarray(forward.size / reverse.size, forward.dtype))
    low = jnp.minimum(jnp.min(forward), jnp.min(-reverse)) - 2 * jnp.abs(log_ratio) - 1
    high = jnp.maximum(jnp.max(forward), jnp.max(-reverse)) + 2 * jnp.abs(log_ratio) + 1

    def halve(_, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        # Every term over the largest of all: without overlap they would be zero.
        logs = jax.nn.log_sigmoid(middle - log_ratio - forward), jax.nn.log_sigmoid(log_ratio - middle - reverse)
        largest = jnp.maximum(jnp.max(logs[0]), jnp.max(logs[1]))
        excess = blocked_sum(jnp.exp(logs[0] - largest)) - blocked_sum(jnp.exp(logs[1] - largest))
        return jnp.where(excess < 0, middle, low), jnp.where(excess < 0, high, middle)

    low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (low, high))
    return (low + high) / 2


def pair_overlap(forward: Array, reverse: Array, difference: Array) -> Array:
    r"""[pairs] :math:`\int 2 p_0 p_1 / (p_0 + p_1)`, the mean of what both samples say of it."""
    difference = difference[None, None]
    return _mean(jax.nn.sigmoid(difference - forward)) + _mean(jax.nn.sigmoid(-difference - reverse))


@jax.jit
def _bennett(forward: Array, reverse: Array) -> FreeEnergies:
    # One number is taken off every pair, so that a large difference costs no digits of the spread.
    origin = (forward[0, 0] - reverse[0, 0]) / 2
    forward, reverse = forward - origin[None, None], reverse + origin[None, None]
    num_pairs = forward.shape[2]
    flat = (forward.reshape((-1, num_pairs)), reverse.reshape((-1, num_pairs)))
    found = jax.lax.map(lambda pair: solve_pair(*pair), (flat[0].T, flat[1].T))
    counts = flat[0].shape[0], flat[1].shape[0]
    log_ratio = jnp.log(jnp.asarray(counts[0] / counts[1], forward.dtype))

    below = jax.nn.sigmoid((found - log_ratio)[None, None] - forward)
    above = jax.nn.sigmoid((log_ratio - found)[None, None] - reverse)
    slope = counts[0] * _mean(below * (1 - below)) + counts[1] * _mean(above * (1 - above))
    parts = -(counts[0] / slope)[None, None] * _deviations(below), (counts[1] / slope)[None, None] * _deviations(above)
    is_paired = forward.shape == reverse.shape
    series = [parts[0] + parts[1]] if is_paired else list(parts)
    steps, total = _with_errors(origin + found, series)
    overlap = pair_overlap(forward, reverse, found)
    return FreeEnergies(steps, total, overlap, total.is_converged & jnp.all(overlap > MIN_OVERLAP))


def _with_errors(values: Array, series: list[Array]) -> tuple[GammaEstimate, GammaEstimate]:
    """Steps and their sum from parts ``[chains, samples, steps]`` of every sample; several series are independent."""
    both = values, blocked_sum(values)
    found = [estimates(both, (part, jnp.sum(part, axis=2)), None, jnp.zeros((), values.dtype)) for part in series]
    if len(found) == 1:
        return found[0]
    return jax.tree.map(_independent, *found, is_leaf=lambda node: isinstance(node, GammaEstimate))


def _independent(first: GammaEstimate, second: GammaEstimate) -> GammaEstimate:
    """One estimate whose error has two independent parts, with Welch's degrees of freedom."""
    squares = jnp.square(first.error), jnp.square(second.error)
    total = squares[0] + squares[1]
    shares = [jnp.where(total > 0, square / jnp.where(total > 0, total, 1), 0.5) for square in squares]
    inverse = shares[0] ** 2 / first.num_degrees_of_freedom + shares[1] ** 2 / second.num_degrees_of_freedom
    is_first = squares[0] >= squares[1]  # what else is said is of the larger part
    error, degrees = jnp.sqrt(total), 1 / inverse
    return GammaEstimate(
        first.value,
        error,
        error / jnp.sqrt(2 * degrees),
        jnp.where(is_first, first.tau_int, second.tau_int),
        jnp.where(is_first, first.tau_int_error, second.tau_int_error),
        degrees,
        jnp.maximum(first.r_hat, second.r_hat),
        jnp.maximum(first.equilibration, second.equilibration),
        first.is_converged & second.is_converged,
    )


def multistate_bennett(energies: Array) -> FreeEnergies:
    r"""Free energies of many states from samples of all of them, each of which is reweighted to every state.

    .. math:: \sum_{k=1}^K \sum_{x \sim p_k} \frac{e^{f_i - u_i(x)}}{\sum_l e^{f_l - u_l(x)}} = n
        \qquad \text{for every } i

    With two states this is `bennett_acceptance_ratio`. Errors are those of the parts that single samples have in the
    result, with their autocorrelation: samples of all states at one time, as of a tempered chain, belong together.

    Args:
        energies: ``[chains, samples, K, K]`` u_i at the samples of state k, in ``[..., k, i]``.

    Returns:
        `FreeEnergies`.

    Raises:
        ValueError: another shape, fewer than 4 samples or than 2 states.

    Example:
        >>> centers = jnp.array([0.0, 1.0, 2.0])  # unit Gaussians, all with one Z
        >>> x = jax.random.normal(jax.random.key(0), (4, 2_500, 3)) + centers[None, None]
        >>> found = multistate_bennett((x[..., None] - centers[None, None, None]) ** 2 / 2)
        >>> found.steps.value.shape, bool(abs(found.total.value) < 4 * found.total.error)
        ((2,), True)

    Reference:
        Shirts & Chodera, J. Chem. Phys. 129, 124105 (2008).
    """
    array = as_floating("energies", energies)
    if array.ndim != 4 or array.shape[2] != array.shape[3] or array.shape[2] < 2 or array.shape[0] < 1:
        raise ValueError(f"energies: expected [chains, samples, K, K] with K at least 2, got shape {array.shape}")
    if array.shape[1] < MIN_SAMPLES:
        raise ValueError(f"energies: expected at least {MIN_SAMPLES} samples, got shape {array.shape}")
    return _multistate(array)


@jax.jit
def _multistate(energies: Array) -> FreeEnergies:
    num_chains, num_samples, num_states, _ = energies.shape
    count = num_chains * num_samples
    # Of every sample the energy at home is taken off: what is left are differences.
    energies = energies - jnp.diagonal(energies, axis1=2, axis2=3)[..., None]
    places = jnp.arange(num_states - 1)
    forward, reverse = energies[:, :, places, places + 1], energies[:, :, places + 1, places]
    pairs = jax.lax.map(
        lambda pair: solve_pair(*pair), (forward.reshape((count, -1)).T, reverse.reshape((count, -1)).T)
    )
    start = jnp.concatenate([jnp.zeros(1, energies.dtype), jnp.cumsum(pairs)])
    samples = energies.reshape((count * num_states, num_states))

    def shares(free: Array) -> Array:
        return jax.nn.softmax(free[None] - samples, axis=1)

    def gradient_of(share: Array) -> Array:
        return blocked_sum(share) / count - 1  # [K], sums to zero

    def curvature_of(share: Array) -> Array:
        mean = blocked_sum(share) / count
        return jnp.diag(mean) - jnp.matmul(share.T, share, precision="highest") / count

    def improve(_, free: Array) -> Array:
        """Newton's step, or that of the fixed point where it does better."""
        share = shares(free)
        gradient = gradient_of(share)
        newton = free - jnp.append(jnp.zeros(1, free.dtype), _solve(curvature_of(share), gradient[1:]))
        fixed = free - jnp.log1p(jnp.maximum(gradient, -0.999))
        candidates = jnp.stack([newton, fixed - fixed[0]])
        size = jax.lax.map(lambda free: jnp.max(jnp.abs(gradient_of(shares(free)))), candidates)
        size = jnp.where(jnp.isfinite(size), size, jnp.inf)
        best = jnp.argmin(size)
        return jnp.where(size[best] < jnp.max(jnp.abs(gradient)), candidates[best], free)

    free = jax.lax.fori_loop(0, NEWTON_STEPS, improve, start)
    share = shares(free)
    excess = jnp.sum(share.reshape((num_chains, num_samples, num_states, num_states)), axis=2)
    excess = _deviations(excess)[..., 1:]
    parts = -_solve(curvature_of(share), excess.reshape((count, -1)).T).T.reshape(excess.shape)
    steps = jnp.diff(parts, axis=2, prepend=0)
    found = _with_errors(jnp.diff(free), [steps])
    overlap = pair_overlap(forward, reverse, jnp.diff(free))
    return FreeEnergies(*found, overlap, found[1].is_converged & jnp.all(overlap > MIN_OVERLAP))


def _solve(curvature: Array, right: Array) -> Array:
    """Of all states but the first, whose free energy is zero."""
    return jnp.linalg.solve(curvature[1:, 1:], right)
