"""The Ising chain in a field, in closed form."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from jaxrg.checks import as_count
from jaxrg.exact.arguments import as_scalar

NEAR = 0.1  # of (N times the relative size of the smaller part)²: where both forms keep all their digits


def chain_log_partition(coupling: ArrayLike, field: ArrayLike, num_sites: int) -> Array:
    r"""ln Z of a periodic Ising chain in a field.

    .. math:: Z = \lambda_+^N + \lambda_-^N, \qquad \lambda_\pm = e^K \cosh h \pm \sqrt{e^{2K} \sinh^2 h + e^{-2K}}

    ln Z and its first two derivatives hold in float32 as in float64 for all K and h: also for frustrated rings of odd
    length, and for the N² of the susceptibility of a cold chain.

    Args:
        coupling: scalar K of either sign.
        field: scalar h.
        num_sites: N >= 2; two sites have a double bond.

    Returns:
        Scalar ln Z in the dtype of ``coupling``.

    Raises:
        ValueError: fewer than two sites, coupling or field that is not a finite scalar.

    Example:
        >>> round(float(chain_log_partition(0.5, 0.0, 3)), 4)  # ln(2 e^{3/2} + 6 e^{-1/2})
        2.5339
    """
    size = as_count("num_sites", num_sites, minimum=2)
    coupling, field = as_scalar(coupling, "coupling"), as_scalar(field, "field")
    return _log_partition(coupling, field, size)


@functools.partial(jax.jit, static_argnames="num_sites")
def _log_partition(coupling: Array, field: Array, num_sites: int) -> Array:
    field = field.astype(coupling.dtype)
    is_negative = coupling < 0
    sign = jnp.where(is_negative, -1, 1)
    log_cosh = jnp.logaddexp(field, -field) - math.log(2)
    # λ± = c ± √d with c = e^K cosh h and d = e^{2K} sinh² h + e^{-2K}. The larger of c and √d is taken out; the square
    # of the other over it is ``ratio``, and 1 - ratio is ``rest``, both without a difference.
    decay, rest_of_decay = jnp.exp(-4 * sign * coupling), -jnp.expm1(-4 * sign * coupling)
    log_secant = lax.stop_gradient(jnp.maximum(-2 * log_cosh, 4 * coupling))
    inner = jnp.exp(4 * coupling - log_secant) + jnp.exp(-2 * log_cosh - log_secant) * rest_of_decay
    log_inner = log_secant + jnp.log(jnp.where(is_negative, inner, 1))
    log_rational = coupling + log_cosh
    log_radical = 0.5 * log_inner + log_cosh - coupling  # where K < 0
    rest = rest_of_decay * jnp.exp(jnp.where(is_negative, -2 * log_cosh - log_inner, -2 * log_cosh))
    ratio = jnp.where(
        is_negative,
        jnp.exp(4 * coupling - log_inner),
        decay + rest_of_decay * jnp.tanh(field) ** 2,
    )
    larger = jnp.where(is_negative, log_radical, log_rational)
    is_odd = is_negative & (num_sites % 2 == 1)

    # Far from λ- = ±λ+ as a sum of two powers; near it as a polynomial in the ratio, which has no root in it.
    is_near = num_sites**2 * ratio < NEAR
    far = jnp.where(is_near, 0.25, ratio)
    power = lax.integer_pow(jnp.where(is_near, 0, rest) / (1 + jnp.sqrt(far)) ** 2, num_sites)
    two_powers = num_sites * jnp.log1p(jnp.sqrt(far)) + jnp.log1p(jnp.where(is_odd, -power, power))
    even, odd = _binomial_halves(jnp.where(is_near, ratio, 0), num_sites)
    missing = jnp.where(is_odd, log_rational - log_radical, 0)
    polynomial = math.log(2) + jnp.where(is_odd, jnp.log(odd) + missing, jnp.log(even))
    return num_sites * larger + jnp.where(is_near, polynomial, two_powers)


def _binomial_halves(ratio: Array, exponent: int) -> tuple[Array, Array]:
    """The a and b of (1 + √ratio)^exponent = a + b √ratio, by squaring: no term is negative."""
    even = odd = jnp.ones_like(ratio)
    for bit in bin(exponent)[3:]:
        even, odd = even**2 + ratio * odd**2, 2 * even * odd
        if bit == "1":
            even, odd = even + ratio * odd, even + odd
    return even, odd
