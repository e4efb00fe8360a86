"""Onsager's and Yang's exact results for the Ising model on the infinite square lattice without a field.

The phase transition is at ``critical_coupling``, Kc = ½ ln(1 + √2).
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxrg.exact.arguments import of_scalar, slope

critical_coupling: float = 0.5 * math.asinh(1)  # the nearest float; ln(1 + √2) / 2 is one off
"""Kc = ½ ln(1 + √2) = 0.44068679…, where sinh 2K = 1: the critical K = J/kT of the square lattice."""


@of_scalar
def onsager_free_energy(coupling: Array) -> Array:
    r"""ln Z per site of the infinite lattice.

    .. math:: \frac{\ln Z}{N} = \frac12 \ln(2\sinh 2K) + \frac{1}{2\pi} \int_0^\pi \gamma(\theta)\, d\theta, \qquad
        \cosh\gamma = \cosh 2K \coth 2K - \cos\theta

    The substitution :math:`\sin^2(\theta/2) = 1/(1 + e^{-2y})` keeps the branch point of :math:`\gamma` at distance π/2
    from the real axis however close K is to Kc, so that the trapezoidal rule in y converges exponentially, at the same
    rate for all couplings and for the derivatives. Good to rounding in float64 and float32; derivatives of second order
    and above resolve their divergence down to a distance from Kc of about the rounding of K.

    Args:
        coupling: scalar K = J/kT of either sign.

    Returns:
        Scalar in the dtype of ``coupling``.

    Raises:
        ValueError: a coupling that is not a finite scalar.

    Example:
        >>> round(float(onsager_free_energy(critical_coupling)), 5)  # 2 G / π + ½ ln 2
        0.9297

    Reference:
        Onsager, Phys. Rev. 65, 117 (1944).
    """
    strength = coupling * jnp.where(coupling < 0, -1, 1)

    # Truncating at |y| = reach and sampling every step leave errors e^{-reach} and e^{-2π(π/2)/step}: make them equal.
    reach = 2 - math.log(float(jnp.finfo(coupling.dtype).eps))
    num_steps = math.ceil(reach * reach / math.pi**2)
    nodes = np.linspace(-reach, reach, 2 * num_steps + 1)
    weights = jnp.asarray(reach / num_steps / np.cosh(nodes) / (2 * math.pi), coupling.dtype)
    sines = jnp.asarray(1 / (1 + np.exp(-2 * nodes)), coupling.dtype)

    # ``root`` = e^{-4K} sinh(2K) e^γ, as on the torus: bounded for every K >= 0.
    decay = jnp.exp(-2 * strength)
    half = -0.5 * jnp.expm1(-4 * strength)
    gap = decay - half
    distance = gap * gap + 2 * decay * half * sines
    root = distance + decay * half + jnp.sqrt(distance) * jnp.sqrt(distance + 2 * decay * half)
    return 2 * strength + jnp.sum(weights * jnp.log(2 * root))


@of_scalar
def onsager_energy(coupling: Array) -> Array:
    r"""Energy per site of the infinite lattice, in units of J.

    .. math:: u = -\partial_K \frac{\ln Z}{N} =
        -\coth 2K \Big[1 + \tfrac{2}{\pi} (2\tanh^2 2K - 1)\, \mathbf{K}(k)\Big],
        \qquad k = \frac{2\sinh 2K}{\cosh^2 2K}

    Evaluated as the derivative of `onsager_free_energy`, which has no 0/0 at K = 0 and at Kc.

    Args:
        coupling: scalar K of either sign; u is odd in K.

    Example:
        >>> round(float(onsager_energy(critical_coupling)), 4)  # -√2
        -1.4142
    """
    return -slope(onsager_free_energy, coupling)


@of_scalar
def onsager_specific_heat(coupling: Array) -> Array:
    r"""Specific heat per site of the infinite lattice in units of k, :math:`C = K^2 \partial_K^2 \ln Z / N`.

    Diverges as :math:`-\frac{8 K_c^2}{\pi} \ln|K - K_c|`; the float nearest to Kc gives a large finite number.

    Args:
        coupling: scalar K of either sign.

    Example:
        >>> round(float(onsager_specific_heat(0.3)), 3)
        0.286
    """
    return -coupling * coupling * slope(onsager_energy, coupling)


@of_scalar
def yang_magnetization(coupling: Array) -> Array:
    r"""Spontaneous magnetization per site of the infinite lattice.

    .. math:: M = (1 - \sinh^{-4} 2K)^{1/8} \quad (K > K_c), \qquad M = 0 \quad (K \le K_c)

    Args:
        coupling: scalar K; zero is returned for the antiferromagnet, whose order is staggered.

    Returns:
        Scalar; the derivative is zero below Kc, finite above and diverges as Kc is approached from above.

    Example:
        >>> round(float(yang_magnetization(0.5)), 4), float(yang_magnetization(0.4))
        (0.9113, 0.0)

    Reference:
        Yang, Phys. Rev. 85, 808 (1952).
    """
    decay = jnp.exp(-2 * coupling)
    # sinh 2K > 1, written so that it needs no rounded Kc; the unused branch must not produce nan in the derivative.
    is_ordered = -jnp.expm1(-4 * coupling) > 2 * decay
    decay = jnp.where(is_ordered, decay, 0)
    inverse_sinh = 2 * decay / (1 - decay * decay)
    magnetization = jnp.power(1 - lax.integer_pow(inverse_sinh, 4), 0.125)
    return jnp.where(is_ordered, magnetization, 0)


@of_scalar
def onsager_correlation_length(coupling: Array) -> Array:
    r"""Correlation length of the infinite lattice along its axes, in lattice spacings.

    .. math:: \xi^{-1} = \ln\coth K - 2K \quad (K < K_c), \qquad \xi^{-1} = 2\,(2K - \ln\coth K) \quad (K > K_c)

    that of the connected two-point function at large distance; of the antiferromagnet that of the staggered one.
    Infinite at Kc. What `jaxrg.stats.correlations.second_moment_correlation_length` measures is a little smaller.

    Args:
        coupling: scalar K of either sign.

    Example:
        >>> round(float(onsager_correlation_length(0.4)), 4), round(float(onsager_correlation_length(0.5)), 4)
        (5.9624, 2.1924)

    Reference:
        McCoy & Wu, The Two-Dimensional Ising Model (Harvard, 1973), chapters XI and XII.
    """
    strength = jnp.abs(coupling)
    # ln coth K = -ln tanh K; near Kc both terms are of order one and their difference keeps the digits of K.
    rate = -jnp.log(jnp.tanh(strength)) - 2 * strength
    return 1 / jnp.where(rate > 0, rate, -2 * rate)
