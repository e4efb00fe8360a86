r"""The error of a mean of correlated samples: what every estimator of this folder ends in.

The variance of the mean of N samples is the spectral density at frequency zero over N, the *long-run variance*
:math:`C = \sum_t \Gamma(t) = 2 \tau_\mathrm{int} \Gamma(0)`. It is read off the lowest frequencies of the block means:

1. Every chain is cut into blocks, some hundred over all chains and more for long series. What happens within a block
   (oscillation, anticorrelation, the fast part of a relaxation) becomes noise, slow scales remain.
2. An autoregression, its order by a criterion like Akaike's, models the correlations of the blocks. Its curvature at
   zero gives the slowest time that shows, and dividing it out flattens the spectrum: this attaches the tail.
3. The flattened periodogram is averaged from frequency zero, where the scatter of the chains' means stands, upwards:
   at least 48 degrees of freedom, and more only where the series is longer than thousands of the slowest time of *all*
   observables given together. A slow scale that one observable hides is looked for where another shows it.

``is_reliable`` says no where the average hides a slope: where its lowest frequencies, or the scatter of the chains, lie
above the rest by more than chance allows, where the series is short, where a chain stands still, where chains or their
halves disagree (split R-hat), where the start lies off the rest, and where the mean is still so skewed that its error
goes up and down with it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxrg.base import safe_divide

MIN_BLOCKS = 256  # over all chains, where there are as many samples
BLOCKS_PER_ROOT = 4  # times the root of the number of samples, so that long series have precise errors
MAX_ORDER = 8  # of the autoregression
PENALTY = 3  # an order, in 2 log likelihood; Akaike's 2 takes up noise in so few blocks
MIN_DEGREES = 48  # the error is then uncertain by 10 %
TAUS_PER_DEGREE = 50  # of the slowest time, beyond the least number
RECOIL = 0.5  # of 2 tau_int, below which a series is worth more than twice its samples
MIN_TAUS = 100  # of data
MIN_SLOW_TAUS = 120  # of the slowest time that shows; more where it is longer than tau_int, and harder to see
MAX_R_HAT = 1.1
MAX_SKEWNESS = 0.1  # of the mean: beyond, it and its error go up and down together
SKEWNESS_GROUPS = 64
LOW_ENDS = (1, 2, 4, 8)  # frequencies whose mean is held against the others
MIN_DEVIATION = 1.6  # of a low end, in standard deviations at 200 slow times; slowly more for longer series
MAX_DEVIATION = 3.0  # of the scatter of chains
START_DEVIATION = 5.0  # of a start that lies off the rest
START_GROUPS = 64  # where a start may end
MIN_GAIN = 0.02  # of the autoregression at zero: no memory beyond some ten blocks is made up


class Reduced(NamedTuple):
    """What is left of the deviations of E observables from their means."""

    blocks: Array  # [E, chains, blocks] block means
    variance: Array  # [E] of single samples
    r_hat: Array  # [E]
    is_frozen: Array  # [E] bool: all chains stand still, or one


class LongRun(NamedTuple):
    """Every field ``[E]``."""

    variance: Array  # C, so that the mean of N samples has variance C / N
    tau_int: Array  # in samples
    num_degrees_of_freedom: Array  # of the estimate of C
    r_hat: Array
    equilibration: Array  # samples at the start of every chain that lie off the rest
    is_reliable: Array  # bool


def block_length(num_chains: int, num_samples: int) -> int:
    """Samples a block."""
    total = num_chains * num_samples
    blocks = max(MIN_BLOCKS, int(BLOCKS_PER_ROOT * total**0.5))
    per_chain = min(num_samples, max(-(-blocks // num_chains), 4))
    return num_samples // per_chain


def reduce_chains(deviations: Array) -> Reduced:
    """``[chains, samples, ...]`` with overall mean zero, which are flattened to E observables."""
    num_chains, num_samples = deviations.shape[:2]
    flat = deviations.reshape((num_chains, num_samples, -1))
    length = block_length(num_chains, num_samples)
    cut = flat[:, num_samples % length :].reshape((num_chains, -1, length, flat.shape[-1]))
    return jax.vmap(_reduce, in_axes=-1)(flat, cut)


def _reduce(flat: Array, cut: Array) -> Reduced:
    """Of ``[chains, samples]``, and of the same cut into ``[chains, blocks, length]``."""
    means, sizes, squares = jnp.mean(cut, axis=2), jnp.mean(jnp.abs(cut), axis=2), jnp.mean(jnp.square(cut), axis=2)
    # Chains may differ in place or in width: R-hat of the samples and of their distance from the mean.
    r_hat = jnp.max(jax.vmap(_split_r_hat, in_axes=(0, None, None))(jnp.stack([means, sizes]), squares, cut.shape[2]))
    is_frozen = jnp.any(jnp.all(flat == flat[:, :1], axis=1))
    return Reduced(means, jnp.mean(squares), r_hat, is_frozen)


def _split_r_hat(means: Array, squares: Array, length: int) -> Array:
    """From the means of blocks ``[chains, blocks]`` of this length, and those of the squares."""
    half = means.shape[1] // 2

    def halves(blocks: Array) -> Array:
        return jnp.mean(jnp.concatenate([blocks[:, :half], blocks[:, -half:]]), axis=1)

    count = half * length
    centers = halves(means)
    within = jnp.mean(halves(squares) - jnp.square(centers)) * (count / (count - 1))
    return jnp.sqrt((count - 1) / count + safe_divide(jnp.var(centers, ddof=1), within))


class _Spectrum(NamedTuple):
    """The flattened periodogram of one series of blocks in units of the variance of a sample."""

    between: Array  # [] mean square of the chains' means
    ordinates: Array  # [ordinates] those above
    slow: Array  # [] the slowest time that shows, in samples

    def up_to(self, degrees: Array | float, num_chains: int) -> tuple[Array, Array, Array]:
        """Mean of the lowest part with so many degrees of freedom, how many those are, and the ordinates in it."""
        least = 1 if num_chains == 1 else 0
        count = jnp.clip(jnp.ceil((degrees - (num_chains - 1)) / (2 * num_chains)), least, self.ordinates.shape[0])
        count = count.astype(self.between.dtype)
        return self.mean_square(count, num_chains), 2 * num_chains * count + (num_chains - 1), count

    def sum_of(self, count: Array | int) -> Array:
        """Of the first ordinates."""
        places = jnp.arange(self.ordinates.shape[0], dtype=self.between.dtype)
        return jnp.sum(jnp.where(places < count, self.ordinates, 0))

    def mean_square(self, count: Array | int, num_chains: int) -> Array:
        """Of the scatter of chains and the first ordinates."""
        total = 2 * num_chains * self.sum_of(count) + (num_chains - 1) * self.between
        return total / (2 * num_chains * count + (num_chains - 1))


def long_run(reduced: Reduced, num_samples: Array | float, length: Array | float, tau_exp: Array | float) -> LongRun:
    """The long-run variance of every observable.

    Args:
        reduced: of all observables of one run; the slowest of them sets the band of all.
        num_samples: over all chains.
        length: samples a block.
        tau_exp: a slowest time known from elsewhere, in samples; 0 for none.
    """
    num_chains = reduced.blocks.shape[1]
    num_samples, length, tau_exp = (jnp.asarray(x, reduced.variance.dtype) for x in (num_samples, length, tau_exp))
    is_constant = reduced.variance == 0
    scale = jnp.sqrt(length / jnp.where(is_constant, 1, reduced.variance))
    series = jnp.where(is_constant[:, None, None], 0, reduced.blocks) * scale[:, None, None]
    spectra = jax.vmap(_spectrum, in_axes=(0, None))(series, length)
    first, _, _ = jax.vmap(lambda spectrum: spectrum.up_to(float(MIN_DEGREES), num_chains))(spectra)
    slowest = jax.lax.stop_gradient(jnp.max(jnp.where(jnp.isfinite(first), first, 0), initial=0.1) / 2)

    def one(spectrum: _Spectrum, least: Array, series: Array, r_hat: Array, is_frozen: Array) -> LongRun:
        return _long_run(spectrum, least, series, r_hat, is_frozen, slowest, num_samples, length, tau_exp)

    found = jax.vmap(one)(spectra, first, series, reduced.r_hat, reduced.is_frozen)
    return found._replace(
        variance=jnp.where(is_constant, 0, found.variance) * reduced.variance,
        tau_int=jnp.where(is_constant, 0.5, found.tau_int),
        r_hat=jnp.where(is_constant, 1, found.r_hat),
    )


def _long_run(
    spectrum: _Spectrum,
    least: Array,
    series: Array,
    r_hat: Array,
    is_frozen: Array,
    slowest: Array,
    num_samples: Array,
    length: Array,
    tau_exp: Array,
) -> LongRun:
    """Of one observable, in units of its variance: ``least`` is the average over the least band, ``slowest`` the
    longest time of all observables."""
    num_chains, num_blocks = series.shape
    num_ordinates = spectrum.ordinates.shape[0]
    known = jnp.maximum(spectrum.slow, tau_exp)
    degrees = jnp.maximum(num_samples / (TAUS_PER_DEGREE * jnp.maximum(slowest, known)), MIN_DEGREES)
    # Of a series that recoils, what is left of a block is mostly its ends: its spectrum rises from the least band on.
    degrees = jnp.where(least < RECOIL, MIN_DEGREES, degrees)
    constant, degrees, count = spectrum.up_to(degrees, num_chains)

    # The low end and the scatter of the chains against what lies above, up to twice the band.
    wide = jnp.clip(2 * count, min(-(-MIN_DEGREES // num_chains), num_ordinates), num_ordinates)
    sum_of_wide = spectrum.sum_of(wide)
    own = jax.lax.stop_gradient(jnp.maximum(constant / 2, known))
    tolerance = MIN_DEVIATION + 0.25 * jnp.log(jnp.maximum(num_samples / (200 * own), 1))
    lows = sorted({-(-low // num_chains) for low in LOW_ENDS if -(-low // num_chains) < num_ordinates})

    def is_near(low: Array) -> Array:
        others = jnp.maximum(wide - low, 1)
        rest = (sum_of_wide - spectrum.sum_of(low)) / others
        degrees = 2 * num_chains * low + (num_chains - 1)
        deviation = _deviation(spectrum.mean_square(low, num_chains), rest, degrees, 2 * num_chains * others)
        return (deviation < tolerance) | (wide <= low)

    is_flat = jnp.all(jax.vmap(is_near)(jnp.asarray(lows, constant.dtype))) if lows else jnp.bool_(True)
    if num_chains > 1 and num_ordinates:
        above = sum_of_wide / wide
        is_one = _deviation(spectrum.between, above, num_chains - 1, 2 * num_chains * wide) < MAX_DEVIATION
        is_flat &= is_one
        constant = jnp.where(is_one, constant, jnp.maximum(constant, spectrum.between))

    tau_int = constant / (2 * (1 + constant / num_samples))
    equilibration = _start(series) * length
    is_reliable = (
        is_flat
        & ~is_frozen
        & (constant > 10 * jnp.finfo(constant.dtype).eps)
        & (degrees >= 20)
        & (num_samples >= MIN_TAUS * tau_int)
        & (num_samples >= MIN_SLOW_TAUS * known * jnp.clip(jnp.sqrt(known / jnp.maximum(tau_int, length)), 1, 1.7))
        & (r_hat <= MAX_R_HAT)
        & (equilibration == 0)
        & (jnp.abs(_skewness_of_mean(series)) <= MAX_SKEWNESS)
    )
    # The coefficients of the autoregression are uncertain too, the more so the longer the memory in blocks.
    share = 2 / degrees + 4 * (1 + 2 * spectrum.slow / length) / (num_chains * num_blocks)
    return LongRun(constant, tau_int, 2 / share, r_hat, equilibration, is_reliable)


def _spectrum(series: Array, length: Array) -> _Spectrum:
    """Of ``[chains, blocks]``."""
    num_chains, num_blocks = series.shape
    num_ordinates = (num_blocks - 1) // 2
    transformed = jnp.fft.rfft(series)
    power = (jnp.square(transformed.real) + jnp.square(transformed.imag)) / num_blocks
    between = jnp.sum(power[:, 0]) / max(num_chains - 1, 1)
    alpha = _autoregression(series)

    # |A(w)|^2 / A(0)^2 flattens the spectrum; the curvature of its inverse at zero is the square of a time.
    powers = jnp.arange(alpha.shape[0], dtype=series.dtype)
    gain = jnp.maximum(jnp.sum(alpha), MIN_GAIN)
    curvature = jnp.square(jnp.sum(powers * alpha) / gain) - jnp.sum(jnp.square(powers) * alpha) / gain
    frequencies = 2 * jnp.pi / num_blocks * jnp.arange(1, num_ordinates + 1, dtype=series.dtype)
    angles = frequencies[:, None] * powers[None]
    response = (jnp.square(jnp.cos(angles) @ alpha) + jnp.square(jnp.sin(angles) @ alpha)) / jnp.square(gain)
    ordinates = jnp.mean(power[:, 1 : num_ordinates + 1], axis=0) * response
    slow = jnp.sqrt(jnp.maximum(jax.lax.stop_gradient(curvature), 0)) * length
    return _Spectrum(between, ordinates, slow)


def _autoregression(series: Array) -> Array:
    """``[order + 1]`` the filter 1, -a_1, -a_2, ... that makes noise of ``[chains, blocks]``.

    Levinson's recursion for every order, and the order by a criterion like Akaike's. As scans: unrolled, they would
    take seconds to compile.
    """
    num_chains, num_blocks = series.shape
    max_order = min(MAX_ORDER, num_blocks // 4)
    total, tiny = num_chains * num_blocks, jnp.finfo(series.dtype).eps
    padded = jnp.pad(series, ((0, 0), (0, max_order)))
    places = jnp.arange(max_order + 1, dtype=jnp.int32)

    def covariance_at(lag: Array) -> Array:
        return jnp.sum(series * jax.lax.dynamic_slice_in_dim(padded, lag, num_blocks, axis=1)) / total

    covariance = jax.lax.map(covariance_at, places)
    start = (jnp.where(places == 0, 1, jnp.zeros_like(covariance)), jnp.maximum(covariance[0], tiny))

    def longer(carry: tuple[Array, Array], order: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        alpha, noise = carry
        mirror = jnp.where(places <= order, order - places, max_order)  # alpha is zero there
        reversed_alpha = jnp.where(places <= order, alpha[mirror], 0)
        reflection = jnp.sum(reversed_alpha * covariance) / noise
        alpha = alpha - reflection * reversed_alpha
        noise = jnp.maximum(noise * (1 - jnp.square(reflection)), tiny)
        return (alpha, noise), (alpha, noise)

    _, (filters, noises) = jax.lax.scan(longer, start, places[1:])
    filters = jnp.concatenate([start[0][None], filters])
    criteria = total * jnp.log(jnp.concatenate([start[1][None], noises])) + PENALTY * places.astype(series.dtype)
    return filters[jnp.argmin(criteria)]


def _deviation(upper: Array, lower: Array, upper_degrees: Array | int, lower_degrees: Array | int) -> Array:
    """How far a ratio of two mean squares lies above 1, in standard deviations (Wilson and Hilferty's cube root)."""
    root = jnp.cbrt(jax.lax.stop_gradient(upper / jnp.maximum(lower, jnp.finfo(lower.dtype).tiny)))
    a, b = 2 / (9 * upper_degrees), 2 / (9 * lower_degrees)
    return (root * (1 - b) - (1 - a)) / jnp.sqrt(a + b * jnp.square(root))


def _skewness_of_mean(series: Array) -> Array:
    """Of the mean of ``[chains, blocks]``, from that of some 64 groups."""
    num_chains, num_blocks = series.shape
    length = max(1, min(num_blocks, num_chains * num_blocks // SKEWNESS_GROUPS))
    groups = series[:, num_blocks % length :].reshape((-1, length))
    means = jax.lax.stop_gradient(jnp.mean(groups, axis=1))
    spread = jnp.maximum(jnp.mean(jnp.square(means)), jnp.finfo(series.dtype).tiny)
    return jnp.mean((means / jnp.sqrt(spread)) ** 3) / groups.shape[0] ** 0.5


def _start(series: Array) -> Array:
    """Blocks at the start of ``[chains, blocks]`` whose mean lies off the rest: White's rule, where beyond chance."""
    num_blocks = series.shape[1]
    length = -(-num_blocks // START_GROUPS)
    num_groups = num_blocks // length
    if num_groups < 16:
        return jnp.zeros((), series.dtype)
    mean = jax.lax.stop_gradient(jnp.mean(series[:, num_blocks - num_groups * length :], axis=0))
    mean = jnp.mean(mean.reshape((num_groups, length)), axis=1)
    kept = jnp.arange(num_groups, 0, -1, dtype=series.dtype)  # groups, if the start ends before this one
    later = jnp.tri(num_groups, dtype=series.dtype).T
    sums = later @ mean
    scores = (later @ jnp.square(mean) - jnp.square(sums) / kept) / jnp.square(kept)
    cut = jnp.argmin(scores[: num_groups // 2 + 1])

    # Eight long batches of the second half know what its mean is worth.
    batch = num_groups // 16
    late = jnp.mean(mean[num_groups - 8 * batch :].reshape((8, batch)), axis=1)
    scatter = jnp.var(late, ddof=1) * batch
    left = num_groups - kept[cut]
    mean_left = (sums[0] - sums[cut]) / jnp.maximum(left, 1)
    noise = jnp.sqrt(scatter * (1 / jnp.maximum(left, 1) + 1 / kept[cut]))
    is_off = (left > 0) & (jnp.abs(mean_left - sums[cut] / kept[cut]) > START_DEVIATION * noise)
    return jnp.where(is_off, left * length, 0)
