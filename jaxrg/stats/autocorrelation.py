r"""Autocorrelations of Markov chains, and errors of means and of functions of means.

Series are ``[chains, samples, ...]``, in equilibrium; the chains are independent and share one mean.

.. math::
    \sigma^2 = \frac{C}{N}, \qquad C = \sum_{t=-\infty}^{\infty} \Gamma(t) = 2 \tau_\mathrm{int} \Gamma(0)

Where it is below about 0.01, as of a chain that swings with hardly a loss, errors may be up to half too large.

Convention, everywhere in jaxrg: independent samples have ``tau_int = 1/2``, and ``N`` samples are worth
``N / (2 tau_int)``. Programs that use ``1 + 2 sum rho`` print twice this number. Series that swing or recoil have less.

C is read off the lowest frequencies, flattened by an autoregression of block means (Heidelberger and Welch; Andrews and
Monahan): a window in the sum of :math:`\Gamma(t)` would close inside a second, slower scale, or in an oscillation. The
slowest of all observables that are given together sets the band of all, and so does a known ``tau_exp``.

``is_converged`` is False where the stated error cannot be trusted: with fewer than 100 ``tau_int`` of data, or 120 to
200 of the slowest time that shows; where the lowest frequencies still rise or the chains scatter more than they should;
where a chain stands still, where chains or their halves disagree (split R-hat above 1.1), where the start lies off the
rest, and for NaN. A scale slower than a tenth of the series with less than a tenth of its variance stays hidden from
every estimator: give the observable that shows it in the same tree.

Reference:
    Heidelberger & Welch, Commun. ACM 24, 233 (1981); Andrews & Monahan, Econometrica 60, 953 (1992); for the
    linearisation Wolff, Comput. Phys. Commun. 156, 143 (2004); for slow modes seen by other observables Schaefer,
    Sommer & Virotta, Nucl. Phys. B 845, 93 (2011); for R-hat Gelman et al., Bayesian Data Analysis (2013).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import PyTree
from jaxrg.checks import as_count, as_floating, check_function, check_number
from jaxrg.closures import as_partial
from jaxrg.stats._layout import as_chains, mean_and_deviations, means_and_deviations
from jaxrg.stats._long_run import LongRun, block_length, long_run, reduce_chains
from jaxrg.stats._notation import described, written


class GammaEstimate(NamedTuple):
    """A function of means with its error; every field has the shape of the function's value."""

    value: Array
    error: Array  # one standard deviation
    error_of_error: Array
    tau_int: Array  # in samples
    tau_int_error: Array
    num_degrees_of_freedom: Array  # of the error: intervals are those of Student's t
    r_hat: Array  # split R-hat: 1 where chains and their halves agree
    equilibration: Array  # samples at the start of every chain that lie off the rest; 0 for none
    is_converged: Array  # whether the error can be trusted

    def __str__(self) -> str:
        return written(self.value, self.error)

    def __repr__(self) -> str:
        return described(self, self.value)


class Summary(NamedTuple):
    """Mean and error of one observable; every field ``[...]``, the trailing shape of the trace."""

    mean: Array
    error: Array
    tau_int: Array
    tau_int_error: Array
    num_effective_samples: Array
    r_hat: Array  # split R-hat: 1 where chains and their halves agree
    equilibration: Array  # samples at the start of every chain that lie off the rest; 0 for none
    is_converged: Array  # whether the error can be trusted

    def __str__(self) -> str:
        return written(self.mean, self.error)

    def __repr__(self) -> str:
        return described(self, self.mean)


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
    chains = as_chains("x", x, keep_integers=True)
    num_samples = chains.shape[1]
    if num_lags is None:
        num_lags = num_samples // 2 + 1
    num_lags = as_count("num_lags", num_lags)
    if num_lags > num_samples:
        raise ValueError(f"num_lags: expected at most the {num_samples} samples of a chain, got {num_lags}")
    return _autocorrelation(chains, num_lags)


@functools.partial(jax.jit, static_argnames="num_lags")
def _autocorrelation(chains: Array, num_lags: int) -> Array:
    covariance = _autocovariance(_rescale(mean_and_deviations(chains)[1])[0], num_lags)
    return covariance / covariance[:1]


def gamma_method(fn: Callable[[PyTree], PyTree], x: PyTree, *, tau_exp: float = 0.0) -> PyTree:
    r"""Value and error of a function of several means, correlations in time and between observables included.

    .. math:: F = f(\bar a_1, \dots, \bar a_m), \qquad
        \sigma_F^2 = \frac{2\tau_\mathrm{int}}{N} \operatorname{Var}\Big(\sum_\alpha \partial_\alpha f \, a_\alpha\Big)

    with ``tau_int`` of the projected series in the bracket. The gradient is exact, by linearisation at the means. In
    float32 ``fn`` is as good as its own arithmetic: differences of large means (a variance) want observables from which
    a constant near the mean was subtracted.

    Args:
        fn: differentiable function of the means, which have the structure of ``x`` without the chain and sample axes;
            returns an array or a pytree of arrays.
        x: series ``[chains, samples, ...]``: one array such as ``[chains, samples, num_observables]``, or a pytree. The
            slowest of them, also one that ``fn`` leaves aside, is held in view for all.
        tau_exp: the slowest time of the chain in samples, where it is known; 0 where it is not.

    Returns:
        A ``GammaEstimate`` for every array that ``fn`` returns.

    Raises:
        ValueError: fewer than 4 samples a chain, leaves that disagree in their number, or a negative ``tau_exp``.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 10_000)) + 2.0
        >>> square = gamma_method(lambda mean: mean**2, x)  # error |2 mean| / sqrt(N)
        >>> bool(abs(square.error - 0.04) < 0.006)
        True

    Reference:
        Wolff, Comput. Phys. Commun. 156, 143 (2004), hep-lat/0306017.
    """
    check_function("fn", fn, of="the means")
    return gamma_of_chains(as_partial(fn), as_chains("x", x, keep_integers=True), as_tau_exp(tau_exp))


@jax.jit
def gamma_of_chains(fn: Callable[[PyTree], PyTree], chains: PyTree, tau_exp: Array) -> PyTree:
    """`gamma_method` of checked series."""
    mean, deviations = means_and_deviations(chains)
    value, differential = jax.linearize(fn, mean)
    projected = jax.vmap(jax.vmap(differential))(deviations)
    return estimates(value, projected, deviations, tau_exp)


def as_tau_exp(tau_exp: float | Array) -> Array:
    """A given slowest time."""
    check_number("tau_exp", tau_exp, above=-1e-30)
    return as_floating("tau_exp", tau_exp)


def summary(trace: PyTree, *, tau_exp: float = 0.0) -> PyTree:
    r"""Mean, honest error and effective number of samples of every observable of a trace.

    .. math:: \sigma^2 = \frac{2\tau_\mathrm{int}}{N} \operatorname{Var}(x), \qquad
        N_\mathrm{eff} = \frac{N}{2\tau_\mathrm{int}}

    A ``Summary`` prints as -1.4453(49).

    Args:
        trace: pytree of ``[chains, samples, ...]``, such as ``jaxrg.samplers.run(...).trace``; integers become floats.
            The slowest of the observables is held in view for all.
        tau_exp: the slowest time of the chain in samples, where it is known; 0 where it is not.

    Returns:
        The pytree with a ``Summary`` in place of every leaf.

    Raises:
        ValueError: fewer than 4 samples a chain, leaves that disagree in their number, or a negative ``tau_exp``.

    Example:
        >>> energy = jax.random.normal(jax.random.key(0), (4, 2_500))
        >>> bool(abs(summary({"energy": energy})["energy"].error - 0.01) < 0.001)
        True
    """
    return _summary(as_chains("trace", trace, keep_integers=True), as_tau_exp(tau_exp))


@jax.jit
def _summary(chains: PyTree, tau_exp: Array) -> PyTree:
    mean, deviations = means_and_deviations(chains)
    first = jax.tree.leaves(chains)[0]

    def summarize(found: GammaEstimate) -> Summary:
        count = first.shape[0] * first.shape[1] / (2 * found.tau_int)
        return Summary(found.value, found.error, found.tau_int, found.tau_int_error, count, *found[6:])

    found = estimates(mean, deviations, None, tau_exp)
    return jax.tree.map(summarize, found, is_leaf=lambda node: isinstance(node, GammaEstimate))


def estimates(values: PyTree, deviations: PyTree, beside: PyTree, tau_exp: Array) -> PyTree:
    """A `GammaEstimate` of every value from what its samples deviate by, ``[chains, samples, ...]``.

    The slowest of all these series and of those ``beside`` them sets the band of all.
    """
    leaves, structure = jax.tree.flatten(values)
    series = jax.tree.leaves((deviations, beside))
    num_chains, num_samples = series[0].shape[:2]
    dtype = jnp.result_type(*(leaf.dtype for leaf in series))
    # Side by side, so that all of them are one program and not one each.
    flat = jnp.concatenate([leaf.reshape((num_chains, num_samples, -1)).astype(dtype) for leaf in series], axis=-1)
    scaled, scale = _rescale(flat)
    total, length = num_chains * num_samples, block_length(num_chains, num_samples)
    found = long_run(reduce_chains(scaled), total, length, tau_exp)

    results, start = [], 0
    for value in leaves:
        stop = start + value.size

        def part(field: Array, places: slice = slice(start, stop), like: Array = value) -> Array:
            return field[places].reshape(like.shape)

        results.append(as_estimate(value, jax.tree.map(part, found), part(scale).astype(value.dtype), total))
        start = stop
    return jax.tree.unflatten(structure, results)


def as_estimate(value: Array, found: LongRun, scale: Array, num_samples: Array | float) -> GammaEstimate:
    """A value with the error that its long-run variance, in units of a squared scale, makes."""
    dtype = value.dtype
    found = jax.tree.map(lambda leaf: leaf if leaf.dtype == jnp.bool_ else leaf.astype(dtype), found)
    is_exact = found.variance == 0
    error = scale * jnp.sqrt(jnp.where(is_exact, 1, found.variance / num_samples))
    error = jnp.where(is_exact, 0, error)
    relative = jnp.sqrt(2 / found.num_degrees_of_freedom)  # of the variance
    return GammaEstimate(
        value,
        error,
        error * relative / 2,
        found.tau_int,
        jnp.where(is_exact, 0, found.tau_int * relative),
        found.num_degrees_of_freedom,
        found.r_hat,
        found.equilibration,
        found.is_reliable & jnp.isfinite(value),
    )


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
