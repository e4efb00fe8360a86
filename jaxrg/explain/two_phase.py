r"""The second phase of learning, by theory: interactions as a regression on triggers that the noise of training blurs.

Interactions w predict the masked outputs y = J w*, J_ST = 1[T ⊆ S], through triggers that carry noise of variance
:math:`2^{|T|}\sigma^2`:

.. math:: L(w) = 2^{-n} \sum_S \mathbb E_\varepsilon\big(y_S - (Jw)_S - w^\top\varepsilon\big)^2
    = 2^{-n} \lVert J(w^* - w)\rVert^2 + \sigma^2 \sum_T 2^{|T|} w_T^2

Training is the noise σ² going down: large noise keeps low orders only. Which epoch has which σ² is fitted here, not
derived. Both quadratic forms are Kronecker powers of 2x2 matrices,

.. math:: 2^{-n} J^\top J = \Big(\tfrac12 \begin{pmatrix} 2 & 1 \\ 1 & 1 \end{pmatrix}\Big)^{\otimes n}, \qquad
    \mathrm{diag}(2^{|T|}) = \begin{pmatrix} 1 & 0 \\ 0 & 2 \end{pmatrix}^{\otimes n} = D^{\otimes n}

and so is the orthogonal matrix that diagonalises :math:`D^{-1/2} G D^{-1/2}/2`, with eigenvalues
:math:`\lambda_\pm = (5 \pm \sqrt{17})/8` a player. A component with j factors :math:`\lambda_+` shrinks by
:math:`\lambda/(\lambda + \sigma^2)`, :math:`\lambda = \lambda_+^j \lambda_-^{n-j}`.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxrg.checks import as_count, as_floating, as_floating_alike, as_table, check_number, is_traced
from jaxrg.interactions.orders import order_strengths
from jaxrg.tables import subset_sizes
from jaxrg.transforms import num_bits

LAMBDA_PLUS, LAMBDA_MINUS = (5 + math.sqrt(17)) / 8, (5 - math.sqrt(17)) / 8
# Eigenvectors of [[1, a], [a, 1/4]], a = 1/sqrt(8): the columns of the reflection [[c, s], [s, -c]], its own inverse.
_TILT = math.atan2(LAMBDA_PLUS - 1, 1 / math.sqrt(8))
_COS, _SIN = math.cos(_TILT), math.sin(_TILT)


def _rotate(values: Array, first: float, second: float) -> Array:
    """Along every bit, (absent, present) -> R diag(first, second) (absent, present) with the reflection R."""
    shape = values.shape
    for bit in range(num_bits(values)):
        pairs = values.reshape((*shape[:-1], -1, 2, 2**bit))
        absent, present = first * pairs[..., 0, :], second * pairs[..., 1, :]
        values = jnp.stack([_COS * absent + _SIN * present, _SIN * absent - _COS * present], axis=-2)
    return values.reshape(shape)


def noisy_interactions(interactions: ArrayLike, noise_variance: ArrayLike) -> Array:
    r"""What a network with noise :math:`\sigma^2` in its triggers learns of the interactions of the noiseless one.

    .. math:: \hat w = (J^\top J + 2^n \mathrm{diag}(c))^{-1} J^\top J\, w^*, \qquad c_T = 2^{|T|} \sigma^2

    by two fast transforms, `O(n 2^n)` time and memory of a few tables instead of :math:`4^n`. ``vmap`` it over
    ``noise_variance``, differentiate it by both.

    Args:
        interactions: w* ``[..., 2**n]``, those of the trained network; entry 0, v(∅), is a trigger like the others.
        noise_variance: σ² ≥ 0, scalar; infinite noise gives zero.

    Example:
        >>> learned = noisy_interactions(jnp.array([1.0, 1.0]), 1.0)  # ([[2, 1], [1, 1]] + [[2, 0], [0, 4]]) w = (3, 2)
        >>> [round(19 * float(weight), 3) for weight in learned]
        [13.0, 5.0]

    Reference:
        Ren, Zhang, Xu, Xin, Liu & Zhang, NeurIPS 2024, arXiv:2407.19198; the factorisation is this library's.
    """
    return _noisy_interactions(as_table("interactions", interactions), _as_noise(noise_variance))


def _as_noise(noise_variance: ArrayLike) -> Array:
    noise = as_floating("noise_variance", noise_variance)
    if noise.ndim:
        raise ValueError(f"noise_variance: expected a scalar (vmap over several), got shape {tuple(noise.shape)}")
    if not is_traced(noise_variance) and bool(np.asarray(noise_variance) < 0):
        raise ValueError(f"noise_variance: expected a number of at least 0, got {noise_variance}")
    return noise


@jax.jit
def _noisy_interactions(interactions: Array, noise_variance: Array) -> Array:
    n, noise = num_bits(interactions), noise_variance.astype(interactions.dtype)
    sizes = subset_sizes(n).astype(interactions.dtype).reshape((1,) * (interactions.ndim - 1) + (-1,))
    # A cleared bit of an eigenvector is a factor lambda_+, the first column of R.
    eigenvalues = jnp.exp(n * math.log(LAMBDA_PLUS) + sizes * math.log(LAMBDA_MINUS / LAMBDA_PLUS))
    components = _rotate(interactions, 1.0, math.sqrt(2)) * (eigenvalues / (eigenvalues + noise))
    return _rotate(components, 1.0, 1.0) * jnp.exp(-0.5 * math.log(2) * sizes)


class PhaseTwoFit(NamedTuple):
    """A noise that explains a measured order spectrum."""

    noise_variance: Array  # σ²
    log_error: Array  # standard deviation of ln σ², from the curvature of χ²
    predicted: Array  # [n + 1], with mean one over orders 1 ... n
    chi_squared: Array  # over the n orders, with the errors that were given
    degrees_of_freedom: Array  # n - 2
    r_squared: Array  # of the spectrum; one minus residual over variance among orders


def predicted_spectrum(interactions: ArrayLike, noise_variance: ArrayLike) -> Array:
    """Order spectrum ``[n + 1]`` of the learned interactions under noise, averaged over samples, then normalised.

    ``interactions`` are w* ``[samples, 2**n]`` of the trained network.
    """
    table = as_table("interactions", interactions)
    as_count("num_players", num_bits(table))
    return _predicted_spectrum(table, _as_noise(noise_variance))


@jax.jit
def _predicted_spectrum(interactions: Array, noise_variance: Array) -> Array:
    totals = order_strengths(_noisy_interactions(interactions, noise_variance)).total
    mean = jnp.mean(totals.reshape(-1, totals.shape[-1]), axis=0)
    return mean / jnp.mean(mean[1:])


def fit_noise(
    interactions: ArrayLike,
    measured: ArrayLike,
    errors: ArrayLike,
    *,
    log_noise_range: tuple[float, float] = (-25.0, 5.0),
    num_starts: int = 31,
    num_steps: int = 30,
) -> PhaseTwoFit:
    r"""The noise whose prediction comes closest to a measured order spectrum, :math:`\min_{\ln\sigma^2} \chi^2`.

    A scan of :math:`\ln\sigma^2` finds the valley, Gauss-Newton steps by automatic differentiation its floor; a step
    that climbs is refused and the next one is shorter. ``vmap`` over ``measured`` and ``errors`` for checkpoints.

    Args:
        interactions: w* ``[samples, 2**n]`` of the trained network, or ``[2**n]`` of one sample.
        measured: ``[n + 1]`` spectrum with mean one over orders 1 ... n; entry 0 is ignored.
        errors: its standard errors, positive.
        log_noise_range: of the scan in ``num_starts`` points.

    Returns:
        `PhaseTwoFit`. χ² has n - 2 degrees of freedom: of n orders σ² takes one, the normalisation another. It is a
        guide, since the errors of the orders are correlated; a large one says that the theory's shape is wrong, not
        only its noise.
    """
    table, spectrum, deviations = as_floating_alike(interactions=interactions, measured=measured, errors=errors)
    n = as_count("num_players", num_bits(as_table("interactions", table)))
    for name, value in (("measured", spectrum), ("errors", deviations)):
        if value.shape != (n + 1,):
            raise ValueError(f"{name}: expected one spectrum of shape ({n + 1},), got {tuple(value.shape)}")
    num_starts, num_steps = as_count("num_starts", num_starts, minimum=2), as_count("num_steps", num_steps, minimum=0)
    low, high = log_noise_range
    check_number("log_noise_range", low)
    check_number("log_noise_range", high, above=float(low))
    starts = np.linspace(float(low), float(high), num_starts)
    return _fit_noise(table, spectrum, deviations, starts, num_steps=num_steps)


@functools.partial(jax.jit, static_argnames="num_steps")
def _fit_noise(interactions: Array, measured: Array, errors: Array, starts: Array, *, num_steps: int) -> PhaseTwoFit:
    n, dtype, starts = num_bits(interactions), interactions.dtype, starts.astype(interactions.dtype)

    def residuals(log_noise: Array) -> Array:
        return (_predicted_spectrum(interactions, jnp.exp(log_noise))[1:] - measured[1:]) / errors[1:]

    def cost(log_noise: Array) -> Array:
        return jnp.sum(residuals(log_noise) ** 2)

    spacing = starts[1] - starts[0]
    start, one = starts[jnp.argmin(jax.lax.map(cost, starts))], jnp.ones((), dtype)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        log_noise, best, damping = carry
        values, slopes = jax.jvp(residuals, (log_noise,), (one,))
        slope, curvature = jnp.sum(slopes * values), jnp.sum(slopes**2)
        move = -damping * slope / jnp.maximum(curvature, jnp.finfo(dtype).tiny)
        trial = log_noise + jnp.clip(move, -spacing, spacing)
        trial_cost = cost(trial)
        is_better = trial_cost < best
        damping = jnp.where(is_better, jnp.minimum(2 * damping, 1), damping / 4)
        return (jnp.where(is_better, trial, log_noise), jnp.where(is_better, trial_cost, best), damping), None

    (log_noise, chi_squared, _), _ = jax.lax.scan(step, (start, cost(start), one), None, length=num_steps)
    _, slopes = jax.jvp(residuals, (log_noise,), (one,))
    predicted = _predicted_spectrum(interactions, jnp.exp(log_noise))
    misfit = jnp.sum((predicted[1:] - measured[1:]) ** 2)
    spread = jnp.sum((measured[1:] - jnp.mean(measured[1:])) ** 2)
    # A minimum of NaN is no minimum, wherever the search stopped.
    poison = jnp.where(jnp.isnan(chi_squared), jnp.nan, 1).astype(dtype)
    return PhaseTwoFit(
        noise_variance=poison * jnp.exp(log_noise),
        log_error=poison * jax.lax.rsqrt(jnp.sum(slopes**2)),
        predicted=poison * predicted,
        chi_squared=chi_squared,
        degrees_of_freedom=jnp.int32(n - 2),
        r_squared=1 - misfit / spread,
    )
