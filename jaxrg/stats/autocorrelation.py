r"""Autocorrelations of Markov chains and errors by the Gamma method, with automatic windowing.

Series are ``[chains, samples, ...]``, in equilibrium; the chains are independent and share one mean.

.. math::
    \tau_\mathrm{int}(W) = \frac12 + \sum_{t=1}^W \rho(t), \qquad
    (\delta\tau)^2 = \frac4N \left(W + \tfrac12 - \tau\right) \tau^2 + \frac{1 + 2\sum_{t=1}^W \rho(t)^2}{4N}

Convention, everywhere in jaxrg: independent samples have ``tau_int = 1/2``, and ``N`` samples are worth
``N / (2 tau_int)``. Programs that use ``1 + 2 sum rho`` print twice this number.

The window W is the first at which :math:`e^{-W/\tau_W} < \tau_W / \sqrt{W N}`, where truncation costs as much as
noise, with :math:`\tau_W = S / \ln(1 + 1/G)` and G the larger of :math:`\sum_{t \le W} \rho(t)` and
:math:`\sum_{t \le W} (-1)^t \rho(t)`. Two things are not Wolff's, and show only for chains that swing, such as a
checkerboard sweep at small coupling, or that forget at once: the alternating G, without which the window closes on a
negative ``tau_int``; and the last term of the error, half the noise of the last rho, where a swinging sum ends.

``is_converged`` is False where the window found no end within the lags, with fewer than 50 ``tau_int`` of data, where
the error of ``tau_int`` exceeds half of it (as where it is not positive), and for a constant series, which has error 0
and ``tau_int`` 1/2, or a NaN.

Reference:
    Wolff, Comput. Phys. Commun. 156, 143 (2004), hep-lat/0306017.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import check_count
from jaxrg.stats._layout import as_chains, mean_and_deviations, means_and_deviations

WINDOW_FACTOR = 1.5  # Wolff's S: the assumed ratio of the slowest decay time to tau_int
MIN_TAUS = 50  # of data: a random walk of any length shows about 10, and 1 in 100 more than 35
MAX_RELATIVE_ERROR = 0.5  # of tau_int, so a quarter of the error of the mean


class GammaEstimate(NamedTuple):
    """A function of means with its error; every field has the shape of the function's value."""

    value: Array
    error: Array  # one standard deviation; NaN where the summed autocovariance comes out negative
    error_of_error: Array
    tau_int: Array  # in samples
    tau_int_error: Array
    window: Array  # int32, in samples
    is_converged: Array  # whether tau_int is known well enough to trust the error


class Summary(NamedTuple):
    """Mean and error of one observable; every field ``[...]``, the trailing shape of the trace."""

    mean: Array
    error: Array
    tau_int: Array
    tau_int_error: Array
    num_effective_samples: Array
    is_converged: Array


def autocorrelation_function(x: Array, *, num_lags: int | None = None) -> Array:
    r"""Normalised autocorrelation of a series for every lag, by FFT with zero padding.

    .. math:: \rho(t) = \frac{\Gamma(t)}{\Gamma(0)}, \qquad
        \Gamma(t) = \frac{1}{R (n - t)} \sum_{r=1}^R \sum_{i=1}^{n-t} (x_{r,i} - \bar x)(x_{r,i+t} - \bar x)

    with the mean of all chains; of R n samples with autocovariance sum C, :math:`\Gamma` is biased by about -C/(R n).

    Args:
        x: ``[chains, samples, ...]``, real.
        num_lags: lags 0, ..., num_lags - 1; up to half the series by default, beyond which there is mostly noise.

    Returns:
        ``[num_lags, ...]`` with first entry 1; NaN for a constant series, whose autocorrelation is undefined.

    Raises:
        ValueError: fewer than 4 samples a chain, or ``num_lags`` not in 1, ..., samples.

    Example:
        >>> autocorrelation_function(jnp.array([[1.0, -1.0, 1.0, -1.0]]), num_lags=2)
        Array([ 1., -1.], dtype=float32)
    """
    chains = as_chains("x", x)
    scaled, _ = _rescale(mean_and_deviations(chains)[1])
    covariance = _autocovariance(scaled, _check_num_lags(num_lags, chains.shape[1]))
    return covariance / covariance[:1]


def gamma_method(
    fn: Callable[[PyTree], PyTree], x: PyTree, *, num_lags: int | None = None, window_factor: float = WINDOW_FACTOR
) -> PyTree:
    r"""Value and error of a function of several means, correlations in time and between observables included.

    .. math:: F = f(\bar a_1, \dots, \bar a_m), \qquad
        \sigma_F^2 = \frac{2\tau_\mathrm{int}}{N} \operatorname{Var}\Big(\sum_\alpha \partial_\alpha f \, a_\alpha\Big)

    with ``tau_int`` of the projected series in the bracket. The gradient is exact, by linearisation at the means. In
    float32 ``fn`` is as good as its own arithmetic: differences of large means (a variance) want observables from which
    a constant near the mean was subtracted.

    Args:
        fn: differentiable function of the means, which have the structure of ``x`` without the chain and sample axes;
            returns an array or a pytree of arrays.
        x: series ``[chains, samples, ...]``: one array such as ``[chains, samples, num_observables]``, or a pytree.
        num_lags: largest window plus one; half the series by default.
        window_factor: S, the ratio of the slowest decay time to ``tau_int``; larger is safer and noisier.

    Returns:
        A ``GammaEstimate`` for every array that ``fn`` returns.

    Raises:
        ValueError: fewer than 4 samples a chain, leaves that disagree in their number, or ``num_lags`` not in
            2, ..., samples.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 10_000)) + 2.0
        >>> square = gamma_method(lambda mean: mean**2, x)  # error |2 mean| / sqrt(N)
        >>> bool(abs(square.error - 0.04) < 0.004)
        True

    Reference:
        Wolff, Comput. Phys. Commun. 156, 143 (2004), hep-lat/0306017.
    """
    mean, deviations = means_and_deviations(as_chains("x", x))
    value, differential = jax.linearize(fn, mean)
    projected = jax.vmap(jax.vmap(differential))(deviations)
    return jax.tree.map(lambda leaf, series: _estimate(leaf, series, num_lags, window_factor), value, projected)


def summary(trace: PyTree, *, window_factor: float = WINDOW_FACTOR) -> PyTree:
    r"""Mean, honest error and effective number of samples of every observable of a trace.

    .. math:: \sigma^2 = \frac{2\tau_\mathrm{int}}{N} \operatorname{Var}(x), \qquad
        N_\mathrm{eff} = \frac{N}{2\tau_\mathrm{int}}

    Args:
        trace: pytree of ``[chains, samples, ...]``, such as ``jaxrg.samplers.run(...).trace``; integers become floats.
        window_factor: S of the automatic window.

    Returns:
        The pytree with a ``Summary`` in place of every leaf.

    Raises:
        ValueError: fewer than 4 samples a chain, or leaves that disagree in their number.

    Example:
        >>> energy = jax.random.normal(jax.random.key(0), (4, 2_500))
        >>> bool(abs(summary({"energy": energy})["energy"].error - 0.01) < 0.001)
        True
    """
    return jax.tree.map(lambda chains: _summarize(chains, window_factor), as_chains("trace", trace))


@jax.jit
def _summarize(chains: Array, window_factor: float | Array) -> Summary:
    mean, deviations = mean_and_deviations(chains)
    estimate = _estimate(mean, deviations, None, window_factor)
    num_effective_samples = chains.shape[0] * chains.shape[1] / (2 * estimate.tau_int)
    return Summary(
        mean, estimate.error, estimate.tau_int, estimate.tau_int_error, num_effective_samples, estimate.is_converged
    )


def _check_num_lags(num_lags: int | None, num_samples: int, *, minimum: int = 1) -> int:
    if num_lags is None:
        return num_samples // 2 + 1
    check_count("num_lags", num_lags, minimum=minimum)
    if num_lags > num_samples:
        raise ValueError(f"num_lags: expected at most the {num_samples} samples of a chain, got {num_lags}")
    return num_lags


def _rescale(deviations: Array) -> tuple[Array, Array]:
    """Largest deviation one, so that squares of large energies stay within float32.

    No result depends on the scale, so no derivative passes through it: that of a maximum is 0/0 where a compiler rounds
    the same number in two ways.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(deviations), axis=(0, 1)))
    scale = jnp.where(largest == 0, 1, largest)
    return deviations / scale[None, None], scale


def _autocovariance(deviations: Array, num_lags: int) -> Array:
    """``[num_lags, ...]`` from deviations ``[chains, samples, ...]``."""
    num_chains, num_samples = deviations.shape[:2]
    length = 1 << (num_samples + num_lags - 1).bit_length()  # room for the lags: the circular sum must not wrap
    spectrum = jnp.fft.rfft(deviations, n=length, axis=1)
    power = jnp.sum(spectrum.real**2 + spectrum.imag**2, axis=0)
    sums = jnp.fft.irfft(power.astype(spectrum.dtype), n=length, axis=0)[:num_lags]
    num_pairs = num_chains * (num_samples - jnp.arange(num_lags, dtype=deviations.dtype))
    return sums / num_pairs.reshape((-1,) + (1,) * (sums.ndim - 1))


class _Window(NamedTuple):
    """Sums over the lags 1, ..., window; every field ``[...]``."""

    window: Array  # int32
    is_closed: Array
    rho: Array
    alternating: Array  # (-1)^t rho(t)
    squared: Array


def _close_window(rho: Array, num_samples: int, window_factor: float | Array) -> _Window:
    """Walk the lags of ``[num_lags, ...]`` until every series has its window: seldom far, so no cumulative sums."""
    zero = jnp.zeros_like(rho[0])
    start = _Window(zero.astype(jnp.int32), jnp.zeros_like(zero, jnp.bool_), zero, zero, zero)

    def is_open(carry: tuple[Array, _Window]) -> Array:
        lag, sums = carry
        return (lag < rho.shape[0]) & ~jnp.all(sums.is_closed | jnp.isnan(sums.rho))

    def widen(carry: tuple[Array, _Window]) -> tuple[Array, _Window]:
        lag, old = carry
        term = jax.lax.dynamic_index_in_dim(rho, lag, keepdims=False)
        total, squared = old.rho + term, old.squared + term**2
        alternating = old.alternating + jnp.where(lag % 2 == 1, -term, term)
        area = jnp.maximum(jnp.maximum(total, alternating), 0)
        decay_time = window_factor / jnp.log1p(1 / area)
        time = lag.astype(rho.dtype)
        is_closed = jnp.exp(-time / decay_time) <= decay_time / jnp.sqrt(time * num_samples)
        new = _Window(jnp.full_like(old.window, lag), is_closed, total, alternating, squared)
        return lag + 1, jax.tree.map(lambda kept, updated: jnp.where(old.is_closed, kept, updated), old, new)

    return jax.lax.while_loop(is_open, widen, (jnp.int32(1), start))[1]


@functools.partial(jax.jit, static_argnames="num_lags")
def _estimate(value: Array, deviations: Array, num_lags: int | None, window_factor: float | Array) -> GammaEstimate:
    """The value with the error that its deviations ``[chains, samples, ...]`` make, elementwise.

    Jitted, because calls from a notebook would compile its operations one by one.
    """
    num_samples = deviations.shape[0] * deviations.shape[1]
    scaled, scale = _rescale(deviations)
    covariance = _autocovariance(scaled, _check_num_lags(num_lags, deviations.shape[1], minimum=2))
    is_constant = covariance[0] == 0
    variance = jnp.where(is_constant, 1, covariance[0])
    sums = _close_window(covariance / variance[None], num_samples, window_factor)

    # Deviations from the estimated mean lack C/N in every covariance; here in units of the variance.
    width = sums.window.astype(variance.dtype) + 0.5
    bias = (1 + 2 * sums.rho) / num_samples
    tau_int = jnp.where(is_constant, 0.5, (0.5 + sums.rho + width * bias) / (1 + bias))
    end_noise = (1 + 2 * sums.squared) / 4
    tau_int_error = jnp.sqrt((4 * jnp.maximum(width - tau_int, 0) * tau_int**2 + end_noise) / num_samples)
    tau_int_error = jnp.where(is_constant, 0, tau_int_error)

    error = scale * jnp.sqrt(2 * tau_int * (1 + bias) * covariance[0] / num_samples)
    error_of_error = error * jnp.sqrt((width + end_noise / (4 * tau_int**2)) / num_samples)
    is_precise = (tau_int_error <= MAX_RELATIVE_ERROR * tau_int) & (num_samples >= MIN_TAUS * tau_int)
    is_converged = sums.is_closed & ~is_constant & is_precise
    return GammaEstimate(value, error, error_of_error, tau_int, tau_int_error, sums.window, is_converged)
