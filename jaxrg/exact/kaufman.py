r"""Kaufman's exact partition function of the square-lattice Ising model on a finite torus, and its derivatives.

In the usual form, products of cosh and sinh of :math:`m\gamma_l/2`, four large numbers are added, one of which changes
sign at the critical point. Here each factor is split into its growing exponential and :math:`1 \pm e^{-m\gamma_l}`, and
the mode whose gap closes enters through :math:`e^{\pm m\gamma_0/2}`, which are powers of elementary functions of K. All
terms that are left are positive for K >= 0, nothing overflows, and the result is analytic, also at K = 0 and at Kc.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from jaxrg.checks import as_sides, is_traced
from jaxrg.exact.arguments import as_scalar, slope


def _modes(strength: Array, length: int, width: int) -> tuple[Array, Array]:
    r"""Of the odd and the even modes ``[2]``, ln Π e^{mγ/2}(1 - e^{-mγ}) without its factor e^{2K} a site, and
    ln Π coth(mγ/2); without the even mode whose gap closes.

    With ``decay`` = e^{-2K} and ``half`` = e^{-2K} sinh 2K, all bounded, ``root`` = e^{-4K} sinh(2K) e^γ.
    """
    momenta = np.pi * np.arange(2 * width).reshape(width, 2).T[::-1] / width
    is_counted = momenta > 0
    decay = jnp.exp(-2 * strength)
    half = -0.5 * jnp.expm1(-4 * strength)
    gap = decay - half
    sines = jnp.asarray(np.where(is_counted, np.sin(momenta / 2) ** 2, 1), strength.dtype)
    distance = gap * gap + 2 * decay * half * sines
    root = distance + decay * half + jnp.sqrt(distance) * jnp.sqrt(distance + 2 * decay * half)
    wrapped = lax.integer_pow(decay * half / root, length)  # e^{-mγ}
    minus, plus = jnp.log1p(-wrapped), jnp.log1p(wrapped)
    logs = jnp.where(is_counted, 0.5 * length * jnp.log(2 * root) + minus, 0)
    return jnp.sum(logs, axis=1), jnp.sum(jnp.where(is_counted, plus - minus, 0), axis=1)


def torus_log_partition(coupling: ArrayLike, shape: Sequence[int]) -> Array:
    r"""ln Z of the Ising model on a periodic n × m square lattice, exact.

    .. math::
        Z = \tfrac12 (2\sinh 2K)^{nm/2} \Big[
            \prod_{l\,\mathrm{odd}} 2\cosh\tfrac{m\gamma_l}{2} + \prod_{l\,\mathrm{odd}} 2\sinh\tfrac{m\gamma_l}{2} +
            \prod_{l\,\mathrm{even}} 2\cosh\tfrac{m\gamma_l}{2} + \prod_{l\,\mathrm{even}} 2\sinh\tfrac{m\gamma_l}{2}
        \Big], \quad 0 \le l < 2n,

    .. math:: \cosh\gamma_l = \cosh 2K \coth 2K - \cos(\pi l/n), \qquad \gamma_0 = 2K + \ln\tanh K.

    Smooth to every order in K. Errors measured against 40 digits, up to side 1,024: in float64 ln Z is good to
    rounding, and the energy and specific heat a site that follow by differentiation to 2e-14 and 4e-12. In float32 ln Z
    has relative error 1e-7 (0.1 for 10^6 sites); energy and specific heat have errors near Kc of 1e-6 and 1e-5 at side
    64, and of 1e-5 and 1e-3 at side 1,024.

    Args:
        coupling: scalar K = J/kT. Negative (antiferromagnetic) values need both sides even, where Z(-K) = Z(K).
        shape: the two sides in sites, each at least 2, even or odd; a side of two carries double bonds.

    Returns:
        Scalar ln Z in the dtype of ``coupling``; nan, with nan derivatives, for a negative traced one and an odd side.

    Raises:
        ValueError: sides other than two integers >= 2; a coupling that is not a finite scalar, or is negative with an
            odd side (the frustrated torus).

    Example:
        >>> energy = -jax.grad(torus_log_partition)(0.4406868, (64, 64)) / 64**2
        >>> round(float(energy), 3)
        -1.424

    Reference:
        Kaufman, Phys. Rev. 76, 1232 (1949); Ferdinand & Fisher, Phys. Rev. 185, 832 (1969).
    """
    return _log_partition(*_checked(coupling, shape))


def _checked(coupling: ArrayLike, shape: Sequence[int]) -> tuple[Array, int, int]:
    """The coupling, and the longer and the shorter side: the cost grows with the second only."""
    sides = as_sides("shape", shape, minimum=2)
    if len(sides) != 2:
        raise ValueError(f"shape: expected 2 sides, got {len(sides)}")
    length, width = max(sides), min(sides)
    coupling = as_scalar(coupling, "coupling")
    if (length % 2 or width % 2) and not is_traced(coupling) and float(coupling) < 0:
        raise ValueError(f"coupling: expected K >= 0 on a torus with an odd side, got {coupling} on {sides}")
    return coupling, length, width


@functools.partial(jax.jit, static_argnames=("length", "width"))
def _log_partition(coupling: Array, length: int, width: int) -> Array:
    if length % 2 or width % 2:
        # A factor, so that the derivatives are nan as well.
        coupling = coupling * jnp.where(coupling < 0, jnp.nan, 1)
    # Not abs: its derivative at zero would be zero to every order.
    strength = coupling * jnp.where(coupling < 0, -1, 1)

    (log_odd, log_even), (ratio_odd, ratio_even) = _modes(strength, length, width)

    # e^{±γ_0/2} with the other modes' factors removed: the second is the larger below Kc, the first above.
    decay = jnp.exp(-2 * strength)
    ordered, disordered = -jnp.expm1(-2 * strength), decay * (1 + decay)
    scale = lax.stop_gradient(jnp.maximum(ordered, disordered))
    even = lax.integer_pow(ordered / scale, length) * (jnp.exp(ratio_even) + 1)
    even = even + lax.integer_pow(disordered / scale, length) * jnp.expm1(ratio_even)
    relative = jnp.exp(log_even + length * jnp.log(scale) - log_odd)
    sectors = jnp.log(jnp.exp(ratio_odd) + 1 + relative * even)
    return 2 * length * width * strength + log_odd + sectors - math.log(2)


def torus_energy(coupling: ArrayLike, shape: Sequence[int]) -> Array:
    r"""Energy per site in units of J on a periodic lattice, :math:`u = -\frac1N \partial_K \ln Z`, exact.

    Args:
        coupling: scalar K, as for `torus_log_partition`.
        shape: the two sides in sites.

    Example:
        >>> round(float(torus_energy(0.4406868, (4, 4))), 4)
        -1.5656
    """
    return _energy(*_checked(coupling, shape))


@functools.partial(jax.jit, static_argnames=("length", "width"))
def _energy(coupling: Array, length: int, width: int) -> Array:
    return -slope(lambda value: _log_partition(value, length, width), coupling) / (length * width)


def torus_specific_heat(coupling: ArrayLike, shape: Sequence[int]) -> Array:
    r"""Specific heat per site in units of k on a periodic lattice, :math:`C = \frac{K^2}{N} \partial_K^2 \ln Z`, exact.

    Args:
        coupling: scalar K, as for `torus_log_partition`.
        shape: the two sides in sites.

    Example:
        >>> round(float(torus_specific_heat(0.4406868, (4, 4))), 3)
        0.783
    """
    return _specific_heat(*_checked(coupling, shape))


@functools.partial(jax.jit, static_argnames=("length", "width"))
def _specific_heat(coupling: Array, length: int, width: int) -> Array:
    return -coupling * coupling * slope(lambda value: _energy(value, length, width), coupling)
